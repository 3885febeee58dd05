"""Moving averages of weights."""

import torch

from cae.methods.parts import ema


def test_moving_average_formula():
    a, b = torch.nn.Linear(3, 3), torch.nn.Linear(3, 3)
    expected = 0.7 * a.weight + 0.3 * b.weight
    ema.update(a, b, 0.7)
    torch.testing.assert_close(a.weight, expected)
