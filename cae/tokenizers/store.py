"""Tokenizers on disk: a folder with `model.safetensors` and `tokenizer.json`."""

import importlib
from pathlib import Path
from types import ModuleType

from pydantic import TypeAdapter
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from cae.errors import UserError
from cae.files import atomic, file_hash, read_json, write_json
from cae.params import DALLE, DVAE, VQGAN, Tokenizer


def build(params: DVAE | DALLE | VQGAN, grid: int) -> nn.Module:
    """An untrained tokenizer. `tokens(pixels uint8 [B, S, S, 3])` gives int64 [B, grid, grid], S = params.input_size."""
    return module_of(params.kind).build(params, grid)


def module_of(kind: str) -> ModuleType:
    """The kind's module, named at run time, so that no tokenizer's code counts as part of another's."""
    return importlib.import_module(f"cae.tokenizers.{kind}")


def save(folder: Path, tokenizer: nn.Module, params: DVAE | DALLE | VQGAN, grid: int) -> None:
    with atomic(folder / "model.safetensors") as temporary:
        save_file({name: value.contiguous() for name, value in tokenizer.state_dict().items()}, temporary)
    about = {"params": params.model_dump(), "grid": grid, "sha256": file_hash(folder / "model.safetensors")}
    write_json(folder / "tokenizer.json", about)


def load(folder: Path) -> tuple[nn.Module, dict]:
    """The tokenizer in a folder, frozen, and what its tokenizer.json says. UserError where the two do not belong together."""
    about = read_json(folder / "tokenizer.json")
    weights = folder / "model.safetensors"
    tokenizer = build(TypeAdapter(Tokenizer).validate_python(about["params"]), about["grid"])
    try:
        if file_hash(weights) != about["sha256"]:
            raise UserError(
                f"{weights}: not the weights that {folder / 'tokenizer.json'} describes; delete {folder} and make it again"
            )
        tokenizer.load_state_dict(load_file(weights))
    except FileNotFoundError:
        raise UserError(f"{weights}: missing; delete {folder} and make it again") from None
    except (SafetensorError, RuntimeError) as error:
        raise UserError(f"{weights}: not the weights of this tokenizer ({error})") from None
    return tokenizer.eval().requires_grad_(False), about
