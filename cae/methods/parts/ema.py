"""Moving averages of a network's weights: MoCo v3's and DINO's teachers, DeiT's average, CAE's alignment targets (G.3)."""

import copy

import torch
from torch import nn


def frozen_copy(network: nn.Module) -> nn.Module:
    return copy.deepcopy(network).requires_grad_(False)


@torch.no_grad()
def update(average: nn.Module, network: nn.Module, momentum: float) -> None:
    """average = momentum * average + (1 - momentum) * network, parameter by parameter; buffers stay each its own."""
    torch._foreach_lerp_(list(average.parameters()), [p.detach() for p in network.parameters()], 1 - momentum)
