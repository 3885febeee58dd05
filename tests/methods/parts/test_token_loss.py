import pytest
import torch
import torch.nn.functional as F

from cae.methods.parts import token_loss as losses
from cae.methods.parts.token_loss import token_cross_entropy


@pytest.mark.parametrize("rows", [1, 5, 1000])  # at a time: of 3 x 7
@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-7), (torch.bfloat16, 1e-4)])
def test_value_and_gradient_are_those_of_torch(rows, dtype, tolerance, monkeypatch):
    monkeypatch.setitem(losses.ROWS, "cpu", rows)
    torch.manual_seed(0)
    logits = (5 * torch.randn(3, 7, 50)).to(dtype).requires_grad_()
    tokens = torch.randint(0, 50, (3, 7))
    loss, accuracy = token_cross_entropy(logits, tokens)
    (gradient,) = torch.autograd.grad(2 * loss, logits)
    expected = F.cross_entropy(logits.float().flatten(0, 1), tokens.flatten())
    torch.testing.assert_close(loss, expected)
    (wanted,) = torch.autograd.grad(2 * expected, logits)
    assert gradient.dtype == dtype
    torch.testing.assert_close(gradient, wanted, atol=tolerance, rtol=1e-2 if dtype == torch.bfloat16 else 1e-5)
    assert accuracy == (logits.argmax(-1) == tokens).float().mean() and not accuracy.requires_grad


def test_a_loss_that_overflows_is_not_hidden():
    logits = torch.tensor([[float("inf"), 0.0]], requires_grad=True)
    assert not torch.isfinite(token_cross_entropy(logits, torch.tensor([1]))[0])


def test_large_logits_do_not_overflow():
    loss, _ = token_cross_entropy(torch.tensor([[1e4, 0.0]]), torch.tensor([1]))
    assert loss == 1e4
