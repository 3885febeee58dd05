"""A pretrained encoder as what downstream training starts from: a classifier, or the backbone of a dense prediction.

Positions stay as pretrained, fixed, and are interpolated where the grid of patches is another. On top of them each block
may learn a relative position bias of its own, from zero, as in the public code.
"""

import re

import timm
from timm.layers import resize_rel_pos_bias_table_simple
from timm.layers.pos_embed_rel import gen_relative_position_index
from timm.models import Beit, VisionTransformer
from torch import Tensor, nn

TABLE = "relative_position_bias_table"


def trainable(
    encoder: VisionTransformer | Beit, config: dict, *, relative_positions: bool, drop_path: float, **arguments
) -> tuple[VisionTransformer | Beit, str, dict]:
    """The encoder anew, to be trained, and timm's name and arguments to build it again; `config`: load_encoder's.

    `arguments` are laid over the encoder's own. With relative positions it is timm's `Beit`, which has them; the one bias
    that BEiT's blocks share becomes one for each. Without them a BEiT stays as it is. A head is left as timm makes it.
    """
    name, arguments = config["architecture"], {"global_pool": "token", **config["arguments"], **arguments}
    state, shared = encoder.state_dict(), isinstance(encoder, Beit)
    if relative_positions:
        state = as_beit(state)
        name = "beit_base_patch16_224"
        arguments |= {
            "use_abs_pos_emb": "pos_embed" in state, "use_rel_pos_bias": True, "use_shared_rel_pos_bias": False,
            "init_values": arguments.get("init_values") or 0.0,  # to timm None is as if not said, and BEiT-B has layer scale
        }  # fmt: skip
    if arguments.get("global_pool") == "avg":  # what was the final norm comes after the pooling
        state = {re.sub("^norm", "fc_norm", key): value for key, value in state.items()}
    state = {key: value for key, value in state.items() if not key.startswith("head.")}
    model = timm.create_model(name, **arguments, drop_path_rate=drop_path)
    new = {key for key in model.state_dict() if key.startswith("head.") or (key.endswith(TABLE) and not shared)}
    model.load_state_dict({key: model.state_dict()[key] for key in new} | state)  # all others must be there
    if model.pos_embed is not None:
        model.pos_embed.requires_grad_(False)
    return model, name, arguments


def as_beit(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a ViT, or of a BEiT whose blocks share their bias, under the names of a Beit with a bias a block.

    Beit has no bias on the keys: one adds the same to all attention logits of a query, and the softmax removes it.
    """
    out = {}
    for name, value in state.items():
        if name.endswith("attn.qkv.bias"):
            q, _, v = value.chunk(3)
            out |= {name.replace("qkv.bias", "q_bias"): q, name.replace("qkv.bias", "v_bias"): v}
        elif name == f"rel_pos_bias.{TABLE}":
            blocks = {key.split(".")[1] for key in state if key.startswith("blocks.")}
            out |= {f"blocks.{block}.attn.{TABLE}": value for block in blocks}
        else:
            out[re.sub(r"\.ls([12])\.gamma$", r".gamma_\1", name)] = value
    return out


def levels(depth: int) -> list[int]:
    """The blocks whose outputs serve as levels, from 0: a third, half, two thirds and all of the way.

    [3, 5, 7, 11] of 12 and [7, 11, 15, 23] of 24 blocks (public code).
    """
    return [max(depth * i // 6, 1) - 1 for i in (2, 3, 4, 6)]


class Backbone(nn.Module):
    """Four maps of one ViT, a quarter, half, one and two times its patches a side: by transposed convolutions, as they
    are, and by max pooling (BEiT's and CAE's public code). The blocks' outputs are not normalised."""

    def __init__(self, encoder: VisionTransformer | Beit):
        super().__init__()
        self.encoder, width = encoder, encoder.embed_dim
        self.levels = levels(len(encoder.blocks))
        encoder.norm.requires_grad_(False)  # it serves none of the levels
        encoder.patch_embed.strict_img_size = False
        if getattr(encoder, "rel_pos_bias", None) is not None:
            encoder.rel_pos_bias = SharedBias(encoder.rel_pos_bias)

        def up():
            return nn.ConvTranspose2d(width, width, 2, stride=2)

        self.necks = nn.ModuleList(
            [nn.Sequential(up(), nn.BatchNorm2d(width), nn.GELU(), up()), up(), nn.Identity(), nn.MaxPool2d(2)]
        )

    def forward(self, images: Tensor) -> list[Tensor]:
        """Images [B, 3, H, W] of whole patches, h x w of them, to maps [B, D, 4h, 4w], [2h, 2w], [h, w], [h/2, w/2].

        Other sizes than the encoder's own need an encoder that is a ViT made with `dynamic_img_size`, or a BEiT with one
        bias for all its blocks.
        """
        encoder = self.encoder
        if isinstance(getattr(encoder, "rel_pos_bias", None), SharedBias):
            encoder.rel_pos_bias.grid = encoder.patch_embed.dynamic_feat_size(images.shape[-2:])
        wanted = sorted(set(self.levels))
        maps = encoder.forward_intermediates(images, indices=wanted, norm=False, intermediates_only=True)
        maps = dict(zip(wanted, maps))
        return [neck(maps[level]) for level, neck in zip(self.levels, self.necks)]


class SharedBias(nn.Module):
    """The relative position bias that BEiT's blocks share, at any grid: its table interpolated (bicubic)."""

    def __init__(self, bias: nn.Module):
        """`bias`: timm's, of one grid."""
        super().__init__()
        self.relative_position_bias_table, self.grid = bias.relative_position_bias_table, bias.window_size

    def forward(self) -> Tensor:
        """[heads, 1 + N, 1 + N] of the N = h x w patches of `grid` and the class token."""
        (h, w), heads = self.grid, self.relative_position_bias_table.shape[1]
        shape = (2 * h - 1) * (2 * w - 1) + 3, heads
        table = resize_rel_pos_bias_table_simple(self.relative_position_bias_table, self.grid, shape)
        index = gen_relative_position_index(self.grid, class_token=True, device=table.device)
        return table[index.flatten()].view(*index.shape, heads).permute(2, 0, 1).contiguous()
