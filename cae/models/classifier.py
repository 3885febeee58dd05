"""A pretrained encoder as the classifier that fine-tuning starts from (BEiT's and CAE's public code).

Patch tokens are averaged, normalised by what was the encoder's final norm, and classified by a linear head that starts a
thousandth of its usual size. Positions stay as pretrained, fixed. On top of them each block may learn a relative position
bias of its own, from zero; the one that BEiT's blocks share becomes one for each.
"""

import re

import timm
import torch
from timm.models import Beit, VisionTransformer
from torch import Tensor, nn

HEAD_SCALE = 1e-3
TABLE = "relative_position_bias_table"


def classifier(
    encoder: VisionTransformer | Beit, config: dict, classes: int, relative_positions: bool, drop_path: float = 0.0
) -> tuple[VisionTransformer | Beit, str, dict]:
    """The model with a new head, and timm's name and arguments to build it again; `config`: the encoder's config.json.

    With relative positions it is timm's `Beit`, which has them; one of BEiT's keeps its own in any case.
    """
    name, arguments = config["architecture"], config["arguments"] | {"num_classes": classes, "global_pool": "avg"}
    state, shared = encoder.state_dict(), isinstance(encoder, Beit)
    if shared or relative_positions:
        state = as_beit(state)
        name = "beit_base_patch16_224"
        arguments |= {
            "use_abs_pos_emb": "pos_embed" in state, "use_rel_pos_bias": True, "use_shared_rel_pos_bias": False,
            "init_values": arguments.get("init_values") or 0.0,  # to timm None is as if not said, and BEiT-B has layer scale
        }  # fmt: skip
    state = {re.sub("^norm", "fc_norm", key): value for key, value in state.items() if not key.startswith("head.")}
    model = timm.create_model(name, **arguments, drop_path_rate=drop_path)
    nn.init.trunc_normal_(model.head.weight, std=0.02)
    nn.init.zeros_(model.head.bias)
    with torch.no_grad():
        model.head.weight.mul_(HEAD_SCALE)
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
