"""Params files: read, and laid over each other."""

import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from cae.errors import UserError

INSTEAD = {"count": "share", "share": "count"}  # of a mask: whichever is said over the other replaces it


class Loader(
    getattr(yaml, "CSafeLoader", yaml.SafeLoader)
):  # libyaml, ten times as fast, where PyYAML was built with it
    """Reads plain scalars by YAML 1.2's core schema: 1e-3 is a number, 010 is ten, yes and 1:30 are texts.

    PyYAML follows YAML 1.1, where these are a text, eight, true and ninety. Merge keys (<<) stay.
    """

    yaml_implicit_resolvers = {}

    def integer(self, node: yaml.Node) -> int:
        text = self.construct_scalar(node)
        return int(text, 0 if text[:2] in ("0o", "0x") else 10)


for tag, pattern, first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", list("-+.0123456789")),
    ("merge", "<<", ["<"]),
):  # fmt: skip
    Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(f"(?:{pattern})$"), first)
Loader.add_constructor("tag:yaml.org,2002:int", Loader.integer)


def read_yaml(path: str | Path, kind: str = "params file") -> Any:
    """Read one YAML file; UserError for a file that is missing or no YAML, and for keys that a mapping has twice."""
    try:
        return parse_yaml(Path(path).read_bytes())
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise UserError(f"{path}: no such {kind}") from None
    except UserError as error:
        raise UserError("\n".join(f"{path}: {line}" for line in str(error).splitlines())) from None


def parse_yaml(text: str | bytes) -> Any:
    """Return what YAML stands for; UserError, with the line, for what is no YAML and for keys that a mapping has twice."""
    try:
        loader = Loader(text)
        try:
            node = loader.get_single_node()
            if wrong := list(_faults(node, "", (), set())) if node else []:
                raise UserError("\n".join(wrong))
            return loader.construct_document(node) if node else None
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        told = ": ".join(part for part in (error.context, error.problem) if part)
        raise UserError(
            f"line {mark.line + 1}: not valid YAML: {told}" if mark else f"not valid YAML: {told}"
        ) from None
    except (yaml.YAMLError, ValueError, LookupError, AttributeError) as error:  # of a text that its tag does not fit
        raise UserError(f"not valid YAML: {error}".splitlines()[0]) from None


def _faults(node: yaml.Node, place: str, above: tuple[yaml.Node, ...], seen: set[int]) -> Iterator[str]:
    """Yield what is wrong below `node`: keys that a mapping has twice, of which the first would be lost; anchors within
    themselves. `place`: the node's keys; `above`: nodes that hold it; `seen`: nodes that were looked at, by identity."""
    if any(node is other for other in above):
        yield f"line {node.start_mark.line + 1}: {place}: an anchor that holds itself; write out what is meant"
    if id(node) in seen or isinstance(node, yaml.ScalarNode):
        return
    seen.add(id(node))
    pairs = node.value if isinstance(node, yaml.MappingNode) else [(None, each) for each in node.value]
    lines: dict[tuple[str, str], int] = {}
    for key, value in pairs:
        inner = f"{place}.{key.value}".lstrip(".") if isinstance(key, yaml.ScalarNode) else place
        if isinstance(key, yaml.ScalarNode):
            line = key.start_mark.line + 1
            if first := lines.get((key.tag, key.value)):
                remedy = "write <<: [*first, *second]" if key.value == "<<" else "put both into one"
                yield f"line {line}: {inner} is there twice, first in line {first}; {remedy}"
            lines.setdefault((key.tag, key.value), line)
        yield from _faults(value, inner, (*above, node), seen)


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
    """List (file, its own keys) of a scale's file and of those that `base` names, the one that overrules first."""
    parts, read = [], []
    path = Path(path)
    while True:
        raw = read_yaml(path)
        if not isinstance(raw, dict):
            raise UserError(
                f"{path}: expected a mapping of params, found {'nothing' if raw is None else type(raw).__name__}"
            )
        base = raw.pop("base", None)
        parts.append((str(path), raw))
        read.append(path.resolve())
        if base is None:
            return parts
        if not isinstance(base, str) or not base:
            raise UserError(f"{path}: base: {base!r} is not the name of one file, as in `base: paper.yaml`")
        file = path.parent / base
        if not file.is_file():
            raise UserError(f"{path}: base: {base}: no such params file (a path relative to the file that names it)")
        if file.resolve() in read:
            raise UserError(f"{path}: base: {base} leads back to {file}; name another file, or remove the line")
        path = file


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
