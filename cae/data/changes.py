"""Compare a data set with its manifest: one function for each kind of change."""

import os
from collections.abc import Iterable
from itertools import zip_longest
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from cae.data.datasets import expand
from cae.data.layouts import layout_of, listing
from cae.errors import UserError

COMPARED = 25_000  # images of a split whose sizes are compared with the manifest's: all, or so many evenly spread


class Split(NamedTuple):
    """A split as its manifest lists it, and as it is now."""

    folder: Path
    then: dict[str, str | None]  # the class of each image; None where images have none
    now: dict[str, str | None]
    present: set[str]  # images of `then` that are on disk and listed now
    sizes: dict[str, int]  # bytes of each image of `then`


def changes(manifest: dict) -> list[str]:
    """Describe how a data set differs from its manifest, a line for each kind of change in a split.

    The list is empty where nothing changed, and where the data set's root is not on this machine. Names and classes of all
    images are compared, the sizes of COMPARED images a split, COCO's annotations, and ADE20K's label maps where a split has
    no more than COMPARED. 13,000 images take 0.2 s; ImageNet's 1.28 million take some ten seconds, and every 52nd is compared
    by size. An image that changed and kept its size is not noticed.
    """
    layout, classes = layout_of(manifest["layout"]), manifest["classes"]
    by_annotations = getattr(layout, "ANNOTATIONS_LIST_IMAGES", False)
    try:
        folder = expand(manifest["root"])
    except UserError:
        return []
    try:
        names, listed = (classes, manifest["splits"]) if by_annotations else listing(layout, folder, len(classes))
    except UserError as error:
        return [str(error)]
    found = []
    if renamed := [pair for pair in zip_longest(classes, names) if pair[0] != pair[1]]:
        found.append(f"names of classes changed, first {renamed[0][0]!r} to {renamed[0][1]!r}")
    for name, split in manifest["splits"].items():
        compared = _compared(folder, split, classes, listed[name], names)
        for kind, images in KINDS.items():
            if paths := list(images(compared)):
                found.append(f"{name}: {len(paths)} images {kind}, first {min(paths)}")
        if (by_annotations or len(compared.then) <= COMPARED) and _annotations_changed(layout, folder, name, split):
            found.append(f"{name}: annotations changed or gone")
    return found


def _compared(folder: Path, split: dict, classes: list[str], listed: dict, names: list[str]) -> Split:
    then, now = _classes_of(split, classes), _classes_of(listed, names)
    for path in split.get("skipped", ()):
        now.pop(path, None)
    present = {path for path in _on_disk(folder, then) if path in now}
    return Split(folder, then, now, present, dict(zip(split["images"], split["bytes"])))


def _classes_of(split: dict, names: list[str]) -> dict[str, str | None]:
    if "labels" not in split:
        return dict.fromkeys(split["images"])
    return {path: names[label] for path, label in zip(split["images"], split["labels"])}


def _on_disk(folder: Path, images: Iterable[str]) -> list[str]:
    """Those of `images` that exist. Each of their folders is listed once: one call an image would take minutes."""
    parents = {path.rpartition("/")[0] for path in images}
    existing = {
        f"{parent}/{name}" for parent in parents if (folder / parent).is_dir() for name in os.listdir(folder / parent)
    }
    return [path for path in images if path in existing]


def gone(split: Split) -> Iterable[str]:
    return split.then.keys() - split.present


def new(split: Split) -> Iterable[str]:
    return split.now.keys() - split.then.keys()


def of_another_class(split: Split) -> Iterable[str]:
    return (path for path in split.present if split.now[path] != split.then[path])


def of_another_size(split: Split) -> Iterable[str]:
    sample = list(split.sizes)[:: len(split.sizes) // COMPARED + 1]
    return (
        path for path in sample if path in split.present and os.path.getsize(split.folder / path) != split.sizes[path]
    )


KINDS = {"gone": gone, "new": new, "of another class": of_another_class, "of another size": of_another_size}


def _annotations_changed(layout: ModuleType, folder: Path, name: str, split: dict) -> bool:
    try:
        return "annotations" in split and layout.annotations_hash(folder, name, split["images"]) != split["annotations"]
    except FileNotFoundError:
        return True
