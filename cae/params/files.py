"""Params files: read, and laid over each other."""

import functools
from pathlib import Path

import yaml

from cae.errors import UserError

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml, ten times as fast, where PyYAML was built with it
INSTEAD = {"count": "share", "share": "count"}  # of a mask: whichever is said over the other replaces it


def merge(base: dict, over: dict) -> dict:
    """`over` laid on `base`, mapping by mapping; a null removes what the base says, or stays to remove what a further one
    says."""
    out = dict(base)
    for key, value in over.items():
        if value is None and key in out:
            out.pop(key)
        elif isinstance(value, dict) and isinstance(out.get(key), dict):
            out[key] = merge(out[key], value)
        else:
            out[key] = value
            if value is not None and key in INSTEAD and INSTEAD[key] not in over:
                out.pop(INSTEAD[key], None)
    return out


def layers(path: str | Path) -> list[tuple[str, dict]]:
    """(file, its own keys) of a scale's file and of those that `base` names, the one that overrules first."""
    path = Path(path)
    try:
        raw = yaml.load(path.read_text(), LOADER)
    except (FileNotFoundError, IsADirectoryError):
        raise UserError(f"{path}: no such params file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(raw, dict):
        raise UserError(f"{path}: expected a mapping of params, found {type(raw).__name__}")
    base = raw.pop("base", None)
    return [(str(path), raw), *(layers(path.parent / base) if base else [])]


def merged(parts: list[tuple[str, dict]]) -> dict:
    """Layers as one mapping."""
    return functools.reduce(merge, (raw for _, raw in reversed(parts)), {})


def read(path: str | Path) -> dict:
    """The mapping a scale's file stands for."""
    return merged(layers(path))


def depth(raw, keys) -> int:
    """How many of nested `keys` nested mappings have."""
    for i, key in enumerate(keys):
        if not isinstance(raw, dict) or key not in raw:
            return i
        raw = raw[key]
    return len(keys)
