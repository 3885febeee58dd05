"""Tokenizers on disk: a folder with `model.safetensors` and `tokenizer.json`."""

import importlib
from pathlib import Path
from types import ModuleType

from pydantic import TypeAdapter
from torch import nn

from cae.errors import UserError
from cae.files import file_hash, read_json, write_json
from cae.params import DALLE, DVAE, VQGAN, Tokenizer
from cae.weights import load_weights, save_weights


def build(params: DVAE | DALLE | VQGAN, grid: int) -> nn.Module:
    """An untrained tokenizer. `tokens(pixels uint8 [B, S, S, 3])` gives int64 [B, grid, grid], S = params.input_size."""
    return module_of(params.kind).build(params, grid)


def module_of(kind: str) -> ModuleType:
    """The kind's module, named at run time, so that no tokenizer's code counts as part of another's."""
    return importlib.import_module(f"cae.tokenizers.{kind}")


def save(folder: Path, tokenizer: nn.Module, params: DVAE | DALLE | VQGAN, grid: int) -> None:
    save_weights(folder / "model.safetensors", tokenizer)
    about = {"params": params.model_dump(), "grid": grid, "sha256": file_hash(folder / "model.safetensors")}
    write_json(folder / "tokenizer.json", about)


def load(folder: Path) -> tuple[nn.Module, dict]:
    """The tokenizer in a folder, frozen, and what its tokenizer.json says. UserError where the two do not belong together."""
    about = read_json(folder / "tokenizer.json")
    weights = folder / "model.safetensors"
    tokenizer = build(TypeAdapter(Tokenizer).validate_python(about["params"]), about["grid"])
    load_weights(weights, tokenizer)
    if file_hash(weights) != about["sha256"]:
        raise UserError(
            f"{weights}: not the weights that {folder / 'tokenizer.json'} describes; delete {folder} and make it again"
        )
    return tokenizer.eval().requires_grad_(False), about
