"""Checkpoints of other packages in the names of the methods' public code, where their encoders compute the same.

Names are those of Hugging Face's transformers (`models/vit`, `vit_mae`, `beit`), OpenMMLab's mmpretrain
(`models/backbones/vision_transformer.py`, `beit.py`), solo-learn (`solo/methods`) and Lightly (`examples`).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from cae.errors import UserError

# What stands beside an encoder that is being pretrained, and not beside a classifier that is fine-tuned.
PRETRAINING = (
    r"(decoder|projector|predictor|projection_head|prediction_head|momentum_|backbone_momentum|student_|teacher_)"
)


@dataclass(frozen=True)
class Package:
    """A package whose files hold the same encoders under names of its own."""

    name: str
    signs: tuple[str, ...]  # patterns; each matches a name in every file of the package
    rules: tuple[tuple[str, str | None], ...] = ()  # as `cae.released.models.RULES`
    note: str = ""  # what a reader of the model card should know
    several: bool = False  # its files hold several encoders, and heads beside them
    # Whether pixels are normalised by ImageNet's statistics, whatever the method; None: as the method's public code.
    imagenet_statistics: bool | None = None

    def rules_of(self, teacher: bool) -> tuple[tuple[str, str | None], ...]:
        """The rules, and of a package that keeps several encoders those that leave one: the teacher or the student."""
        if not self.several:
            return self.rules
        encoder = encoder_of(teacher)
        return ((rf"^(?!({encoder})\.)", None), (rf"^({encoder})\.", ""), *self.rules)


def encoder_of(teacher: bool) -> str:
    """A pattern of the module that holds the encoder."""
    return "teacher_backbone|momentum_backbone" if teacher else "backbone"


PIXELS = "The file does not record how pixels were normalised; ImageNet's statistics are taken, the package's default."
PACKAGES = (
    Package(
        "Hugging Face's transformers",
        (r"\bembeddings\.patch_embeddings\.projection\.",),
        (
            (r"^(decoder|pooler)\.", None),
            (r"^(vit|beit|deit)\.", ""),
            (r"^pooler\.", None),
            (r"^embeddings\.(cls_token|mask_token)$", r"\1"),
            (r"^embeddings\.distillation_token$", "dist_token"),
            (r"^embeddings\.position_embeddings$", "pos_embed"),
            (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
            (r"^encoder\.relative_position_bias\.", "rel_pos_bias."),
            (r"^encoder\.layer\.(\d+)\.", r"blocks.\1."),
            (r"\.attention\.attention\.(relative_position_bias\.)?", ".attn."),
            (r"\.attention\.output\.dense\.", ".attn.proj."),
            (r"\.layernorm_before\.", ".norm1."),
            (r"\.layernorm_after\.", ".norm2."),
            (r"\.intermediate\.dense\.", ".mlp.fc1."),
            (r"\.output\.dense\.", ".mlp.fc2."),
            (r"\.lambda_([12])$", r".gamma_\1"),
            (r"^layernorm\.", "norm."),
            (r"^classifier\.", "head."),
        ),
        "LayerNorms have an eps of 1e-6 here, as in the method's public code; the package's default is 1e-12.",
    ),
    Package(
        "OpenMMLab's mmpretrain",
        (r"^(backbone\.)?(patch_embed\.projection|layers\.\d+\.ffn)\.",),
        (
            (r"^(neck|teacher|momentum_encoder|target_generator|data_preprocessor)\.", None),
            (r"^head\.(fc|layers\.head)\.", "head."),
            (r"^head\.(?!(weight|bias)$)", None),
            (r"^backbone\.", ""),
            (r"^patch_embed\.projection\.", "patch_embed.proj."),
            (r"^layers\.(\d+)\.ln([12])\.", r"blocks.\1.norm\2."),
            (r"^layers\.(\d+)\.", r"blocks.\1."),
            (r"\.ffn\.layers\.0\.0\.", ".mlp.fc1."),
            (r"\.ffn\.layers\.1\.", ".mlp.fc2."),
            (r"^ln1\.", "norm."),
        ),
        "The package normalises pixels by ImageNet's statistics, of BEiT too.",
        imagenet_statistics=True,
    ),
    Package(
        "Lightly",
        (r"^(student_|teacher_)?backbone\.vit\.|^(student|teacher)_backbone\.",),
        ((r"^vit\.", ""), (r"^(mask_token$|head\.)", None)),  # timm's head, which nothing trains
        PIXELS,
        several=True,
    ),
    Package(
        "solo-learn",
        (r"^backbone\.(patch_embed|blocks)\.", r"^(classifier|momentum_backbone)\."),
        note=PIXELS,
        several=True,
    ),
)  # fmt: skip
# Other models, by a name that only they have.
OTHERS = {
    r"\bconv_proj\.|\bencoder_layer_0\.": "a ViT of torchvision",
    r"\bresblocks\.0\.": "a model of CLIP",
    r"\blayer1\.0\.conv1\.": "a ResNet",
    r"\b(register_tokens|reg_token)$": "a ViT with register tokens, as DINOv2's",
    r"\b(decode_head|auxiliary_head|bbox_head|mask_head|roi_head|rpn_head|roi_heads|sem_seg_head)\.": "a segmenter or "
    "detector, whose encoder is fine-tuned",
}


def package_of(names) -> Package | None:
    """The package whose names these are; None where they are of the public code, or unknown."""
    return next((each for each in PACKAGES if all(any(re.search(s, n) for n in names) for s in each.signs)), None)


def refuse_other_models(names, method: str, page: str) -> None:
    """Raise UserError for a model that is none of a method's, whoever saved it."""
    for sign, what in OTHERS.items():
        if name := next((name for name in names if re.search(sign, name)), None):
            raise UserError(f"{what} (it has {name}), no pretrained encoder of {method}; take one from {page}")


def refuse_unknown_encoder(package: Package, names, method: str, teacher: bool, page: str) -> None:
    """Raise UserError where `names`, of a package that keeps several encoders, hold none that the method pretrained.

    `teacher`: whether the method's public code evaluates its teacher.
    """
    if not package.several:
        return
    wanted = encoder_of(teacher)
    if not any(re.match(rf"({wanted})\.", name) for name in names):
        found = sorted({name.split(".")[0] for name in names})
        raise UserError(f"a file of {package.name} with {', '.join(found)}; of {method} {wanted.replace('|', ' or ')} is taken: "
                        "is `method` right?")  # fmt: skip
    if not any(re.match(PRETRAINING, name) for name in names):
        raise UserError(f"a classifier of {package.name}, whose encoder is fine-tuned, or may be: nothing in it is of "
                        f"pretraining. Take the checkpoint that pretraining saved, or one from {page}; where the encoder was "
                        "frozen, save its state dict alone and name that file")  # fmt: skip


def fuse_projections(named: Mapping[str, Tensor], origin: dict[str, str]) -> dict[str, Tensor]:
    """Separate projections to queries, keys and values as one; keys without a bias leave a `q_bias` and a `v_bias`."""
    out = dict(named)
    for name in named:
        stem = name.removesuffix("query.weight")
        if stem == name or not all(f"{stem}{part}.weight" in out for part in ("key", "value")):
            continue
        biases = {part: out.pop(f"{stem}{part}.bias", None) for part in ("query", "key", "value")}
        fused = {"qkv.weight": torch.cat([out.pop(f"{stem}{part}.weight") for part in biases])}
        if all(bias is not None for bias in biases.values()):
            fused["qkv.bias"] = torch.cat(list(biases.values()))
        else:
            fused |= {f"{part[0]}_bias": bias for part, bias in biases.items() if bias is not None}
        out |= {stem + part: value for part, value in fused.items()}
        origin |= {stem + part: f"{origin[name]} and others" for part in fused}
    return out
