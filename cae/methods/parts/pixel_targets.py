"""Pixels as what masked patches are predicted to be."""

from torch import Tensor


def normalise_patches(patches: Tensor) -> Tensor:
    """Scale each patch [..., 3 * patch * patch] to mean 0 and variance 1 of its own pixels (MAE's public code: the unbiased
    variance, 1e-6 added)."""
    return (patches - patches.mean(-1, keepdim=True)) / (patches.var(-1, keepdim=True) + 1e-6).sqrt()
