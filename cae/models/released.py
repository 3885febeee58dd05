"""Official checkpoints in this project's names: pure functions from what a released file holds to state dicts.

Names, shapes and formulas are those of each method's public code:

- cae: github.com/lxtGH/CAE and github.com/Atten4Vis/CAE, `models/modeling_cae.py` and `modeling_cae_helper.py`;
- beit: github.com/microsoft/unilm, `beit/modeling_pretrain.py`; mae: github.com/facebookresearch/mae, `models_mae.py`;
- moco_v3: github.com/facebookresearch/moco-v3, `moco/builder.py` and `vits.py`; dino: github.com/facebookresearch/dino,
  `main_dino.py`; deit: github.com/facebookresearch/deit, `models.py`.

All are ViTs with LayerNorms of eps 1e-6, as timm's. Positions are the file's own; nothing is interpolated.
"""

import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from cae.data.pixels import MEAN, STD
from cae.errors import UserError
from cae.models.vit import create_encoder, sincos_positions
from cae.params import Pretraining

PAGES = {  # where the official checkpoints are
    "cae": "https://github.com/lxtGH/CAE or https://github.com/Atten4Vis/CAE",
    "beit": "https://github.com/microsoft/unilm/tree/master/beit",
    "mae": "https://github.com/facebookresearch/mae",
    "moco_v3": "https://github.com/facebookresearch/moco-v3/blob/main/CONFIG.md",
    "dino": "https://github.com/facebookresearch/dino",
    "deit": "https://github.com/facebookresearch/deit/blob/main/README_deit.md",
}
HEADS = {  # by width, in the public code. No tensor of a ViT shows how many there are, and a wrong number loads as well.
    "cae": {192: 12, 384: 12, 768: 12, 1024: 16},
    "beit": {768: 12, 1024: 16},
    "mae": {768: 12, 1024: 16, 1280: 16},
    "moco_v3": {384: 12, 768: 12, 1024: 16, 1280: 16},
    "dino": {192: 3, 384: 6, 768: 12},
    "deit": {192: 3, 384: 6, 768: 12},
}
RULES = {  # (pattern, replacement), all applied to a name in this order; None leaves the tensor out
    "cae": (
        (r"^(teacher|alignment_encoder)\.", None),  # a copy of the encoder
        (r"^head\.", "classifier."),  # of a fine-tuned model, which is none of ours: not to be taken for the decoder's
        (r"^(cls_token|pos_embed|patch_embed|blocks|norm)\b", r"encoder.\1"),  # a file of the encoder alone
        (r"^(pretext_neck|regresser)\.regressor_blocks\.", "regressor."),
        (r"^(pretext_neck|decoder)\.decoder_blocks\.", "decoder."),
        (r"^(pretext_neck|regresser)\.norm\.", "regressor_norm."),
        (r"^(pretext_neck\.norm2|decoder\.norm)\.", "decoder_norm."),
        (r"^(pretext_neck|decoder)\.head\.", "head."),
        (r"^mask_token$", "mask_query"),
        (r"^(regressor\.\d+)\.norm1_", r"\1.norm_"),
        (r"^(regressor\.\d+)\.norm2_cross\.", r"\1.norm."),
        (r"^(regressor\.\d+)\.cross_attn\.([qv])_bias$", r"\1.attn.\2.bias"),
        (r"^(regressor\.\d+)\.cross_attn\.", r"\1.attn."),
        (r"^(regressor\.\d+)\.mlp_cross\.", r"\1.mlp."),
        (r"^(regressor\.\d+)\.gamma_1_cross$", r"\1.scale_attn.gamma"),
        (r"^(regressor\.\d+)\.gamma_2_cross$", r"\1.scale_mlp.gamma"),
        (r"\.gamma_([12])$", r".ls\1.gamma"),
    ),
    "beit": ((r"^(mask_token$|lm_head\.)", None), (r"\brelative_position_index$", None)),
    "mae": ((r"^(mask_token$|decoder_)", None),),
    "moco_v3": (
        (r"^(momentum_encoder|predictor|base_encoder\.head)\.", None),
        (r"^base_encoder\.", ""),  # of the two encoders, the one that the public linear probe reads
    ),
    "dino": ((r"^head\.", None), (r"^backbone\.", "")),
    "deit": (),
}
# Names that only one method's checkpoints hold.
SIGNS = {
    "moco_v3": "base_encoder.",
    "beit": "rel_pos_bias.",
    "mae": "decoder_embed.",
    "dino": "last_layer",
    "cae": "q_bias",
}
# What a CAE has beside its encoder, in this project's names, and the public code's projection between unequal widths.
BESIDE = r"(regressor|regressor_norm|decoder|decoder_norm|head|mask_query|encoder_to_(decoder|regresser)(_norm)?)\b"
# The key of params that is likely wrong where a tensor does not fit, by the tensor's name.
KEYS = (
    (r"pos_embed", "image"),
    (r"rel_pos_bias", "image, or heads"),
    (r"patch_embed\.proj\.weight", "image.patch"),
    (r"ls[12]\.gamma|gamma_[12]$", "layer_scale"),
    (r"^regressor\.", "regressor_depth"),
    (r"^decoder\.", "decoder_depth"),
    (r"^head\.", "target"),
)


@dataclass
class Converted:
    """A checkpoint taken apart. Tensors are float32."""

    encoder: dict[str, Tensor] = field(default_factory=dict)  # timm's names
    outputs: int | None = None  # what the whole model chooses from: tokens or (DeiT) classes
    whole: dict[str, Tensor] | None = None  # a CAE with regressor and decoder, in the names of cae.models.cae
    # Tensors by their names in the file (without "module." of parallel training), anything besides by its key.
    dropped: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # what a reader of the model card should know


def convert(checkpoint: Mapping, params: Pretraining) -> Converted:
    """Each tensor of a released checkpoint to its place in the model that params describe, or to `dropped`.

    `checkpoint`: what the file holds, a state dict or a mapping with one in it. Raises UserError (without the file's
    name) for a tensor that is unknown, missing or of another shape, and for models that these are not.
    """
    p, out = params, Converted()
    state, out.dropped = state_dict(checkpoint, p.method)
    refuse(state, p)
    named, origin = rename(state, RULES[p.method], out.dropped)
    if p.method == "cae":
        named, beside = split(fuse_biases(named))
    elif p.method == "deit":
        out.outputs = len(named.get("head.bias", [None]))
    with torch.device("meta"):
        encoder = create_encoder(p, out.outputs or 0)
    method = next((m for m, sign in SIGNS.items() if any(sign in name for name in state)), p.method)
    also = f"; it looks like a checkpoint of {method}, params say {p.method}" if method != p.method else ""
    out.encoder = fit(named, encoder, origin, also)
    if not imagenet_statistics(checkpoint, p.method):
        out.encoder |= for_imagenet_statistics(out.encoder)
        out.notes.append(
            "The released model takes pixels as (x - 0.5) / 0.5, ours as ImageNet's statistics make them; "
            "its patch embedding is rescaled to give the same values."
        )
    if p.method == "cae" and beside:
        add_whole(out, beside, origin, p)
    return out


def state_dict(checkpoint: Mapping, method: str) -> tuple[dict[str, Tensor], list[str]]:
    """The checkpoint's weights, wrappers and the prefix of parallel training taken off; and the keys of what is beside."""
    containers = ("teacher",) if method == "dino" and "teacher" in checkpoint else ("model", "state_dict", "module")
    found = next((key for key in containers if isinstance(checkpoint.get(key), Mapping)), None)
    state = checkpoint[found] if found else checkpoint
    beside = [str(key) for key in checkpoint if key != found] if found else []
    prefix = "module." if all(str(name).startswith("module.") for name in state) else ""
    state = {str(name).removeprefix(prefix): value for name, value in state.items()}
    if alien := [name for name, value in state.items() if not isinstance(value, Tensor)]:
        raise UserError(f"no state dict of {method}: {some(alien)} {'is' if len(alien) == 1 else 'are'} no tensor")
    return state, beside


def refuse(state: Mapping, params: Pretraining) -> None:
    """Models that are near to one of ours and not it."""
    p = params
    if p.method == "deit" and "dist_token" in state:
        raise UserError(
            "a distilled DeiT, with a second class token that our encoder lacks; take the one without `distilled` in its name"
        )
    if p.method == "beit" and "blocks.0.attn.relative_position_bias_table" in state:
        raise UserError(
            "a fine-tuned BEiT, with a relative position table in each block; take a pretrained one, which all blocks "
            "share, such as beit_base_patch16_224_pt22k.pth"
        )
    heads = HEADS[p.method].get(p.width, p.heads)
    if p.heads != heads:
        raise UserError(
            f"{p.method} of width {p.width} was released with {heads} heads, params say {p.heads}: set `heads`"
        )


def rename(state: Mapping, rules, dropped: list[str]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors that are kept, by new names; and new names to old. The others' names are added to `dropped`."""
    named, origin = {}, {}
    for name, value in state.items():
        new = name
        for pattern, replacement in rules:
            if replacement is None and re.search(pattern, new):
                dropped.append(name)
                break
            new = re.sub(pattern, replacement or "", new)
        else:
            if new in named:
                raise UserError(f"{origin[new]} and {name} are the same tensor twice")
            named[new], origin[new] = value.float(), name
    return named, origin


def fuse_biases(named: dict[str, Tensor]) -> dict[str, Tensor]:
    """Separate biases of queries and values as one of q, k and v, zero for the keys."""
    out = dict(named)
    for name in named:
        stem = name.removesuffix("q_bias")
        if stem != name and f"{stem}v_bias" in out:
            q, v = out.pop(name), out.pop(f"{stem}v_bias")
            out[f"{stem}qkv.bias"] = torch.cat([q, torch.zeros_like(q), v])
    return out


def split(named: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """A CAE's encoder, in timm's names, and what is known to stand beside it; the unknown stays with the encoder."""
    beside = {name: value for name, value in named.items() if re.match(BESIDE, name) or name == "rd_pos_embed"}
    return {name.removeprefix("encoder."): value for name, value in named.items() if name not in beside}, beside


def fit(named: dict[str, Tensor], model: nn.Module, origin: dict[str, str], also: str = "") -> dict[str, Tensor]:
    """`named` in the model's order, once names and shapes are exactly the model's. Raises UserError."""
    expected = {name: value.shape for name, value in model.state_dict().items()}
    if unknown := [name for name in named if name not in expected]:
        names = [origin.get(name, origin.get(f"encoder.{name}", name)) for name in unknown]
        raise UserError(f"the model of params has no place for {some(names)}: is `{key(unknown[0])}` right?{also}")
    if missing := [name for name in expected if name not in named]:
        raise UserError(f"lacks {some(missing)} of the model of params: is `{key(missing[0])}` right?{also}")
    for name, shape in expected.items():
        if named[name].shape != shape:
            message = f"{name} is {list(named[name].shape)}, in the model of params {list(shape)}"
            raise UserError(f"{message}: set `{key(name)}` to fit{also}")
    return {name: named[name] for name in expected}


def key(name: str) -> str:
    return next((key for pattern, key in KEYS if re.search(pattern, name)), "size")


def some(names: list[str], n: int = 3) -> str:
    return ", ".join(names[:n]) + (f" and {len(names) - n} more" if len(names) > n else "")


def imagenet_statistics(checkpoint: Mapping, method: str) -> bool:
    """Whether the model takes pixels normalised with ImageNet's statistics, or with means and deviations of 0.5.

    An option of the public code of BEiT, off by default and for the released models (its README), and of CAE's, on in
    its scripts; a checkpoint of either holds its options.
    """
    options = checkpoint.get("args")
    options = getattr(options, "state", None) or getattr(options, "__dict__", {})
    return options.get("imagenet_default_mean_and_std", method != "beit")


def for_imagenet_statistics(encoder: dict[str, Tensor]) -> dict[str, Tensor]:
    """The patch embedding for pixels normalised with ImageNet's statistics, from that for (x - 0.5) / 0.5: exact, since
    both are linear and patches are not padded."""
    weight, bias = (encoder[f"patch_embed.proj.{part}"].double() for part in ("weight", "bias"))
    scale, shift = ((torch.tensor(v, dtype=torch.float64)[:, None, None] - o) / 0.5 for v, o in ((STD, 0), (MEAN, 0.5)))
    return {"patch_embed.proj.weight": (weight * scale).float(),
            "patch_embed.proj.bias": (bias + (weight * shift).sum((1, 2, 3))).float()}  # fmt: skip


def add_whole(out: Converted, beside: dict[str, Tensor], origin: dict[str, str], params: Pretraining) -> None:
    """The whole CAE, where the file holds one such as ours; otherwise what is beside the encoder is dropped."""
    p, positions = params, beside.pop("rd_pos_embed", None)
    parts = {name.split(".")[0] for name in beside}
    if not {"regressor", "decoder"} <= parts or any(part.startswith("encoder_to_") for part in parts):
        out.dropped += [origin.get(name, name) for name in beside] + (["rd_pos_embed"] if positions is not None else [])
        out.notes.append("Regressor and decoder are not such as ours (or not all there): the encoder alone is taken.")
        return
    if positions is not None:
        ours = torch.cat([torch.zeros(1, p.width), sincos_positions(p.image.grid, p.width)])[None]
        if positions.shape != ours.shape or not torch.allclose(positions, ours, atol=1e-4):
            raise UserError("rd_pos_embed, the positions of regressor and decoder, are not the sine-cosine ones of params: "
                            "is `image` right?")  # fmt: skip
        out.dropped.append("rd_pos_embed")  # ours are computed
    tokens = len(beside["head.weight"]) if "head.weight" in beside else 1
    out.outputs = tokens if p.target == "tokens" else None
    # Named at run time: how CAE trains is no part of an import, and a change there repeats none.
    model = importlib.import_module("cae.models.cae").CAE(p, out.outputs)
    encoder = {f"encoder.{name}": value for name, value in out.encoder.items()}
    if p.alignment_momentum:  # the average of the encoder starts from it, as where the public code resumes
        encoder |= {f"target_{name}": value for name, value in encoder.items()}
    out.whole = fit(encoder | beside, model, origin)
