"""CAE's training step as the public code makes it (github.com/lxtGH/CAE), to be timed and compared with.

Written anew, over the parameters of our model, so that both can be asked for the same loss. What it does as the public
code does: all patches are embedded, twice, and picked by boolean masks; attention is written out; the visible and the
masked half are concatenated, normed and projected in every block of the regressor; the target encoder is a copy, made anew
every step; the positions are made anew every pass; the loss is read from the device every step.
"""

import copy
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cae.methods.cae import CAE
from cae.models.vit import normalise, sincos_positions


class PlainCAE(nn.Module):
    def __init__(self, model: CAE):
        super().__init__()
        self.model, self.teacher = model, copy.deepcopy(model.encoder).requires_grad_(False)

    def forward(self, pixels: Tensor, mask: Tensor, tokens: Tensor) -> dict[str, Tensor]:
        """`mask` bool [B, N], true where masked; `tokens` [B, N]: loss terms as CAE's own."""
        m, images, batch = self.model, normalise(pixels), len(pixels)
        width = m.params.width
        positions = sincos_positions(m.params.image.grid, width).to(pixels.device).expand(batch, -1, -1)
        pos_visible, pos_masked = (positions[which].reshape(batch, -1, width) for which in (~mask, mask))
        visible = encoded(m.encoder, images, ~mask)
        with torch.no_grad():
            target = encoded(self.teacher, images, mask)
            for old, new in zip(self.teacher.parameters(), m.encoder.parameters()):
                old.data = new.detach().clone()
        z = m.mask_query.expand(batch, pos_masked.shape[1], -1)
        for block in m.regressor:
            z = regressed(block, z, visible, pos_masked, pos_visible)
        z = m.regressor_norm(z)
        x = z + pos_masked
        for block in m.decoder:
            x = transformed(block, x)
        logits, labels = m.head(m.decoder_norm(x)).float(), tokens[mask]
        decoding = F.cross_entropy(logits.flatten(0, 1), labels)
        alignment = F.mse_loss(z.float(), target.float())
        accuracy = (logits.flatten(0, 1).max(-1)[1] == labels).float().mean()
        loss = decoding + m.params.alignment_weight * alignment
        return {"loss": loss, "decoding": decoding, "accuracy": accuracy, "alignment": alignment}


def encoded(vit, images: Tensor, keep: Tensor) -> Tensor:
    x = vit.patch_embed(images)
    batch, _, width = x.shape
    positions = vit.pos_embed[:, 1:].expand(batch, -1, -1)
    x = x[keep].reshape(batch, -1, width) + positions[keep].reshape(batch, -1, width)
    x = torch.cat([(vit.cls_token + vit.pos_embed[:, :1]).expand(batch, -1, -1), x], 1)
    for block in vit.blocks:
        x = transformed(block, x)
    return vit.norm(x)[:, 1:]


def transformed(block, x: Tensor) -> Tensor:
    attention = block.attn
    q, k, v = attention.qkv(block.norm1(x)).chunk(3, -1)
    x = x + block.drop_path1(block.ls1(attention.proj(attended(q, k, v, attention.num_heads))))
    return x + block.drop_path2(block.ls2(block.mlp(block.norm2(x))))


def regressed(block, queries: Tensor, visible: Tensor, pos_masked: Tensor, pos_visible: Tensor) -> Tensor:
    attention, context = block.attn, torch.cat([visible, queries], 1)
    q = attention.q(block.norm_q(queries + pos_masked))
    k = attention.k(block.norm_k(context + torch.cat([pos_visible, pos_masked], 1)))
    v = attention.v(block.norm_v(context))
    x = queries + block.drop_path(block.scale_attn(attention.proj(attended(q, k, v, attention.heads))))
    x = block.norm(x)
    return x + block.drop_path(block.scale_mlp(block.mlp(x)))


def attended(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    q, k, v = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (q, k, v))
    weights = (q * (1 / math.sqrt(q.shape[-1])) @ k.transpose(-2, -1)).softmax(-1)
    return (weights @ v).transpose(1, 2).flatten(2)
