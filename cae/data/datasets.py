"""Images of a data set on disk, read through its manifest."""

import os
from collections.abc import Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from cae.errors import UserError
from cae.files import read_json

TIFF_BITS, TIFF_PHOTOMETRIC, TIFF_PLANES = 258, 262, 284  # numbers of tags


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


@contextmanager
def opened(path: Path):
    """Open an image file by PIL; whatever PIL raises becomes a UserError."""
    try:
        with Image.open(path) as image:
            yield image
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(
            f"{path}: image is missing; restore it, or give the same command again, which lists the data set anew"
        ) from None
    except Exception as error:  # of damaged files PIL raises nearly anything
        reason = str(error) or type(error).__name__
        raise UserError(
            f"{path}: not a readable image ({reason}); replace or remove it, then give the same command again"
        ) from None


def read_rgb(path: Path) -> Image.Image:
    """Read an image file as RGB with 8 bits a channel; raises UserError where that is not possible.

    Pixels are as stored: EXIF's orientation turns nothing, as in torchvision's ImageFolder, which the public code pretrains
    and classifies by. (Its segmentation and detection read by OpenCV, which turns images but no label maps.) The index
    counts the images that EXIF asks to turn. (TIFF files PIL turns by itself.) Of an animation the first frame is read.
    """
    with opened(path) as image:
        return to_rgb(image)


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert whatever PIL opens: grayscale, CMYK, palette; transparency is laid on white.

    Of 16 bits the high byte is kept, as PIL does for colours. Integers of 32 bits and floating-point numbers are refused:
    their files do not tell which number is white.
    """
    if (depth := bits(image)) > 8:
        return _gray(image, depth).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")  # decodes, so a truncated file shows here


def bits(image: Image.Image) -> int:
    """Count the bits of a gray value: 8, or 12 or 16 where PIL's own conversion to RGB would cut values off at 255."""
    if image.mode.startswith("I;16"):
        return 12 if _tiff_tag(image, TIFF_BITS) == (12,) else 16
    if image.mode == "I" and image.format == "PPM":  # which PIL has stretched to 16 bits
        return 16
    if image.mode in ("I", "F"):
        kind = "integers of 32 bits or with a sign" if image.mode == "I" else "floating-point numbers"
        raise ValueError(f"mode {image.mode}: {kind}, whose white is unknown; save it with 8 or 16 bits a channel")
    if _tiff_tag(image, TIFF_PLANES) == 2 and max(_tiff_tag(image, TIFF_BITS)) > 8:  # PIL takes each byte for a value
        raise ValueError("16 bits in separate planes, which PIL reads wrongly; save it with its channels interleaved")
    return 8


def _gray(image: Image.Image, depth: int) -> Image.Image:
    values = np.asarray(image)
    gray = (values >> (depth - 8)).astype(np.uint8)
    if _tiff_tag(image, TIFF_PHOTOMETRIC) == 0:  # 0 is white, which PIL heeds with 8 bits alone
        gray = 255 - gray
    if isinstance(clear := image.info.get("transparency"), int):
        gray[values == clear] = 255
    return Image.fromarray(gray)


def _tiff_tag(image: Image.Image, tag: int):
    return image.tag_v2.get(tag) if image.format == "TIFF" else None


def read_pixels(path: Path) -> np.ndarray:
    """`read_rgb` as uint8 [H, W, 3], the very same pixels: JPEG files by libjpeg-turbo without PIL's own four bytes a pixel.

    All else, other formats, inks, damaged and missing files, is read, or refused, by PIL.
    """
    from simplejpeg import decode_jpeg, decode_jpeg_header  # only files need it: a benchmark on made-up images does not

    try:
        data = path.read_bytes()
        height, width, colours, _ = decode_jpeg_header(data)
        if colours in ("YCbCr", "Gray") and height * width <= Image.MAX_IMAGE_PIXELS:  # else PIL warns, or refuses
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
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
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
