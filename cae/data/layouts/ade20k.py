"""ADE20K's layout: images/<split>/<image>.jpg, and their label maps, annotations/<split>/<image>.png."""

from pathlib import Path

from PIL import Image

from cae.data.datasets import annotation_of, read_labels
from cae.data.layouts.parts import Published, WrongLayout, existing_folder, split_in
from cae.errors import UserError
from cae.files import file_hash, text_hash

SPLITS = "training", "validation"
PUBLISHED = Published(20_210, 2_000, 150, 0.9e9)
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
    names = root / "objectInfo150.txt"  # the official set's class names, one line a class, the name last
    if not names.exists():
        return [str(i) for i in range(1, (classes or 255) + 1)], splits
    listed = [line.split("\t")[-1].split(",")[0].strip() for line in names.read_text().splitlines()[1:]]
    if classes not in (None, len(listed)):
        raise UserError(f"{names}: names {len(listed)} classes, params give the data set {classes}; correct `classes`")
    return listed, splits


def check_labels(path: Path, image: Image.Image, classes: int) -> str | None:
    """Return what is wrong with the label map of an image, or None. Raises UserError where it cannot be read."""
    path = annotation_of(path)
    labels = read_labels(path)
    if labels.shape != image.size[::-1]:
        return f"{path}: {labels.shape[1]}x{labels.shape[0]} pixels, its image has {image.width}x{image.height}"
    if labels.max() > classes:
        return f"{path}: holds class {labels.max()}, above the {classes} of the data set"
    return None


def annotations_hash(root: Path, _, images: list[str]) -> str:
    """Hash the content of all label maps: a map of the same regions with another class is often as large."""
    return text_hash("".join(file_hash(annotation_of(root / path)) for path in images))
