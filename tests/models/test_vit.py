"""Encoders on subsets of patches."""

import torch

from cae.models.vit import gather


def test_gather_takes_the_right_patches():
    x = torch.arange(24.0).reshape(2, 4, 3)
    assert gather(x, torch.tensor([[2, 0], [1, 3]]))[:, :, 0].tolist() == [[6, 0], [15, 21]]
