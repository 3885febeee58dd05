"""Weights on disk, as safetensors: a model saved whole and read back to the last tensor."""

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from cae.errors import UserError
from cae.files import atomic


def not_finite(weights: Mapping[str, Tensor]) -> list[str]:
    """Names of the floating-point tensors with a NaN or an infinite value, and how many of their values are so."""
    bad = {name: int((~value.isfinite()).sum()) for name, value in weights.items() if value.is_floating_point()}
    return [f"{name} ({count} of {weights[name].numel()})" for name, count in bad.items() if count]


def save_weights(path: Path, model: nn.Module) -> None:
    """Write the model's state dict. Raise UserError, with nothing written, where a weight is NaN or infinite."""
    weights = model.state_dict()
    if broken := not_finite(weights):
        raise UserError(
            f"{path}: not written: {', '.join(broken[:3])}{', …' if broken[3:] else ''}: NaN or infinite. Training diverged: "
            "lower the learning rate in params"
        )
    with atomic(path) as temporary:
        save_file({name: value.contiguous() for name, value in weights.items()}, temporary)


def load_weights(path: Path, model: nn.Module) -> None:
    """Give `model` the weights of a file. Raise UserError where it is missing, damaged, another model's or not finite."""
    try:
        weights = load_file(path)
        model.load_state_dict(weights)
    except FileNotFoundError:
        raise UserError(f"{path}: missing; make it with `snakemake {path}`") from None
    except (SafetensorError, RuntimeError) as error:
        raise UserError(
            f"{path}: not the weights of the {type(model).__name__} that the JSON beside describes ({error}); "
            f"delete {path.parent} and make it again"
        ) from None
    if broken := not_finite(weights):
        raise UserError(
            f"{path}: {', '.join(broken[:3])}{', …' if broken[3:] else ''}: NaN or infinite; delete {path.parent} and make it "
            "again"
        )
