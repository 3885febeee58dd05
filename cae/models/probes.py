"""Heads on a frozen encoder's tokens: linear and attentive probing (paper §4.2, Figure 7, Appendix A)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LinearProbe(nn.Module):
    """BatchNorm without affine and a linear classifier on the encoder's class token (MAE's protocol)."""

    def __init__(self, width: int, classes: int):
        super().__init__()
        self.norm = nn.BatchNorm1d(width, affine=False, eps=1e-6)
        self.head = nn.Linear(width, classes)
        nn.init.trunc_normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens [B, 1 + N, D], the class token first, to logits [B, classes]."""
        return self.head(self.norm(tokens[:, 0]))


class AttentiveProbe(nn.Module):
    """One cross-attention with an extra class token as query, BatchNorm without affine, linear classifier.

    No MLP, no skip connection, no positions. As in the public code, query, keys and values each pass a trained
    LayerNorm, the query starts at zero, and the keys include the encoder's own class token. Unlike the public code,
    BatchNorm uses its running statistics in validation: there it kept using, and updating from, validation batches
    (`probes.attentive.validation_statistics: batch` in params does that again).
    """

    def __init__(self, width: int, heads: int, classes: int, init_std: float = 0.02):
        """`init_std` of the projections: the public code's 0.02 is for widths from 384; narrower ones need more."""
        super().__init__()
        self.heads = heads
        self.query = nn.Parameter(torch.zeros(1, 1, width))
        self.norm_q, self.norm_k, self.norm_v = (nn.LayerNorm(width, eps=1e-6) for _ in range(3))
        self.q, self.v, self.proj = (nn.Linear(width, width) for _ in range(3))
        self.k = nn.Linear(width, width, bias=False)
        for layer in (self.q, self.k, self.v, self.proj):
            nn.init.trunc_normal_(layer.weight, std=init_std)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        self.norm = nn.BatchNorm1d(width, affine=False)
        self.head = nn.Linear(width, classes)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens [B, 1 + N, D] to logits [B, classes]."""
        v = self._heads(self.v(self.norm_v(tokens)))
        pooled = F.scaled_dot_product_attention(*self._query_and_keys(tokens), v).transpose(1, 2).flatten(2)
        return self.head(self.norm(self.proj(pooled)[:, 0]))

    def attention(self, tokens: Tensor) -> Tensor:
        """What the extra class token gives to each of the tokens [B, 1 + N, D], a mean over heads: [B, 1 + N]."""
        q, k = self._query_and_keys(tokens)
        return (q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5).softmax(-1).mean(1)[:, 0]

    def _query_and_keys(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        query = self.norm_q(self.query).expand(len(tokens), -1, -1)
        return self._heads(self.q(query)), self._heads(self.k(self.norm_k(tokens)))

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)
