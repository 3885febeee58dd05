"""Images of a data set on disk, read through its manifest."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from cae.errors import UserError
from cae.files import read_json


def expand(root: str) -> Path:
    """The folder that a data set's root stands for on this machine."""
    path = Path(os.path.expandvars(root)).expanduser()
    if "$" in str(path):
        raise UserError(
            f"data root {root}: the environment variable is not set; set it, or pass "
            f"`--config {root.strip('$').removesuffix('_ROOT').lower()}=/path/to/data` to snakemake"
        )
    if not path.is_dir():
        raise UserError(f"data root {root}: no such folder: {path}")
    return path


def read_rgb(path: Path) -> Image.Image:
    """An image file as RGB, whatever PIL can convert: grayscale, CMYK, palette; transparency is laid on white.

    Pixels are as stored: EXIF's orientation turns nothing, as in torchvision's ImageFolder, which the public code pretrains
    and classifies by. (Its segmentation and detection read by OpenCV, which turns images but no label maps.) The index
    tells how many images it concerns.
    """
    try:
        with Image.open(path) as image:
            if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
                image = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
            return image.convert("RGB")  # decodes, so a truncated file shows here
    except FileNotFoundError:
        raise UserError(f"{path}: image is missing; restore it, or make the manifest again") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(
            f"{path}: not a readable image ({error}); replace or remove it, then make the manifest again"
        ) from None


def read_pixels(path: Path) -> np.ndarray:
    """`read_rgb` as uint8 [H, W, 3], the very same pixels: JPEG files by libjpeg-turbo without PIL's own four bytes a pixel.

    All else, other formats, inks, damaged and missing files, is read, or refused, by PIL.
    """
    from simplejpeg import decode_jpeg, decode_jpeg_header  # only files need it: a benchmark on made-up images does not

    try:
        data = path.read_bytes()
        if decode_jpeg_header(data)[2] in ("YCbCr", "Gray"):
            return decode_jpeg(data)
    except (OSError, ValueError):
        pass
    return np.asarray(read_rgb(path))


def annotation_of(path: Path) -> Path:
    """ADE20K's label map of an image: images/<split>/x.jpg has annotations/<split>/x.png."""
    return path.parents[2] / "annotations" / path.parent.name / f"{path.stem}.png"


def read_labels(path: Path) -> np.ndarray:
    """ADE20K's pixel classes uint8 [H, W]; 0 is not labelled."""
    try:
        with Image.open(path) as image:
            if image.mode not in ("L", "P"):
                raise ValueError(f"expected one 8-bit channel, found mode {image.mode}")
            return np.array(image)
    except FileNotFoundError:
        raise UserError(f"{path}: label map is missing") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"{path}: not a readable label map ({error})") from None


class Paths(Sequence):
    """Texts in one block of memory, which processes that are forked share: of a list's each gets its own, page by page, since
    Python counts in them who refers to them (of ImageNet's paths and 32 loader processes, 5 GB)."""

    def __init__(self, texts: Iterable[str]):
        encoded = [text.encode(errors="surrogateescape") for text in texts]
        self.block, self.ends = b"".join(encoded), np.cumsum([0, *map(len, encoded)])

    def __len__(self) -> int:
        return len(self.ends) - 1

    def __getitem__(self, i: int) -> str:
        i = range(len(self))[i]
        return self.block[self.ends[i] : self.ends[i + 1]].decode(errors="surrogateescape")


class Images:
    """One split of a data set, read through its manifest."""

    def __init__(self, manifest: str | Path, split: int):
        """`split`: 0 to train on, 1 to validate on."""
        data = read_json(manifest)
        self.root, self.fingerprint, self.classes = expand(data["root"]), data["fingerprint"], data["classes"]
        part = list(data["splits"].values())[split]
        self.paths = Paths(part["images"])
        self.labels = np.array(part["labels"]) if "labels" in part else None

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> Image.Image:
        return read_rgb(self.root / self.paths[i])

    def pixels(self, i: int) -> np.ndarray:
        """Image `i` as uint8 [H, W, 3], faster."""
        return read_pixels(self.root / self.paths[i])
