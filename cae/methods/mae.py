"""MAE: masked autoencoders are scalable vision learners (He et al. 2021, arXiv 2111.06377; github.com/facebookresearch/mae).

The encoder sees a quarter of the patches; a narrow decoder sees its latents and mask tokens at all positions and predicts
the masked patches' pixels, each patch normalised by its own mean and variance.

Its fixed sine-cosine positions turn first with the row and then with the column; in the public code it is the other way
round, which is another order of the same channels to networks that have not been trained. A released encoder brings its own.
"""

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from cae.data.batches import MaskedViews
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
    def __init__(self, params: MAEModel):
        super().__init__()
        self.params = p = params
        self.encoder = create_encoder(p)
        self.embed = nn.Linear(p.width, p.decoder_width)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, p.decoder_width))
        self.decoder = nn.ModuleList(
            Block(p.decoder_width, p.decoder_heads, qkv_bias=True, norm_layer=LayerNorm) for _ in range(p.decoder_depth)
        )
        self.decoder_norm = LayerNorm(p.decoder_width)
        self.head = nn.Linear(p.decoder_width, 3 * p.image.patch**2)
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
    def batches(images, params: MAEModel) -> MaskedViews:
        return MaskedViews(images, params)

    def decode(self, latents: Tensor, visible: Tensor) -> Tensor:
        """Class token and visible patches' latents [B, 1 + v, D] to pixels of all patches [B, N, 3 * patch * patch]."""
        x = self.embed(latents)
        patches = self.mask_token.to(x.dtype).expand(len(x), len(self.positions), -1)
        patches = patches.scatter(1, visible[..., None].expand(-1, -1, x.shape[-1]), x[:, 1:]) + self.positions
        x = torch.cat([x[:, :1], patches], 1)
        for block in self.decoder:
            x = block(x)
        return self.head(self.decoder_norm(x))[:, 1:]

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The loss, over masked patches only; batch: pixels uint8 [B, S, S, 3], visible [B, v] and masked [B, m]."""
        patches = patchify(normalise(batch["pixels"]), self.params.image.patch)
        visible, masked = batch["visible"], batch["masked"]
        target = gather(patches, masked)
        if self.params.normalise_targets:
            target = (target - target.mean(-1, keepdim=True)) / (target.var(-1, keepdim=True) + 1e-6).sqrt()
        prediction = self.decode(encode_all(self.encoder, gather(patches, visible), visible), visible)
        return {"loss": (gather(prediction, masked).float() - target).square().mean()}


build = MAE
