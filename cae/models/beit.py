"""BEiT: BERT pretraining of image transformers (Bao et al. 2021, arXiv 2106.08254; github.com/microsoft/unilm, beit).

One ViT sees all positions, the masked ones as a mask token, and predicts their discrete tokens. Positions are a relative
position bias that all blocks share. The public code masks up to 75 of 196 patches, and stops short of it in a third of
the images; here each image has exactly as many as params say.
"""

import math

import torch
from timm.models import Beit
from torch import Tensor, nn

from cae.data.batches import MaskedViews
from cae.models.losses import token_cross_entropy
from cae.models.vit import create_encoder, gather, normalise, truncated_normal
from cae.params import BEiTModel
from cae.training.optim import matrices_decay


class BEiT(nn.Module):
    def __init__(self, params: BEiTModel, vocabulary: int = 1):
        super().__init__()
        self.params = params
        self.encoder = create_encoder(params)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, params.width))
        self.head = nn.Linear(params.width, vocabulary)
        self._initialise()

    def _initialise(self) -> None:
        """Normal(0.02) truncated at one standard deviation; what writes to the residual stream, less by depth."""
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Conv2d)):
                truncated_normal(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        truncated_normal(self.mask_token)
        truncated_normal(self.encoder.cls_token)
        with torch.no_grad():
            for depth, block in enumerate(self.encoder.blocks, 1):
                for layer in (block.attn.proj, block.mlp.fc2):
                    layer.weight /= math.sqrt(2 * depth)

    @staticmethod
    def batches(images, params: BEiTModel, tokens=None) -> MaskedViews:
        return MaskedViews(images, params, tokens)

    @staticmethod
    def decays(name: str, parameter: nn.Parameter) -> bool:
        return matrices_decay(name, parameter) and name != "encoder.cls_token"

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Loss terms; batch: pixels uint8 [B, S, S, 3], masked [B, m] patch indices, tokens [B, N]."""
        masked = batch["masked"]
        latents = encode_masked(self.encoder, normalise(batch["pixels"]), masked, self.mask_token)
        prediction = self.head(gather(latents[:, 1:], masked))
        loss, accuracy = token_cross_entropy(prediction, batch["tokens"].gather(1, masked))
        return {"loss": loss, "accuracy": accuracy}


build = BEiT


def encode_masked(vit: Beit, images: Tensor, masked: Tensor, mask_token: Tensor) -> Tensor:
    """Images [B, 3, S, S] with the patches `masked` [B, m] replaced by the mask token, to latents [B, 1 + N, D]."""
    x = vit.patch_embed(images)
    x = x.scatter(1, masked[..., None].expand(-1, -1, x.shape[-1]), mask_token.to(x.dtype).expand(*masked.shape, -1))
    x = torch.cat([vit.cls_token.expand(len(x), -1, -1), x], 1)
    bias = vit.rel_pos_bias()
    for block in vit.blocks:
        x = block(x, shared_rel_pos_bias=bias)
    return vit.norm(x)
