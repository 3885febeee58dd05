"""What tells whether a contrastive method has collapsed; and a batch's features over all devices."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, distributed


@torch.no_grad()
def spread(features: Tensor) -> Tensor:
    """Standard deviation over a batch [B, D] of the normalised features, times sqrt(D): 0 where all images look the
    same, near 1 where features fill the sphere (Chen & He 2021, "SimSiam", §4.1)."""
    return F.normalize(features.float(), dim=1).std(0).mean() * math.sqrt(features.shape[1])


def gather_devices(features: Tensor) -> tuple[Tensor, int]:
    """Features [B, D] of all devices, in order [devices * B, D], without gradient; and this device's place."""
    if not distributed.is_initialized():
        return features, 0
    parts = [torch.empty_like(features) for _ in range(distributed.get_world_size())]
    distributed.all_gather(parts, features.contiguous())
    return torch.cat(parts), distributed.get_rank()
