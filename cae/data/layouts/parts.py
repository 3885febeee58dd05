"""What listings of several layouts share."""

import os
from pathlib import Path
from typing import NamedTuple

from cae.errors import UserError

IMAGES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}


class Published(NamedTuple):
    """How large a published data set is."""

    train: int  # images; of COCO those with objects
    val: int
    classes: int
    bytes: float


def existing_folder(path: Path) -> Path:
    if not path.is_dir():
        raise UserError(f"{path}: no such folder; is this the root of the data set, in the layout that params name?")
    return path


def images_in(root: Path, folder: str) -> list[str]:
    """Paths below the root of a folder's images."""
    names = (name for name in os.listdir(root / folder) if not name.startswith("."))
    return [f"{folder}/{name}" for name in sorted(names) if os.path.splitext(name)[1].lower() in IMAGES]


def lines_of(path: Path) -> list[str]:
    try:
        lines = path.read_text().split("\n")
    except FileNotFoundError:
        raise UserError(f"{path}: list of images is missing; is this the root of the data set?") from None
    if not any(lines):
        raise UserError(f"{path}: lists no images")
    return [line.strip() for line in lines if line.strip()]
