"""The params of a run: read from the files and options that Snakemake was given."""

import json
import os
import re
import shlex
from pathlib import Path
from typing import Any

from cae.errors import UserError
from cae.params import layers, merged, parse_yaml

DEFAULT = "params/demo.yaml"  # beside the Snakefile


def folder_of(workflow) -> Path:
    """Return the Snakefile's folder as seen from the working directory, and let jobs run the code that lies there: "." but with
    --directory or --snakefile."""
    folder = Path(os.path.relpath(workflow.basedir))
    if folder != Path():
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [workflow.basedir, os.environ.get("PYTHONPATH")]))
    return folder


def read_params(files: list[Path], overrides: dict, folder: Path = Path()) -> list[tuple[str, dict]]:
    """List (file, its own keys) of `--configfile` (without a scale there: over the demo's) and, over them, of `--config`.

    `folder`: the Snakefile's. `--config imagenet=/data/imagenet` sets the environment variable that the data set's root names.
    It is no param: where the images lie makes nothing rerun.
    """
    here = f"{Path.cwd()}/"
    parts = [part for file in reversed(files) for part in layers(str(file).removeprefix(here))]
    if "scale" not in merged(parts):
        parts += layers(folder / DEFAULT)
    datasets, overrides = merged(parts).get("datasets"), {name: _typed(value) for name, value in overrides.items()}
    for name in overrides.keys() & (datasets if isinstance(datasets, dict) else {}):
        root = datasets[name].get("root") if isinstance(datasets[name], dict) else None
        variable = re.fullmatch(r"\$\{?(\w+)\}?", str(root))
        if not variable:
            raise UserError(
                f"--config {name}=…: the root of this data set is {root} ({parts[0][0]}), not to be set from outside"
            )
        os.environ[variable[1]] = str(overrides.pop(name))
    return ([("--config", overrides)] if overrides else []) + parts


def _typed(value: Any) -> Any:
    """Return a value of `--config` with its words read as in params files: Snakemake leaves numbers within lists and mappings,
    true, false and null as texts."""
    if isinstance(value, dict):
        return {_typed(key): _typed(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_typed(each) for each in value]
    if not isinstance(value, str):
        return value
    try:
        found = parse_yaml(value)
    except UserError:
        return value
    return found if isinstance(found, (int, float)) or value in ("null", "~") else value  # a bool is an int, too


def same_params(files: list[Path], overrides: dict, configfile: str = "--configfile") -> str:
    """Return the options by which a job that calls Snakemake itself gives it the same params (`cae cost` calls the first
    --params)."""
    values = [f"{name}={json.dumps(value)}" for name, value in overrides.items()]
    options = [*([configfile, *map(str, files)] if files else []), *(["--config", *values] if values else [])]
    return shlex.join(options)
