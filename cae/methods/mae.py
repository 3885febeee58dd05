"""MAE: masked autoencoders are scalable vision learners (He et al. 2021, arXiv 2111.06377; github.com/facebookresearch/mae).

The encoder sees a quarter of the patches; a narrow decoder sees its latents and mask tokens at all positions and predicts
the masked patches' pixels, each patch normalised by its own mean and variance. Not in the paper: with `target: tokens` it
predicts their discrete tokens instead, as CAE and BEiT do, so that the three can be compared with equal targets.

Its fixed sine-cosine positions turn first with the row and then with the column; in the public code it is the other way
round, which is another order of the same channels to networks that have not been trained. A released encoder brings its own.
"""

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from cae.data.batches import MaskedViews
from cae.methods.parts.pixel_targets import normalise_patches
from cae.methods.parts.token_loss import token_cross_entropy
from cae.models.vit import (
    LayerNorm,
    create_encoder,
    encode_all,
    fix_positions,
    gather,
    normalise,
    patchify,
    sincos_positions,
)  # fmt: skip
from cae.params.methods.mae import MAEModel


class MAE(nn.Module):
    def __init__(self, params: MAEModel, vocabulary: int = 1):
        """`vocabulary`: the number of discrete targets, where params.target is "tokens"."""
        super().__init__()
        self.params = p = params
        self.encoder = create_encoder(p)
        self.embed = nn.Linear(p.width, p.decoder_width)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, p.decoder_width))
        self.decoder = nn.ModuleList(
            Block(p.decoder_width, p.decoder_heads, qkv_bias=True, norm_layer=LayerNorm) for _ in range(p.decoder_depth)
        )
        self.decoder_norm = LayerNorm(p.decoder_width)
        self.head = nn.Linear(p.decoder_width, vocabulary if p.target == "tokens" else 3 * p.image.patch**2)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        nn.init.xavier_uniform_(self.encoder.patch_embed.proj.weight.flatten(1))  # as the linear layer that it is
        nn.init.normal_(self.encoder.cls_token, std=0.02)
        nn.init.normal_(self.mask_token, std=0.02)
        fix_positions(self.encoder)
        self.register_buffer("positions", sincos_positions(p.image.grid, p.decoder_width), persistent=False)

    @staticmethod
    def batches(images, params: MAEModel, tokens=None) -> MaskedViews:
        return MaskedViews(images, params, tokens)

    def decode(self, latents: Tensor, visible: Tensor) -> Tensor:
        """Class token and visible patches' latents [B, 1 + v, D] to the decoder's of class token and all patches
        [B, 1 + N, decoder width]."""
        x = self.embed(latents)
        patches = self.mask_token.to(x.dtype).expand(len(x), len(self.positions), -1)
        patches = patches.scatter(1, visible[..., None].expand(-1, -1, x.shape[-1]), x[:, 1:]) + self.positions
        x = torch.cat([x[:, :1], patches], 1)
        for block in self.decoder:
            x = block(x)
        return self.decoder_norm(x)

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Loss terms, over masked patches only; batch: pixels uint8 [B, S, S, 3], visible [B, v] and masked [B, m], tokens
        [B, N]."""
        patches = patchify(normalise(batch["pixels"]), self.params.image.patch)
        visible, masked = batch["visible"], batch["masked"]
        decoded = self.decode(encode_all(self.encoder, gather(patches, visible), visible), visible)
        if self.params.target == "tokens":
            prediction = self.head(gather(decoded[:, 1:], masked))
            loss, accuracy = token_cross_entropy(prediction, batch["tokens"].gather(1, masked))
            return {"loss": loss, "accuracy": accuracy}
        target = gather(patches, masked)
        if self.params.normalise_targets:
            target = normalise_patches(target)
        return {"loss": (gather(self.head(decoded)[:, 1:], masked).float() - target).square().mean()}


build = MAE
