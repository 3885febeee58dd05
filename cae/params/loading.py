"""A scale's params from its files; a mistake names the file that its key stands in."""

import re
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cae.errors import UserError
from cae.params.data import Image
from cae.params.files import depth, layers, merged
from cae.params.scale import Params
from cae.params.strict import describe, nearest, refusal, refusals

# Sections of named entries, and a key that each entry has: what lacks it changes an entry of a layer below.
NEW = {"models": "method", "tokenizers": "kind", "sizes": "width", "datasets": "layout"}
ROOMY = Image(size=2**12, patch=1)  # on which any mask and any crop fit


def validate(parts: list[tuple[str, dict]]) -> Params:
    """The params of layers; an error names the layer that the key stands in."""
    whole = merged(parts)
    try:
        _refuse_typos(whole, parts)
        if isinstance(models := whole.get("models"), dict):
            described = [name for name, entry in _named(parts, "models") if entry is not None]
            whole["models"] = dict.fromkeys(described) | models  # those that a layer leaves out stay known
        for section in ("datasets", "tokenizers", "sizes", "few_labels"):  # removed in a layer below already
            if isinstance(entries := whole.get(section), dict):
                whole[section] = {name: entry for name, entry in entries.items() if entry is not None}
        params = Params.model_validate(whole)
    except ValidationError as error:
        raise _told(parts, error.errors()) from None
    if wrong := _mistakes_in_left_out(params, whole["models"], parts):
        raise _told(parts, wrong)
    return params


def _told(parts: list[tuple[str, dict]], errors: list[dict]) -> UserError:
    return UserError("\n".join(f"{_where(parts, each)}: {describe(each)}" for each in errors))


def _named(parts: list[tuple[str, dict]], section: str) -> list[tuple[str, Any]]:
    """(name, entry) of a section in all layers, the lowest layer first."""
    sections = (raw.get(section) for _, raw in reversed(parts))
    return [pair for part in sections if isinstance(part, dict) for pair in part.items()]


def _refuse_typos(whole: dict, parts: list[tuple[str, dict]]) -> None:
    """Refuse entries of a name that no entry has, with the nearest: those that are left out (null), and those without the key
    that a new entry must have, which only change another."""
    wrong = {}
    for section, key in NEW.items():
        entries = whole.get(section)
        if not isinstance(entries, dict):
            continue
        known = [name for name, entry in _named(parts, section) if isinstance(entry, dict) and key in entry]
        for name, entry in entries.items():
            if name in known or not (entry is None or isinstance(entry, dict) and key not in entry):
                continue
            near = nearest(name, dict.fromkeys(known))
            guess = f"; did you mean {near!r}?" if near else ""
            wrong[section, name] = f"there is none of this name (a new one has a `{key}`){guess}"
    if wrong:
        raise refusals(wrong)


def _mistakes_in_left_out(params: Params, models: dict, parts: list[tuple[str, dict]]) -> list[dict]:
    """List pydantic's errors in models that `only` leaves out: of names, of types, of numbers that belong together.

    Such a model need not fit the scale's image, and its size and tokenizer may be left out, too (null).
    """
    wrong, sizes, tokenizers = [], dict(_named(parts, "sizes")), dict(_named(parts, "tokenizers"))
    for name, entry in models.items():
        if entry is None or params.models[name] is not None:
            continue
        alone = params.model_copy(update={"models": {name: entry}, "image": ROOMY, "tokenizers": tokenizers})
        try:
            if not isinstance(entry, dict):
                raise refusal(f"{entry!r} is no mapping of params", "models", name)
            alone.first_seeds_are_the_own()
            if entry.get("size") in params.sizes or entry.get("size") not in sizes:
                alone.pretraining(name)
        except ValidationError as error:
            wrong += error.errors()
    return wrong


def _where(parts: list[tuple[str, dict]], error: dict) -> str:
    """The layer that holds most of the path to an error's key, the overruling one if several do."""
    keys = [*error["loc"], *re.findall(r"unknown key '([^']*)'", error["msg"])]
    return max(parts, key=lambda part: depth(part[1], keys))[0]


def load(path: str | Path, overrides: dict | None = None) -> Params:
    """The params of one scale. Raises UserError naming the file, the key and, for a misspelt one, the nearest name."""
    return validate(([("overrides", overrides)] if overrides else []) + layers(path))
