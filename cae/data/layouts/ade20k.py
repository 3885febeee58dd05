"""ADE20K's layout: images/<split>/<image>.jpg, and their label maps, annotations/<split>/<image>.png."""

from pathlib import Path

from PIL import Image

from cae.data.datasets import annotation_of, read_labels
from cae.data.layouts.parts import Published, WrongLayout, existing_folder, split_in, text_of
from cae.errors import UserError
from cae.files import file_hash, text_hash

SPLITS = "training", "validation"
PUBLISHED = Published(20_210, 2_000, 150, 0.9e9)
MOST_CLASSES = 255  # of label maps of 8 bits, in which 0 is no class
NEEDED = "images/training", "images/validation", "annotations"
EXPECTED = (
    "images/training/<image>.jpg",
    "annotations/training/<image>.png",
    "the same with validation in the place of training",
)


def listing(root: Path, classes: int | None) -> tuple[list[str], dict]:
    splits = {}
    for split in SPLITS:
        folder = existing_folder(root / "images" / split)
        splits[split] = split_in(root, f"images/{split}")
        if not splits[split]["images"]:
            raise WrongLayout(f"{folder}: holds no images")
        _refuse_shared_maps(root, splits[split]["images"])
    return _names(root / "objectInfo150.txt", classes), splits


def _refuse_shared_maps(root: Path, images: list[str]) -> None:
    """Raise UserError where images differ in nothing but their ending, and so have one label map."""
    maps: dict[Path, str] = {}
    for path in images:
        label_map = annotation_of(root / path)
        if (other := maps.setdefault(label_map, path)) != path:
            raise UserError(
                f"{root}: {other} and {path} have one label map, {label_map}; rename one of them, or remove it"
            )


def _names(path: Path, classes: int | None) -> list[str]:
    """Return the names of classes: of the official set's file, or their numbers where there is no such file.

    A line of heading, then a line for each class: its number from 1, other columns, its names, the first of which counts.
    """
    if (classes or 0) > MOST_CLASSES:
        raise UserError(
            f"classes: {classes} is above {MOST_CLASSES}, the most that label maps of 8 bits have; lower it in params"
        )
    if not path.exists():
        return [str(i) for i in range(1, (classes or MOST_CLASSES) + 1)]
    rows = [line.split("\t") for line in text_of(path).splitlines()[1:] if line.strip()]
    names = [row[-1].split(",")[0].strip() for row in rows]
    if classes not in (None, len(names)):
        raise UserError(f"{path}: names {len(names)} classes, params give the data set {classes}; correct `classes`")
    if not 0 < len(names) <= MOST_CLASSES:
        raise UserError(f"{path}: names {len(names)} classes; label maps of 8 bits have 1 to {MOST_CLASSES}")
    for number, row in enumerate(rows, 1):
        if len(row) > 1 and row[0].strip().isdecimal() and int(row[0]) != number:
            raise UserError(
                f"{path}: line {number + 1} is of class {row[0].strip()}, expected is class {number}; sort the lines"
            )
    if twice := [name for i, name in enumerate(names) if name in names[:i]]:
        raise UserError(f"{path}: several classes have the name {twice[0]!r}; give each its own")
    return names


def check_labels(path: Path, image: Image.Image, classes: int) -> tuple[str | None, bool]:
    """Return what is wrong with the label map of an image, or None; and whether any pixel is labelled.

    Raises UserError where the map cannot be read.
    """
    path = annotation_of(path)
    labels, fault = read_labels(path), None
    if labels.shape != image.size[::-1]:
        fault = f"{path}: {labels.shape[1]}x{labels.shape[0]} pixels, its image has {image.width}x{image.height}"
    elif labels.max() > classes:
        fault = f"{path}: holds class {labels.max()}, above the {classes} of the data set; a pixel without a class is 0"
    return fault, bool(labels.any())


def annotations_hash(root: Path, _, images: list[str]) -> str:
    """Hash the content of all label maps: a map of the same regions with another class is often as large."""
    return text_hash("".join(file_hash(annotation_of(root / path)) for path in images))
