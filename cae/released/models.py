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
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from cae.data.pixels import MEAN, STD
from cae.errors import UserError
from cae.models.vit import create_encoder, sincos_positions
from cae.params import Release
from cae.released.packages import (
    Package,
    fuse_projections,
    package_of,
    refuse_other_models,
    refuse_unknown_encoder,
)
from cae.released.reading import as_float32, compare, some, state_dict

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
# What stands before an encoder's names in the public code's files, once wrappers are gone.
PREFIXES = dict.fromkeys(RULES, ("", "backbone.")) | {"cae": ("", "encoder."), "moco_v3": ("", "base_encoder.")}
# Names that only one method's checkpoints hold.
SIGNS = {
    "moco_v3": "base_encoder.",
    "beit": "rel_pos_bias.",
    "mae": "decoder_embed.",
    "dino": "last_layer",
    "cae": "q_bias",
}
# What the public probes of CAE and MAE put on a frozen encoder; one of its tensors is a BatchNorm's.
PROBE = r"(head|fc_norm|query_token|attentive_blocks)\b"
# What a CAE has beside its encoder, in this project's names, and the public code's projection between unequal widths.
BESIDE = r"(regressor|regressor_norm|decoder|decoder_norm|head|mask_query|encoder_to_(decoder|regresser)(_norm)?)\b"
# The key of params that is likely wrong where a tensor does not fit, by the tensor's name.
KEYS = (
    (r"pos_embed", "image"),
    (r"rel_pos_bias", "image, or heads"),
    (r"patch_embed\.proj\.weight", "image.patch"),
    (r"^regressor\.", "regressor_depth"),
    (r"^decoder\.", "decoder_depth"),
    (r"ls[12]\.gamma|gamma_[12]$", "layer_scale"),
    (r"^head\.", "target"),
)
BLOCK = r"(encoder\.)?blocks\.\d+\."


@dataclass
class Converted:
    """A checkpoint taken apart. Tensors are float32."""

    encoder: dict[str, Tensor] = field(default_factory=dict)  # timm's names
    outputs: int | None = None  # what the whole model chooses from: tokens or (DeiT) classes
    whole: dict[str, Tensor] | None = None  # a CAE with regressor and decoder, in the names of cae.methods.cae
    # Tensors by their names in the file (without wrappers, as "module." of parallel training), anything besides by its key.
    dropped: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # what a reader of the model card should know


def convert(checkpoint: Mapping, params: Release) -> Converted:
    """Each tensor of a released checkpoint to its place in the model that params describe, or to `dropped`.

    `checkpoint`: what the file holds, a state dict or a mapping with one in it. Raises UserError (without the file's
    name) for a tensor that is unknown, missing, of another shape, no floating-point number or not finite, and for models
    that these are not.
    """
    p, out = params, Converted()
    teacher = p.method == "dino"  # whose public code evaluates it
    state, out.dropped = state_dict(checkpoint, ("teacher",) if teacher else ())
    refuse_other_models(state, p.method, PAGES[p.method])
    package, dropped = package_of(state), []
    if package:
        refuse_unknown_encoder(package, state, p.method, teacher, PAGES[p.method])
        state, inside = rename(state, package.rules_of(teacher), out.dropped)
        state = fuse_projections(state, inside)
        out.notes += [f"The file is of {package.name}. {package.note}"]
    else:
        inside = {name: name for name in state}
    if probe := probe_on(state, p.method):
        state = {name: value for name, value in state.items() if name not in probe}
        dropped += probe
        out.notes.append("The file is that of a probe: the frozen encoder under it, as pretrained, is taken.")
    refuse(state, p, inside)
    named, origin = rename(state, RULES[p.method], dropped)
    out.dropped += [inside[name] for name in dropped]
    origin = {new: inside[name] for new, name in origin.items()}
    if p.method == "cae":
        named, beside = split(named)
        named = fuse_biases(named)
    elif p.method == "deit":
        out.outputs = len(named.get("head.bias", [None]))
    with torch.device("meta"):
        encoder = create_encoder(p, out.outputs or 0)
    out.encoder = fit(named, encoder, origin, looks_like(state, package, p.method))
    ours = package.imagenet_statistics if package else None
    if not (imagenet_statistics(checkpoint, p.method) if ours is None else ours):
        out.encoder |= for_imagenet_statistics(out.encoder)
        out.notes.append(
            "The released model takes pixels as (x - 0.5) / 0.5, ours as ImageNet's statistics make them; "
            "its patch embedding is rescaled to give the same values."
        )
    if p.method == "cae" and beside:
        add_whole(out, beside, origin, p, options(checkpoint).get("decoder_num_heads", p.heads))
    return out


def likely_method(state: Mapping, method: str) -> str:
    """The method whose public code alone has some of these names; `method` where none has."""
    return next((other for other, sign in SIGNS.items() if any(sign in name for name in state)), method)


def looks_like(state: Mapping, package: Package | None, method: str) -> str:
    """The end of a message about a tensor that does not fit: what the file looks like."""
    likely = likely_method(state, method)
    of = f"; the file is of {package.name}" if package else ""
    return of + (f"; it looks like a checkpoint of {likely}, params say {method}" if likely != method else "")


def probe_on(state: Mapping, method: str) -> list[str]:
    """Names of what a probe adds to its encoder, where this is one."""
    names = [name for name in state if method in ("cae", "mae") and re.match(PROBE, name)]
    return names if any(name.endswith(".running_mean") for name in names) else []


def refuse(state: Mapping, params: Release, inside: Mapping[str, str]) -> None:
    """Raise UserError for models that are near to one of ours and not it. `inside`: the tensors' names in the file."""
    p = params
    if p.method == "deit" and "dist_token" in state:
        raise UserError(
            "a distilled DeiT, with a second class token that our encoder lacks; take the one without `distilled` in its name"
        )
    tuned = [
        name
        for name in ("head.weight", "fc_norm.weight", "blocks.0.attn.relative_position_bias_table")
        if name in state
    ]
    if tuned and p.method != "deit":
        such = ", such as beit_base_patch16_224_pt22k.pth" if p.method == "beit" else ""
        names = some([inside[name] for name in tuned])
        raise UserError(
            f"a classifier of {p.method} ({names}), whose encoder is fine-tuned, or may be; take the pretrained checkpoint{such}"
        )
    heads = HEADS[p.method].get(p.width, p.heads)
    if p.heads != heads:
        raise UserError(
            f"{p.method} of width {p.width} was released with {heads} heads, params say {p.heads}: set `heads`"
        )
    page, embedding = PAGES[p.method], next((name for name in state if name.endswith("patch_embed.proj.weight")), None)
    if not embedding:
        raise UserError(
            f"holds no encoder of {p.method}: it has no patch_embed.proj.weight, but {some([*inside.values()])}. Is it the head "
            f"of a probe alone? Take a file of {page}"
        )
    prefix = embedding.removesuffix("patch_embed.proj.weight")
    if prefix not in PREFIXES[p.method] and likely_method(state, p.method) == p.method:
        beside = (
            some([*dict.fromkeys(name.split(".")[0] for name in state if not name.startswith(prefix))]) or "nothing"
        )
        raise UserError(
            f"its encoder is under `{prefix}`, beside {beside}: no file of {page}. If that is the pretrained encoder, save its "
            f"state dict alone, by names without `{prefix}`, and name that file in params"
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
            named[new], origin[new] = value, name
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
    """`named` as float32, in the model's order, once names and shapes are exactly the model's and all values finite.

    `origin`: the tensors' names in the file. Raises UserError.
    """
    missing, unknown, differ = compare(model, named)
    own = model.state_dict()
    names = {name: origin.get(name, origin.get(f"encoder.{name}", name)) for name in named}
    if unknown:
        what = some([names[name] for name in unknown])
        raise UserError(f"the model of params has no place for {what}{hint(unknown, own)}{also}")
    if missing:
        raise UserError(f"lacks {some(missing)} of the model of params{hint(missing, named)}{also}")
    for name in differ:
        message = f"{name} is {list(named[name].shape)}, in the model of params {list(own[name].shape)}"
        raise UserError(f"{message}: set `{key(name)}` to fit{also}")
    return as_float32({name: named[name] for name in own}, names)


def key(name: str) -> str:
    """The key of params that is likely wrong where a tensor's shape does not fit."""
    return next((key for pattern, key in KEYS if re.search(pattern, name)), "size")


def hint(names: list[str], others: Iterable[str]) -> str:
    """The end of a message about tensors that are unknown or missing: the key of params that is likely wrong, if one is.

    A wrong depth leaves whole blocks without a counterpart among `others`, and nothing else.
    """
    blocks = {match[0] for name in others if (match := re.match(BLOCK, name))}
    keys = {
        key(name) if key(name) != "size" or (m := re.match(BLOCK, name)) and m[0] not in blocks else None
        for name in names
    }
    likely = keys.pop() if len(keys) == 1 else None
    return f": is `{likely}` right?" if likely not in (None, "target") else ": is it a file of this method, and whole?"


def imagenet_statistics(checkpoint: Mapping, method: str) -> bool:
    """Whether the model takes pixels normalised with ImageNet's statistics, or with means and deviations of 0.5.

    An option of the public code of BEiT, off by default and for the released models (its README), and of CAE's, on in
    its scripts; a checkpoint of either holds its options.
    """
    return options(checkpoint).get("imagenet_default_mean_and_std", method != "beit")


def options(checkpoint: Mapping) -> dict:
    """Those of the command that saved the checkpoint, where it holds them."""
    args = checkpoint.get("args")
    return getattr(args, "state", None) or getattr(args, "__dict__", {})


def for_imagenet_statistics(encoder: dict[str, Tensor]) -> dict[str, Tensor]:
    """The patch embedding for pixels normalised with ImageNet's statistics, from that for (x - 0.5) / 0.5: exact, since
    both are linear and patches are not padded."""
    weight, bias = (encoder[f"patch_embed.proj.{part}"].double() for part in ("weight", "bias"))
    scale, shift = ((torch.tensor(v, dtype=torch.float64)[:, None, None] - o) / 0.5 for v, o in ((STD, 0), (MEAN, 0.5)))
    return {"patch_embed.proj.weight": (weight * scale).float(),
            "patch_embed.proj.bias": (bias + (weight * shift).sum((1, 2, 3))).float()}  # fmt: skip


def add_whole(out: Converted, beside: dict[str, Tensor], origin: dict[str, str], params: Release, heads: int) -> None:
    """The whole CAE, where the file holds one such as ours; otherwise what is beside the encoder is dropped.

    `heads` of regressor and decoder, which no tensor shows; ours have the encoder's.
    """
    p = params
    parts = {name.split(".")[0] for name in beside}
    ours = {"regressor", "decoder"} <= parts and not any(part.startswith("encoder_to_") for part in parts)
    if not ours or heads != p.heads:
        out.dropped += [origin[name] for name in beside]
        why = f"have {heads} heads, the encoder {p.heads}" if ours else "are not such as ours (or not all there)"
        out.notes.append(f"Regressor and decoder {why}: the encoder alone is taken.")
        return
    if not p.layer_scale:  # the public code's are ones then, and frozen
        ones = {name for name, value in beside.items() if ".scale_" in name and (value == 1).all()}
        out.dropped += [origin[name] for name in beside if name in ones]
        beside = {name: value for name, value in beside.items() if name not in ones}
    positions, beside = beside.pop("rd_pos_embed", None), fuse_biases(beside)
    if positions is not None:
        ours = torch.cat([torch.zeros(1, p.width), sincos_positions(p.image.grid, p.width)])[None]
        if positions.shape != ours.shape or not torch.allclose(positions, ours, atol=1e-4):
            raise UserError("rd_pos_embed, the positions of regressor and decoder, are not the sine-cosine ones of params: "
                            "is `image` right?")  # fmt: skip
        out.dropped.append("rd_pos_embed")  # ours are computed
    tokens = len(beside["head.weight"]) if "head.weight" in beside else 1
    out.outputs = tokens if p.target == "tokens" else None
    # Named at run time: how CAE trains is no part of an import, and a change there repeats none.
    model = importlib.import_module("cae.methods.cae").CAE(p, out.outputs)
    encoder = {f"encoder.{name}": value for name, value in out.encoder.items()}
    if p.alignment_momentum:  # the average of the encoder starts from it, as where the public code resumes
        encoder |= {f"target_{name}": value for name, value in encoder.items()}
    out.whole = fit(encoder | beside, model, origin)
