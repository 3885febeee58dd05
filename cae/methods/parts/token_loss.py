"""Cross-entropy over a tokenizer's vocabulary, without copies of all logits."""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

ROWS = {"cpu": 128}  # logits at a time that are float32: on a CPU few enough for its cache
MANY_ROWS = 4096  # on other devices


def token_cross_entropy(logits: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy, and the share of tokens that the largest logit is of: logits [..., V], tokens [...].

    As `F.cross_entropy(logits.float(), tokens)`; but its gradient is made at once, a part of the rows at a time, and is
    all that is kept: instead of logits and probabilities in float32, one array in the type of `logits`.
    """
    return _TokenCrossEntropy.apply(logits.flatten(0, -2), tokens.flatten())


class _TokenCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx, logits, tokens):
        rows = ROWS.get(logits.device.type, MANY_ROWS)
        gradient, losses, right = torch.empty_like(logits), [], []
        for part, token, out in zip(logits.split(rows), tokens[:, None].split(rows), gradient.split(rows)):
            part = part.float()
            top, best = part.max(-1, keepdim=True)
            share = (part - top).exp_()
            total = share.sum(-1, keepdim=True)
            losses.append(total.log() + top - part.gather(1, token))
            right.append(best == token)
            share /= total * len(logits)
            share.scatter_add_(1, token, torch.full_like(total, -1 / len(logits)))
            out.copy_(share)
        ctx.save_for_backward(gradient)
        accuracy = torch.cat(right).float().mean()
        ctx.mark_non_differentiable(accuracy)
        return torch.cat(losses).mean(), accuracy

    @staticmethod
    @once_differentiable
    def backward(ctx, grad, _):
        (gradient,) = ctx.saved_tensors
        return gradient * grad, None
