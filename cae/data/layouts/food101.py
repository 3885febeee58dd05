"""Food-101's layout: images/<class>/<image>.jpg, and a list a split."""

from pathlib import Path

from cae.data.layouts.parts import Published, lines_of
from cae.errors import UserError

SPLITS = "train", "test"
PUBLISHED = Published(75_750, 25_250, 101, 5e9)
NEEDED = "images", "meta/train.txt", "meta/test.txt"
EXPECTED = "images/<class>/<image>.jpg", "meta/train.txt and meta/test.txt with a line <class>/<image> for each image"


def listing(root: Path, _) -> tuple[list[str], dict]:
    """meta/train.txt and meta/test.txt: class/image, a line an image."""
    lists = {split: lines_of(root / "meta" / f"{split}.txt") for split in SPLITS}
    names = sorted({line.rpartition("/")[0] for line in lists["train"]})
    splits = {}
    for split, lines in lists.items():
        if unknown := {line.rpartition("/")[0] for line in lines} - set(names):
            raise UserError(f"{root / 'meta' / split}.txt: class {min(unknown)!r} has no images to train on")
        labels = [names.index(line.rpartition("/")[0]) for line in lines]
        splits[split] = {"images": [f"images/{line}.jpg" for line in lines], "labels": labels}
    return names, splits
