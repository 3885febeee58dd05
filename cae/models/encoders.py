"""Pretrained encoders and classifiers on disk: a folder that timm (`local-dir:`) and the Hugging Face hub read.

`config.json` and `model.safetensors` are in timm's form; `provenance.json` says what made them, `README.md`, the model
card, both to a reader.
"""

import importlib
from pathlib import Path

import timm
from timm.models import Beit, VisionTransformer

from cae.data.pixels import MEAN, STD
from cae.errors import UserError
from cae.files import read_json, revision, write_json, write_text
from cae.models.vit import timm_model
from cae.params import Pretraining, Release, UntrainedModel
from cae.weights import load_weights, save_weights


def save_encoder(
    folder: Path, vit: VisionTransformer | Beit, params: Pretraining | Release | UntrainedModel, provenance: dict
) -> None:
    """Write the folder of an encoder that `params` describe."""
    save_model(folder, vit, *timm_model(params, vit.num_classes), {"params": params.model_dump(), **provenance})


def save_model(
    folder: Path, vit: VisionTransformer | Beit, architecture: str, arguments: dict, provenance: dict
) -> None:
    """Write a folder that `timm.create_model("local-dir:…", pretrained=True)` reads; `architecture` and `arguments`: what
    builds the model again. The transforms that timm makes of it are those of data.views.centre_crop."""
    config = {
        "architecture": architecture, "num_classes": vit.num_classes, "num_features": vit.num_features,
        "global_pool": vit.global_pool, "model_args": arguments,
        "pretrained_cfg": {
            "input_size": (3, *vit.patch_embed.img_size), "fixed_input_size": True, "mean": MEAN, "std": STD,
            "interpolation": "bicubic", "crop_pct": 224 / 256, "crop_mode": "center", "num_classes": vit.num_classes,
            "first_conv": "patch_embed.proj", "classifier": "head",
        },
    }  # fmt: skip
    provenance = {"parameters": sum(p.numel() for p in vit.parameters()), "revision": revision(), **provenance}
    save_weights(folder / "model.safetensors", vit)
    # Named at run time: how a card is worded is no part of what trains or reads an encoder.
    card = importlib.import_module("cae.models.card").card(config, provenance)
    write_text(folder / "README.md", card)
    write_json(folder / "config.json", config)
    write_json(folder / "provenance.json", provenance)


def load_encoder(folder: Path) -> tuple[VisionTransformer | Beit, dict]:
    """The frozen encoder in a folder, in evaluation mode; its provenance, with timm's `architecture` and `arguments`."""
    config = read_json(folder / "config.json")
    if "model_args" not in config:
        raise UserError(
            f"{folder}: in an earlier form (encoder.safetensors), which timm does not read; delete it and make it again "
            f"with `snakemake {folder}/model.safetensors`"
        )
    vit = timm.create_model(config["architecture"], **config["model_args"])
    load_weights(folder / "model.safetensors", vit)
    about = {"architecture": config["architecture"], "arguments": config["model_args"]}
    return vit.eval().requires_grad_(False), read_json(folder / "provenance.json") | about
