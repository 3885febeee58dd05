"""What tells whether a contrastive method has collapsed."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


@torch.no_grad()
def spread(features: Tensor) -> Tensor:
    """Standard deviation over a batch [B, D] of the normalised features, times sqrt(D): 0 where all images look the
    same, near 1 where features fill the sphere (Chen & He 2021, "SimSiam", §4.1)."""
    return F.normalize(features.float(), dim=1).std(0).mean() * math.sqrt(features.shape[1])


def entropy(p: Tensor) -> Tensor:
    """Of distributions [..., n], as a share of log(n)."""
    return torch.special.entr(p).sum(-1) / math.log(p.shape[-1])
