"""Context autoencoder (paper §2, Figures 1 and 2a): encoder, latent contextual regressor, alignment, decoder.

Where the paper leaves a detail open this follows the public code (github.com/lxtGH/CAE), named at each place. One
choice differs from it on purpose: the alignment targets come from the same encoder with its current weights, as the
paper says, not from a copy that lags one step. (With `alignment_momentum` they come from its moving average: G.3.)
Pixels as targets (Figure 4) are plain, as the paper describes them. The one public code that predicts pixels
(PaddlePaddle/VIMER) normalises each patch by default: that is `normalise_targets`.
"""

from functools import partial

import torch
import torch.nn.functional as F
from timm.layers import DropPath, LayerScale, Mlp
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn

from cae.data.batches import MaskedViews
from cae.methods.parts import ema
from cae.methods.parts.pixel_targets import normalise_patches
from cae.methods.parts.token_loss import token_cross_entropy
from cae.models.vit import (
    LayerNorm,
    create_encoder,
    encode,
    fix_positions,
    gather,
    normalise,
    patchify,
    sincos_positions,
    truncated_normal,
)  # fmt: skip
from cae.params import UntrainedModel
from cae.params.methods.cae import CAEModel


class CrossAttention(nn.Module):
    """Multi-head attention of queries [B, n, D] to separate keys and values [B, m, D]; no bias on the keys."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.q, self.v, self.proj = (nn.Linear(width, width) for _ in range(3))
        self.k = nn.Linear(width, width, bias=False)

    def forward(self, query: Tensor, keys: list[Tensor], values: list[Tensor]) -> Tensor:
        """Keys and values as parts, which are joined behind their projections."""
        q, k, v = self.q(query), torch.cat([self.k(x) for x in keys], 1), torch.cat([self.v(x) for x in values], 1)
        q, k, v = (x.unflatten(-1, (self.heads, -1)).transpose(1, 2) for x in (q, k, v))
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class RegressorBlock(nn.Module):
    """Cross-attention block of the latent contextual regressor.

    As the public code: positions join queries and keys before their LayerNorms, never the values; queries, keys and
    values have a LayerNorm each; the LayerNorm before the MLP lies on the residual stream, not in the branch.
    """

    def __init__(self, width: int, heads: int, layer_scale: float, drop_path: float):
        super().__init__()
        self.norm_q, self.norm_k, self.norm_v, self.norm = (LayerNorm(width) for _ in range(4))
        self.attn = CrossAttention(width, heads)
        self.mlp = Mlp(width, 4 * width)
        scale = partial(LayerScale, width, layer_scale) if layer_scale else nn.Identity
        self.scale_attn, self.scale_mlp = scale(), scale()
        self.drop_path = DropPath(drop_path)

    def forward(self, queries: Tensor, pos_masked: Tensor, visible: Tensor, visible_at: Tensor) -> Tensor:
        """`visible_at`: the visible latents with their positions added, the same in every block."""
        queries_at = queries + pos_masked
        attended = self.attn(
            self.norm_q(queries_at),
            [self.norm_k(visible_at), self.norm_k(queries_at)],
            [self.norm_v(visible), self.norm_v(queries)],
        )
        x = self.norm(queries + self.drop_path(self.scale_attn(attended)))
        return x + self.drop_path(self.scale_mlp(self.mlp(x)))


class CAE(nn.Module):
    """The model of Equation 1. `forward` takes a batch and returns its loss terms."""

    def __init__(self, params: CAEModel, vocabulary: int = 1):
        """`vocabulary`: the number of discrete targets, where params.target is "tokens"."""
        super().__init__()
        self.params = p = params
        encoder = build_encoder(p)  # drawn first: every model of a seed and size starts from the same encoder
        outputs = vocabulary if p.target == "tokens" else 3 * p.image.patch**2

        def rates(depth):
            return torch.linspace(0, p.drop_path, depth, device="cpu").tolist()

        self.regressor = nn.ModuleList(
            RegressorBlock(p.width, p.heads, p.layer_scale, rate) for rate in rates(p.regressor_depth)
        )
        self.regressor_norm = LayerNorm(p.width)
        self.decoder = nn.ModuleList(
            Block(p.width, p.heads, qkv_bias=True, init_values=p.layer_scale, drop_path=rate, norm_layer=LayerNorm)
            for rate in rates(p.decoder_depth)
        )
        # Without a decoder a linear layer predicts the targets straight from Z_m (paper §4.3).
        self.decoder_norm = LayerNorm(p.width) if p.decoder_depth else nn.Identity()
        self.head = nn.Linear(p.width, outputs)
        self.mask_query = nn.Parameter(torch.zeros(1, 1, p.width))
        initialise(self)
        truncated_normal(self.mask_query)
        freeze_key_bias(self.decoder)
        self.register_buffer("positions", sincos_positions(p.image.grid, p.width), persistent=False)
        self.encoder = encoder
        self.target_encoder = ema.frozen_copy(encoder) if p.alignment_momentum else None

    @staticmethod
    def batches(images, params: CAEModel, tokens=None) -> MaskedViews:
        return MaskedViews(images, params, tokens)

    def after_step(self, progress: float) -> None:
        if self.target_encoder is not None:
            ema.update(self.target_encoder, self.encoder, self.params.alignment_momentum)

    def regress(self, visible: Tensor, pos_visible: Tensor, pos_masked: Tensor) -> Tensor:
        """H: latents of the visible patches [B, v, D] to Z_m, predicted latents of the masked ones [B, m, D]."""
        z, visible_at = self.mask_query.expand(pos_masked.shape), visible + pos_visible
        for block in self.regressor:
            z = block(z, pos_masked, visible, visible_at)
        return self.regressor_norm(z)

    def decode(self, latents: Tensor, positions: Tensor) -> Tensor:
        """G: latents [B, m, D] to target predictions [B, m, vocabulary or pixels of a patch]."""
        x = latents
        if self.decoder:
            x = x + positions
            for block in self.decoder:
                x = block(x)
        return self.head(self.decoder_norm(x))

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Loss terms of a batch; `loss` is Equation 1.

        batch: pixels uint8 [B, S, S, 3]; visible [B, N - m] and masked [B, m], patch indices; tokens [B, N].
        """
        patches = patchify(normalise(batch["pixels"]), self.params.image.patch)
        visible, masked = batch["visible"], batch["masked"]
        masked_patches = gather(patches, masked)
        pos_visible, pos_masked = self.positions[visible], self.positions[masked]

        z_visible = encode(self.encoder, gather(patches, visible), visible)
        z_masked = self.regress(z_visible, pos_visible, pos_masked)
        prediction = self.decode(z_masked, pos_masked)

        terms = {}
        if self.params.target == "tokens":
            targets = batch["tokens"].gather(1, masked)
            terms["decoding"], terms["accuracy"] = token_cross_entropy(prediction, targets)
        else:
            target = normalise_patches(masked_patches) if self.params.normalise_targets else masked_patches
            terms["decoding"] = F.mse_loss(prediction.float(), target)
        loss = terms["decoding"]
        if self.params.alignment_weight:
            # sg[.] of Equation 1. The targets are drawn with drop path on, as the public code draws them.
            with torch.no_grad():
                z_target = encode(self.target_encoder or self.encoder, masked_patches, masked)
            terms["alignment"] = F.mse_loss(z_masked.float(), z_target.float())
            loss = loss + self.params.alignment_weight * terms["alignment"]
        return {"loss": loss, **terms}


build = CAE


def build_encoder(params: CAEModel | UntrainedModel) -> VisionTransformer:
    """CAE's encoder, initialised, with fixed positions (public code).

    timm's qkv has a bias on the keys that CAE's lacks: the two are equivalent, since a key bias adds one constant
    per query to the attention logits and the softmax removes it. It is kept at zero so that the trained parameters
    are those of CAE.
    """
    vit = create_encoder(params)
    initialise(vit)
    if params.init == "xavier":  # as MAE: patches are then not small beside their positions
        nn.init.xavier_uniform_(vit.patch_embed.proj.weight.flatten(1))
    fix_positions(vit)
    freeze_key_bias(vit.blocks)
    return vit


def initialise(module: nn.Module) -> None:
    """Xavier-uniform linear layers, and normal(0.02) truncated at one standard deviation elsewhere (public code).

    The public large model was perhaps meant to use depth-rescaled truncated normals throughout, but its script drops
    that flag; all sizes are initialised alike here.
    """
    for child in module.modules():
        if isinstance(child, nn.Linear):
            nn.init.xavier_uniform_(child.weight)
            if child.bias is not None:
                nn.init.zeros_(child.bias)
        elif isinstance(child, nn.Conv2d):
            truncated_normal(child.weight)
            nn.init.zeros_(child.bias)
    if isinstance(getattr(module, "cls_token", None), nn.Parameter):
        truncated_normal(module.cls_token)


def freeze_key_bias(blocks: nn.Module) -> None:
    def without_key(grad: Tensor) -> Tensor:
        q, k, v = grad.chunk(3)
        return torch.cat([q, torch.zeros_like(k), v])

    for block in blocks:
        block.attn.qkv.bias.register_hook(without_key)
