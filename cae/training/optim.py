"""AdamW and the warm-up + cosine learning rate that every recipe here uses."""

import math

import torch
from torch import nn


def adamw(model: nn.Module, *, lr: float, betas, weight_decay: float) -> torch.optim.AdamW:
    """AdamW, fused where the device allows; no decay of biases and of other one-dimensional parameters (BEiT's rule)."""
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    plain = [p for name, p in trained if p.ndim <= 1 or name.endswith(".bias")]
    decayed = [p for name, p in trained if not (p.ndim <= 1 or name.endswith(".bias"))]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=lr, betas=tuple(betas), fused=True)


def warmup_cosine(step: int, *, steps: int, warmup: int, lr: float, min_lr: float) -> float:
    """Learning rate of `step` (from 0): linear from 0 over `warmup` steps, then a half cosine to `min_lr`."""
    if step < warmup:
        return lr * step / warmup
    return min_lr + (lr - min_lr) * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))
