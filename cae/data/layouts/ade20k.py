"""ADE20K's layout: images/<split>/<image>.jpg, and their label maps, annotations/<split>/<image>.png."""

from pathlib import Path

from cae.data.layouts.parts import Published, existing_folder, images_in
from cae.errors import UserError

SPLITS = "training", "validation"
PUBLISHED = Published(20_210, 2_000, 150, 0.9e9)


def listing(root: Path, classes: int | None) -> tuple[list[str], dict]:
    splits = {}
    for split in SPLITS:
        folder = existing_folder(root / "images" / split)
        splits[split] = {"images": images_in(root, f"images/{split}")}
        if not splits[split]["images"]:
            raise UserError(f"{folder}: holds no images")
    names = root / "objectInfo150.txt"  # the official set's class names, one line a class, the name last
    if not names.exists():
        return [str(i) for i in range(1, (classes or 255) + 1)], splits
    listed = [line.split("\t")[-1].split(",")[0].strip() for line in names.read_text().splitlines()[1:]]
    if classes not in (None, len(listed)):
        raise UserError(f"{names}: names {len(listed)} classes, params give the data set {classes}; correct `classes`")
    return listed, splits
