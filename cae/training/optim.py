"""AdamW and the cosine schedules that every recipe here uses."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class Optimisation:
    """How weights change: rate and decay by step (from 0), the norm that gradients are clipped to."""

    optimizer: torch.optim.Optimizer
    lr_at: Callable[[int], float]
    weight_decay_at: Callable[[int], float] | None = None
    clip: float | None = None


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
    """AdamW with rates of a timm `encoder`, a part of `model`, that fall from layer to layer, from the last to the first.

    `lr_scale` of a group is its share of the rate: layer_decay for each layer above (see `layer_of`), 1 outside the encoder.
    """
    top = len(encoder.blocks) + 1
    layers = {id(p): layer_of(name, top) for name, p in encoder.named_parameters()}
    groups: dict[tuple, list] = {}
    for name, p in model.named_parameters():
        if p.requires_grad:
            decays = matrices_decay(name, p) and not name.endswith(("cls_token", "pos_embed"))
            groups.setdefault((layers.get(id(p), top), decays), []).append(p)
    options = [
        {"params": params, "lr_scale": layer_decay ** (top - layer), "weight_decay": weight_decay if decays else 0.0}
        for (layer, decays), params in groups.items()
    ]
    return torch.optim.AdamW(options, lr=lr, betas=tuple(betas), fused=True)


def layer_of(name: str, top: int) -> int:
    """BEiT's numbers: 0 for class token, positions and patch embedding, i + 1 for block i (from 0), `top` for all else."""
    if name.startswith(("cls_token", "pos_embed", "patch_embed")):
        return 0
    block = re.match(r"blocks\.(\d+)\.", name)
    return int(block[1]) + 1 if block else top


def matrices_decay(name: str, parameter: nn.Parameter) -> bool:
    """No decay of biases and of other one-dimensional parameters (BEiT's rule)."""
    return parameter.ndim > 1 and not name.endswith(".bias")


def warmup_cosine(step: int, *, steps: int, warmup: int, lr: float, min_lr: float) -> float:
    """Learning rate of `step` (from 0): linear from 0 over `warmup` steps, then a half cosine to `min_lr`.

    The rate itself is reached at step `warmup`; BEiT's and CAE's public code (`linspace`, both ends in) at the step before.
    """
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
