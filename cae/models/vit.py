"""The encoder: timm's VisionTransformer, unchanged inside, run on any subset of an image's patches."""

from functools import partial

import timm
import torch
import torch.nn.functional as F
from timm.models import Beit, VisionTransformer
from torch import Tensor, nn

from cae.data.pixels import MEAN, STD
from cae.params import METHODS, Pretraining, Release, UntrainedModel

LayerNorm = partial(nn.LayerNorm, eps=1e-6)  # as timm's ViT


def timm_model(params: Pretraining | Release | UntrainedModel, classes: int = 0) -> tuple[str, dict]:
    """timm's name and arguments of a model's encoder: every size is a base model with other arguments.

    `classes`: of a classifier on the class token; 0 for none.
    """
    arguments = dict(
        img_size=params.image.size, patch_size=params.image.patch, embed_dim=params.width, depth=params.depth,
        num_heads=params.heads, init_values=params.layer_scale, num_classes=classes,
    )  # fmt: skip
    if METHODS[params.method].timm_class == "Beit":
        return "beit_base_patch16_224", arguments | dict(
            global_pool="token", use_rel_pos_bias=False, use_shared_rel_pos_bias=True
        )
    return "vit_base_patch16_224", arguments


def create_encoder(
    params: Pretraining | Release | UntrainedModel, classes: int = 0, **options
) -> VisionTransformer | Beit:
    """A model's encoder, initialised as timm does."""
    name, arguments = timm_model(params, classes)
    return timm.create_model(name, **{"drop_path_rate": params.drop_path, **arguments, **options})


def fix_positions(vit: VisionTransformer) -> None:
    """Give the encoder fixed 2-D sine-cosine positions; the class token's is zero."""
    width = vit.embed_dim
    positions = sincos_positions(vit.patch_embed.grid_size[0], width)
    vit.pos_embed = nn.Parameter(torch.cat([torch.zeros(1, width), positions])[None], requires_grad=False)


def truncated_normal(parameter: Tensor) -> None:
    nn.init.trunc_normal_(parameter, std=0.02, a=-0.02, b=0.02)


def sincos_positions(grid: int, width: int) -> Tensor:
    """Fixed positions [grid * grid, width], row by row: (sin y, cos y, sin x, cos x), temperature 10000 (MoCo v3)."""
    if width % 4:
        raise ValueError(f"width {width} is not a multiple of 4")
    omega = 10000.0 ** (-torch.arange(width // 4, dtype=torch.float64) / (width // 4))
    angles = torch.arange(grid, dtype=torch.float64)[:, None] * omega
    wave = torch.cat([angles.sin(), angles.cos()], 1)
    x, y = wave[None].expand(grid, -1, -1), wave[:, None].expand(-1, grid, -1)
    return torch.cat([y, x], -1).flatten(0, 1).float()


def normalise(pixels: Tensor) -> Tensor:
    """uint8 pixels [B, S, S, 3] as float images [B, 3, S, S] with ImageNet's statistics."""
    planes = zip(pixels.unbind(-1), MEAN, STD)  # by plain numbers: nothing has to reach the device
    return torch.stack([(plane - 255 * mean) / (255 * std) for plane, mean, std in planes], 1)


def patchify(images: Tensor, patch: int) -> Tensor:
    """Images [B, 3, S, S] as patches [B, N, 3 * patch * patch], row by row, channel first inside a patch."""
    b, c, s, _ = images.shape
    g = s // patch
    return images.reshape(b, c, g, patch, g, patch).permute(0, 2, 4, 1, 3, 5).reshape(b, g * g, c * patch * patch)


def gather(x: Tensor, ids: Tensor) -> Tensor:
    """Rows `ids` [B, n] of x [B, N, D]: [B, n, D]."""
    return x.gather(1, ids[..., None].expand(-1, -1, x.shape[-1]))


def encode(vit: VisionTransformer, patches: Tensor, ids: Tensor) -> Tensor:
    """F of §2.1: patches [B, n, 3 * patch * patch] at positions `ids` [B, n] to latents [B, n, D].

    Only the given patches are embedded. The class token takes part and is left out of the result.
    """
    return encode_all(vit, patches, ids)[:, 1:]


def encode_all(vit: VisionTransformer, patches: Tensor, ids: Tensor) -> Tensor:
    """As `encode`, the class token first: [B, 1 + n, D]."""
    x = F.linear(patches, vit.patch_embed.proj.weight.flatten(1), vit.patch_embed.proj.bias)
    x = x + vit.pos_embed[0, 1:][ids]
    class_token = (vit.cls_token + vit.pos_embed[:, :1]).expand(len(x), -1, -1)
    return vit.norm(vit.blocks(torch.cat([class_token, x], 1)))
