"""ImageNet's layout: <split>/<class>/<image>, a folder a class."""

from pathlib import Path

from cae.data.layouts.parts import Published, existing_folder, images_in
from cae.errors import UserError

SPLITS = "train", "val"
PUBLISHED = Published(1_281_167, 50_000, 1000, 155e9)


def listing(root: Path, _) -> tuple[list[str], dict]:
    train, val = (existing_folder(root / split) for split in SPLITS)
    names = sorted(path.name for path in train.iterdir() if path.is_dir())
    if not names:
        raise UserError(f"{train}: holds no class folders")
    splits = {}
    for split in (train, val):
        here = {path.name for path in split.iterdir() if path.is_dir()}
        if here != set(names):
            raise UserError(f"{split}: classes differ from {train}: {', '.join(sorted(here ^ set(names))[:5])}")
        splits[split.name] = {"images": [], "labels": []}
        for label, name in enumerate(names):
            images = images_in(root, f"{split.name}/{name}")
            if not images:
                raise UserError(f"{split / name}: class without images; add some, or remove the class from both splits")
            splits[split.name]["images"] += images
            splits[split.name]["labels"] += [label] * len(images)
    return names, splits
