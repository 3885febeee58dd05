"""Data sets that changed, and manifests that are missing: they are listed anew, and what depends on them is made anew.

Snakemake alone would not notice: it looks at no images, and makes no missing file again where what was made of it exists.
"""

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from cae.data.changes import changes
from cae.data.datasets import expand
from cae.data.manifests import unchecked_text
from cae.errors import UserError
from cae.files import read_json, text_hash, write_text
from cae.params.data import Dataset
from workflow.hooks.prepared import when_prepared


def outdated(datasets: Mapping[str, Dataset], records: Path) -> dict[str, list[str]]:
    """Map each manifest that must be made anew to how its data set changed.

    `datasets`: by the path of its manifest, each data set. `records`: Snakemake's folder of what made each file. A manifest
    that is missing while its data set is still the one that files were made of is written again, and nothing else reruns.
    Nothing is compared where a data set is not on this machine.
    """
    found = {path: _differences(Path(path), dataset, records) for path, dataset in datasets.items()}
    return {path: differences for path, differences in found.items() if differences}


def _differences(manifest: Path, dataset: Dataset, records: Path) -> list[str]:
    if not manifest.exists():
        return _differences_from_results(manifest, dataset, records)
    try:
        return changes(read_json(manifest))
    except UserError as error:
        return [str(error)]
    except (KeyError, TypeError) as error:
        return [f"{manifest} is no manifest: {error!r}"]


def _differences_from_results(manifest: Path, dataset: Dataset, records: Path) -> list[str]:
    """Compare a data set with the missing manifest that files were made of, of which their records keep the hash."""
    hashes = _recorded_hashes(str(manifest), records)
    try:
        expand(dataset.root)
    except UserError:
        return []
    if not hashes:
        return []
    try:
        text = unchecked_text(dataset.layout, dataset.root, dataset.classes)
    except UserError as error:
        return [str(error)]
    if text_hash(text) not in hashes:
        return ["its manifest is missing, and it is not the data set that results were made of"]
    write_text(manifest, text)
    print(f"{manifest} was missing; its data set has not changed, so it is written again as it was", file=sys.stderr)
    return []


def _recorded_hashes(file: str, records: Path) -> set[str]:
    """Return the SHA-256 that an input had when other files were made of it, each once."""
    hashes = set()
    for path in records.rglob("*"):
        if path.is_file():
            try:
                record = json.loads(path.read_text())
            except ValueError:  # cut off, as Snakemake says itself
                continue
            if checksum := (record.get("input_checksums") or {}).get(file):
                hashes.add(checksum.rpartition(":")[2])
    return hashes


def describe(manifest: str, dataset: Dataset, differences: list[str]) -> str:
    """Say what changed, what happens now, and how to keep the results instead."""
    variable = dataset.root.strip("${}")
    without = f", or take it away: `unset {variable}`" if variable.isidentifier() and "$" in dataset.root else ""
    return "\n".join(
        [
            f"{manifest}: the data set below {dataset.root} changed:",
            *(f"    {difference}" for difference in differences),
            "It is listed anew, and what depends on it is made anew (`snakemake --dry-run` shows these jobs).",
            f"To keep the results, stop now and bring the data set back{without}.",
        ]
    )


def list_anew(workflow, manifests: Iterable[str]) -> None:
    """Make Snakemake run the jobs of these manifests, where they are among those it plans, and the jobs behind them."""
    when_prepared(workflow, lambda: workflow.dag.forcefiles.update(manifests))
