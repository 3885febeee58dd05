"""What listings of several layouts share."""

import codecs
import os
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from cae.errors import UserError

# Endings of what PIL reads as pictures; "" is a name without an ending.
IMAGES = {
    "", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff", ".avif",
    ".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx", ".pbm", ".pgm", ".ppm", ".pnm", ".pcx", ".psd", ".qoi", ".sgi", ".tga",
}  # fmt: skip
# What systems and programs leave behind; names that begin with a dot are hidden besides.
SYSTEM = {
    "@eadir", "@tmp", "#recycle", "$recycle.bin", "__macosx", "__pycache__", "desktop.ini", "ehthumbs.db", "lost+found",
    "system volume information", "thumbs.db",
}  # fmt: skip
SHOWN = 3  # names of each kind that a description of a folder gives


class Published(NamedTuple):
    """How large a published data set is."""

    train: int  # images; of COCO those with objects
    val: int
    classes: int
    bytes: float


class WrongLayout(UserError):
    """What is on disk is not in the layout that params name."""


class Contents(NamedTuple):
    """Names in a folder, sorted, without what is hidden or of the system."""

    folders: list[str]
    images: list[str]
    others: list[str]  # files that are no images by their endings

    def description(self) -> str:
        kinds = {"folder": self.folders, "image": self.images, "other file": self.others}
        parts = []
        for kind, names in kinds.items():
            if names:
                parts.append(f"{len(names)} {kind}{'s' if names[1:] else ''} ({shortened(names)})")
        return "; ".join(parts) or "nothing"


def shortened(names: list[str]) -> str:
    return ", ".join([*names[:SHOWN], *(["…"] if len(names) > SHOWN else [])])


def contents(folder: Path) -> Contents:
    found = Contents([], [], [])
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") or entry.name.lower() in SYSTEM:
                continue
            kind = found.folders if entry.is_dir() else found.images if ending(entry.name) in IMAGES else found.others
            kind.append(entry.name)
    for names in found:
        names.sort()
    return found


def ending(name: str) -> str:
    """Return the ending of a file's name as it is looked up: of "a.JPG " it is ".jpg"."""
    return os.path.splitext(name.strip())[1].lower()


def count_left_out(found: Contents, folders: str = "folders") -> Counter:
    """Count what of a folder is no image: files by their endings, and its folders under the name `folders`."""
    counts = Counter(f"*{ending(name)}" for name in found.others)
    return counts + Counter({folders: len(found.folders)})


def existing_folder(path: Path) -> Path:
    if not path.is_dir():
        raise WrongLayout(f"{path}: no such folder")
    return path


def split_in(root: Path, folder: str) -> dict:
    """List the images of a folder by their paths below the root, and count what is left out."""
    found = contents(root / folder)
    return {"images": [f"{folder}/{name}" for name in found.images], "left_out": count_left_out(found)}


def text_of(path: Path) -> str:
    """Read text in UTF-8, in UTF-16 with a byte order mark, or else in Latin-1, which older tools write."""
    data = path.read_bytes()
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", errors="replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def lines_of(path: Path) -> list[str]:
    try:
        lines = text_of(path).split("\n")
    except FileNotFoundError:
        raise WrongLayout(f"{path}: list of images is missing") from None
    if not any(lines):
        raise UserError(f"{path}: lists no images")
    return [line.strip() for line in lines if line.strip()]
