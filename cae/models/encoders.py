"""Pretrained encoders on disk: `encoder.safetensors` with timm's names, `config.json` that says how to build it and what
it is, and `card.md` that says the same to a reader."""

import importlib
from pathlib import Path

import timm
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from timm.models import Beit, VisionTransformer
from torch import nn

from cae.data.pixels import MEAN, STD
from cae.errors import UserError
from cae.files import atomic, read_json, revision, write_json
from cae.models.vit import timm_model
from cae.params import Pretraining


def save_encoder(folder: Path, vit: VisionTransformer | Beit, params: Pretraining, provenance: dict) -> None:
    """Write the contract of a pretrained encoder; `timm.create_model(architecture, **arguments, checkpoint_path=…)` loads it."""
    save_weights(folder / "encoder.safetensors", vit)
    architecture, arguments = timm_model(params, vit.num_classes)
    about = {
        "architecture": architecture, "arguments": arguments, "parameters": sum(p.numel() for p in vit.parameters()),
        "input": {"size": params.image.size, "mean": MEAN, "std": STD}, "params": params.model_dump(),
        "revision": revision(), **provenance,
    }  # fmt: skip
    # Named at run time: how a card is worded is no part of what trains or reads an encoder.
    card = importlib.import_module("cae.models.card").card(about)
    with atomic(folder / "card.md") as temporary:
        temporary.write_text(card)
    write_json(folder / "config.json", about)


def save_weights(path: Path, model: nn.Module) -> None:
    with atomic(path) as temporary:
        save_file({name: value.contiguous() for name, value in model.state_dict().items()}, temporary)


def load_encoder(folder: Path) -> tuple[VisionTransformer | Beit, dict]:
    """The frozen encoder in a folder, in evaluation mode, and its config."""
    config = read_json(folder / "config.json")
    vit = timm.create_model(config["architecture"], **config["arguments"])
    weights = folder / "encoder.safetensors"
    try:
        vit.load_state_dict(load_file(weights))
    except FileNotFoundError:
        raise UserError(f"{weights}: missing; make it with `snakemake {weights}`") from None
    except (SafetensorError, RuntimeError) as error:
        raise UserError(
            f"{weights}: not the encoder that config.json describes ({error}); delete it and make it again"
        ) from None
    return vit.eval().requires_grad_(False), config
