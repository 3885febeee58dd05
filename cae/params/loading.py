"""A scale's params from its files; a mistake names the file that its key stands in."""

import re
from pathlib import Path

from pydantic import ValidationError

from cae.errors import UserError
from cae.params.files import layers, merged
from cae.params.scale import Params
from cae.params.strict import describe


def validate(parts: list[tuple[str, dict]]) -> Params:
    """The params of layers; an error names the layer that the key stands in."""
    try:
        return Params(**merged(parts))
    except ValidationError as error:
        lines = (f"{_where(parts, e)}: {describe(e)}" for e in error.errors())
        raise UserError("\n".join(lines)) from None


def _where(parts: list[tuple[str, dict]], error: dict) -> str:
    """The layer that holds most of the path to an error's key, the overruling one if several do."""
    keys = [str(key) for key in error["loc"]]
    said = re.match(r"([a-z_]+(?:\.[\w-]+)+)(?:: (\w+): )?", error["msg"])  # by the validators of Params itself
    keys += [*said[1].split("."), *([said[2]] if said[2] else [])] if said else []
    keys += re.findall(r"unknown key '([^']*)'", error["msg"])

    def depth(raw) -> int:
        for i, key in enumerate(keys):
            if not isinstance(raw, dict) or key not in raw:
                return i
            raw = raw[key]
        return len(keys)

    return max(parts, key=lambda part: depth(part[1]))[0]


def load(path: str | Path, overrides: dict | None = None) -> Params:
    """The params of one scale. Raises UserError naming the file, the key and, for a misspelt one, the nearest name."""
    return validate(([("overrides", overrides)] if overrides else []) + layers(path))
