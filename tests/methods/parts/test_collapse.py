"""What tells collapsed features from full ones."""

import pytest
import torch
import torch.nn.functional as F

from cae.methods.parts.collapse import entropy, spread


def test_spread_tells_collapsed_features_from_full_ones():
    torch.manual_seed(0)
    assert spread(torch.randn(512, 64)).item() == pytest.approx(1.0, abs=0.05)
    assert spread(torch.ones(512, 64) * 3).item() < 1e-6
    assert spread(torch.randn(512, 1) * torch.ones(1, 64)).item() == pytest.approx(1.0, abs=0.1)  # two antipodes
    assert spread(torch.ones(64) + 0.01 * torch.randn(512, 64)).item() < 0.02


def test_entropy_tells_uniform_and_constant_answers():
    assert entropy(torch.full((3, 50), 0.02)).tolist() == pytest.approx([1.0] * 3, abs=1e-5)
    sharp = F.one_hot(torch.zeros(8, dtype=torch.long), 50).float()
    assert entropy(sharp.mean(0)).item() == pytest.approx(0.0, abs=1e-6)  # one answer for all
    various = F.one_hot(torch.arange(50), 50).float()
    assert entropy(various.mean(0)).item() == pytest.approx(1.0, abs=1e-5) and entropy(various).max() < 1e-6
