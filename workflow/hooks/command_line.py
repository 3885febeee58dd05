"""Snakemake's command line, checked before Snakemake opens the params files that it names: it would end in a traceback.

No Snakefile is read that early; profiles/default calls this.
"""

import argparse
import os
import sys
from pathlib import Path

from snakemake.cli import parse_config

from cae.errors import UserError
from cae.params import layers, nearest

BEHIND = "targets go behind `--`, as in `snakemake --configfile params/small.yaml --config seed=1 -- table1`"


def check(given: argparse.Namespace, folder: Path) -> None:
    """End with a message where `--config` or `--configfile` hold what is none. `folder`: the Snakefile's."""
    wrong = []
    for entry in given.config or ():
        try:
            parse_config([entry])
        except ValueError:
            remedy = "a NAME begins with a letter and has two or more" if "=" in entry else BEHIND
            wrong.append(f"--config: {entry!r} is not NAME=VALUE; {remedy}")
    for file in given.configfile:
        try:
            layers(file)
        except UserError as error:
            wrong.append(
                str(error) if file.is_file() else f"--configfile: {file}: no such params file; {_instead(file, folder)}"
            )
    if wrong:
        sys.exit("\n".join(wrong))


def _instead(file: Path, folder: Path) -> str:
    """Return what to write for a file that is not there."""
    if (folder / file).is_file():
        return f"did you mean {os.path.relpath(folder / file)}, beside the Snakefile?"
    files = {path.stem: os.path.relpath(path) for path in sorted((folder / "params").glob("*.yaml"))}
    scales = [name for name in files if name not in ("tables", "claims")]
    if near := nearest(file.stem, scales):
        return f"did you mean {files[near]}?"
    return f"there are {', '.join(files[name] for name in scales)}" if file.suffix in (".yaml", ".yml") else BEHIND
