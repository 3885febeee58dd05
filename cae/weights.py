"""Weights on disk, as safetensors: a model saved whole and read back to the last tensor."""

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from cae.errors import UserError
from cae.files import atomic


def save_weights(path: Path, model: nn.Module) -> None:
    with atomic(path) as temporary:
        save_file({name: value.contiguous() for name, value in model.state_dict().items()}, temporary)


def load_weights(path: Path, model: nn.Module) -> None:
    """Raises UserError where the file is missing, damaged or holds another model's weights."""
    try:
        model.load_state_dict(load_file(path))
    except FileNotFoundError:
        raise UserError(f"{path}: missing; make it with `snakemake {path}`") from None
    except (SafetensorError, RuntimeError) as error:
        raise UserError(
            f"{path}: not the weights of the {type(model).__name__} that the JSON beside describes ({error}); "
            f"delete {path.parent} and make it again"
        ) from None
