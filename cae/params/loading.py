"""A scale's params from its files; a mistake names the file that its key stands in."""

import re
from pathlib import Path

from pydantic import ValidationError

from cae.errors import UserError
from cae.params.files import depth, layers, merged
from cae.params.scale import Params
from cae.params.strict import describe, refusal, unknown


def validate(parts: list[tuple[str, dict]]) -> Params:
    """The params of layers; an error names the layer that the key stands in."""
    whole = merged(parts)
    mappings = [raw["models"] for _, raw in reversed(parts) if isinstance(raw.get("models"), dict)]
    described = [name for models in mappings for name, entry in models.items() if entry is not None]
    try:
        if isinstance(models := whole.get("models"), dict):
            if wrong := [name for name in models if models[name] is None and name not in described]:
                raise refusal(unknown(wrong[0], described), "models")
            whole["models"] = dict.fromkeys(described) | models  # those that a layer leaves out stay known
        return Params.model_validate(whole)
    except ValidationError as error:
        lines = (f"{_where(parts, e)}: {describe(e)}" for e in error.errors())
        raise UserError("\n".join(lines)) from None


def _where(parts: list[tuple[str, dict]], error: dict) -> str:
    """The layer that holds most of the path to an error's key, the overruling one if several do."""
    keys = [*error["loc"], *re.findall(r"unknown key '([^']*)'", error["msg"])]
    return max(parts, key=lambda part: depth(part[1], keys))[0]


def load(path: str | Path, overrides: dict | None = None) -> Params:
    """The params of one scale. Raises UserError naming the file, the key and, for a misspelt one, the nearest name."""
    return validate(([("overrides", overrides)] if overrides else []) + layers(path))
