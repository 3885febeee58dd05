"""SimMIM: a simple framework for masked image modeling (Xie et al. 2021, arXiv 2111.09886; github.com/microsoft/SimMIM).

One ViT sees all positions, the masked ones as a mask token, and a linear layer predicts the masked patches' pixels. What is
masked are squares of 32 pixels (2 x 2 patches), drawn at random. As in the public code's ViT-B: encoder and first weights are
BEiT's, whose shared relative position bias is all that tells where a patch is; the head's first weights are PyTorch's. Not
as there: the learning rate falls as a cosine, not to a tenth at epoch 700 of 800; crops are bicubic.
"""

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cae.data.batches import MaskedViews
from cae.data.rng import uniforms
from cae.methods.parts.mask_tokens import decays, encode_masked, initialise
from cae.models.vit import create_encoder, gather, normalise, patchify
from cae.params.methods.simmim import SimMIMModel


class SimMIM(nn.Module):
    def __init__(self, params: SimMIMModel):
        super().__init__()
        self.params = params
        self.encoder = create_encoder(params)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, params.width))
        initialise(self)
        self.head = nn.Linear(params.width, 3 * params.image.patch**2)

    @staticmethod
    def batches(images, params: SimMIMModel) -> MaskedViews:
        return MaskedSquares(images, params)

    decays = staticmethod(decays)

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The loss, L1 over the masked patches' pixels; batch: pixels uint8 [B, S, S, 3], masked [B, m] patch indices."""
        images, masked = normalise(batch["pixels"]), batch["masked"]
        latents = encode_masked(self.encoder, images, masked, self.mask_token)
        target = gather(patchify(images, self.params.image.patch), masked)
        return {"loss": F.l1_loss(self.head(gather(latents[:, 1:], masked)).float(), target)}


build = SimMIM


class MaskedSquares(MaskedViews):
    """Random masks are of squares of `params.square` patches a side; masks in blocks as all others'."""

    def __init__(self, images, params: SimMIMModel):
        super().__init__(images, params)
        self.square = params.square

    def __getitem__(self, key: tuple[int, np.ndarray]) -> dict[str, Tensor]:
        batch, (epoch, indices) = super().__getitem__(key), key
        if self.mask.kind == "random":
            batch |= zip(("visible", "masked"), self._split(epoch, indices))
        return batch

    def _split(self, epoch: int, indices: np.ndarray) -> Iterator[Tensor]:
        """Patch indices (visible [B, N - count], masked [B, count]), each ascending: the squares in a random order, of which
        the first are masked, the last of these perhaps in part."""
        at = np.arange(self.grid) // self.square
        side = at[-1] + 1
        draws = uniforms(side**2, self.views.seed, "mask", epoch, indices)[:, np.add.outer(side * at, at).ravel()]
        order = draws.argsort(1, kind="stable")
        for part in (order[:, self.mask.count :], order[:, : self.mask.count]):
            yield torch.from_numpy(np.sort(part))
