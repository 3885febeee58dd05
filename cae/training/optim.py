"""AdamW and the cosine schedules that every recipe here uses."""

import math

import torch
from timm.optim import param_groups_layer_decay
from torch import nn


def adamw(model: nn.Module, *, lr: float, betas, weight_decay: float) -> torch.optim.AdamW:
    """AdamW, fused where the device allows; a model's method `decays(name, parameter)` may overrule what decays."""
    decays = getattr(model, "decays", matrices_decay)
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    decayed = [p for name, p in trained if decays(name, p)]
    plain = [p for name, p in trained if not decays(name, p)]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=lr, betas=tuple(betas), fused=True)


def adamw_by_layer(
    encoder: nn.Module, model: nn.Module, *, lr: float, betas, weight_decay: float, layer_decay: float
) -> torch.optim.AdamW:
    """AdamW with layer-wise decay of a timm `encoder`'s rates; `lr_scale` of a group is its share of the rate.

    BEiT's rule: block i (from 0) of d has lr * layer_decay^(d - i); class token, positions and patch embedding have
    lr * layer_decay^(d + 1); what comes after the blocks, and the rest of `model`, have lr. Biases, norms and the class
    token do not decay.
    """
    fixed = ("cls_token", "pos_embed")
    groups = param_groups_layer_decay(encoder, weight_decay, fixed, layer_decay=layer_decay)
    inside = {id(p) for p in encoder.parameters()}
    rest = [(name, p) for name, p in model.named_parameters() if p.requires_grad and id(p) not in inside]
    for decay in (weight_decay, 0.0):
        here = [p for name, p in rest if matrices_decay(name, p) == (decay > 0)]
        groups += [{"params": here, "weight_decay": decay, "lr_scale": 1.0}] if here else []
    return torch.optim.AdamW(groups, lr=lr, betas=tuple(betas), fused=True)


def matrices_decay(name: str, parameter: nn.Parameter) -> bool:
    """No decay of biases and of other one-dimensional parameters (BEiT's rule)."""
    return parameter.ndim > 1 and not name.endswith(".bias")


def warmup_cosine(step: int, *, steps: int, warmup: int, lr: float, min_lr: float) -> float:
    """Learning rate of `step` (from 0): linear from 0 over `warmup` steps, then a half cosine to `min_lr`."""
    if step < warmup:
        return lr * step / warmup
    return cosine((step - warmup) / max(1, steps - warmup), lr, min_lr)


def cosine(progress: float, first: float, last: float) -> float:
    """From `first` to `last` as a half cosine, as `progress` goes from 0 to 1."""
    return last + (first - last) * 0.5 * (1 + math.cos(math.pi * progress))


def warmup_steps(step: int, *, milestones: list[int], warmup: int, ratio: float, lr: float) -> float:
    """Learning rate of `step` (from 0): linear from `ratio` of it over `warmup` steps, a tenth from each milestone on."""
    if step < warmup:
        return lr * (ratio + (1 - ratio) * step / warmup)
    return lr * 0.1 ** sum(step >= milestone for milestone in milestones)


def warmup_poly(step: int, *, steps: int, warmup: int, lr: float) -> float:
    """Learning rate of `step` (from 0): falls linearly to 0 over `steps`; in the first `warmup` of them it grows from 0."""
    return lr * (1 - step / steps) * min(1.0, step / max(1, warmup))
