"""BEiT: BERT pretraining of image transformers (Bao et al. 2021, arXiv 2106.08254; github.com/microsoft/unilm, beit).

One ViT sees all positions, the masked ones as a mask token, and predicts their discrete tokens. Positions are a relative
position bias that all blocks share. The public code masks up to 75 of 196 patches, and stops short of it in a third of
the images; here each image has exactly as many as params say.
"""

import torch
from torch import Tensor, nn

from cae.data.batches import MaskedViews
from cae.methods.parts.mask_tokens import decays, encode_masked, initialise
from cae.methods.parts.token_loss import token_cross_entropy
from cae.models.vit import create_encoder, gather, normalise
from cae.params.methods.beit import BEiTModel


class BEiT(nn.Module):
    def __init__(self, params: BEiTModel, vocabulary: int = 1):
        super().__init__()
        self.params = params
        self.encoder = create_encoder(params)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, params.width))
        self.head = nn.Linear(params.width, vocabulary)
        initialise(self)

    @staticmethod
    def batches(images, params: BEiTModel, tokens=None) -> MaskedViews:
        return MaskedViews(images, params, tokens)

    decays = staticmethod(decays)

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Loss terms; batch: pixels uint8 [B, S, S, 3], masked [B, m] patch indices, tokens [B, N]."""
        masked = batch["masked"]
        latents = encode_masked(self.encoder, normalise(batch["pixels"]), masked, self.mask_token)
        prediction = self.head(gather(latents[:, 1:], masked))
        loss, accuracy = token_cross_entropy(prediction, batch["tokens"].gather(1, masked))
        return {"loss": loss, "accuracy": accuracy}


build = BEiT
