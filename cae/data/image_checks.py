"""Check each image of a data set before anything is trained on it, and describe what a user should know of them all."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from PIL import Image
from PIL.ExifTags import Base

from cae.data.datasets import bits, opened, to_rgb
from cae.errors import UserError

DARK = 64  # of 256: an image of 16 bits below it holds 14 bits or fewer


class Checked(NamedTuple):
    """What is known of an image file after it was read."""

    fault: str | None = None
    digest: bytes = b""  # of its content
    turned: bool = False  # EXIF asks to turn it
    deep: bool = False  # more than 8 bits a channel, of which 8 are used
    brightest: int = 255  # of these 8 bits
    labelled: bool = True  # its label map has a class for some pixel


def check_image(path: Path, size: list[int] | None, check_labels: Callable | None) -> Checked:
    """Read an image as training will read it.

    `size`: width and height that its annotations give. `check_labels`: what checks its label map, where it has one.
    """
    try:
        with opened(path) as image:
            rgb, deep, turned = to_rgb(image), bits(image) > 8, _turned(image)
        fault, labelled = check_labels(path, rgb) if check_labels else (None, True)
    except UserError as error:
        return Checked(str(error))
    if size and list(rgb.size) != size:
        fault = f"{path}: {rgb.width}x{rgb.height} pixels, its annotations say {size[0]}x{size[1]}"
    digest = hashlib.blake2b(path.read_bytes(), digest_size=16).digest()  # read a moment ago: it is still in memory
    brightest = max(high for _, high in rgb.getextrema()) if deep else 255
    return Checked(fault, digest, turned, deep, brightest, labelled)


def _turned(image: Image.Image) -> bool:
    try:
        return image.getexif().get(Base.Orientation) in range(2, 9)
    except Exception:  # of EXIF that is none
        return False


def refuse_dark(root: str, images: list[Checked]) -> None:
    """Raise UserError where all images of 16 bits a channel use so few of them that little is left of 8 bits."""
    deep = [image.brightest for image in images if image.deep]
    if deep and max(deep) < DARK:
        raise UserError(
            f"{root}: {len(deep)} images have 16 bits a channel, and none is brighter than {max(deep) + 1}/256 of white: they "
            "would be used nearly black. Numbers of 12 bits in files of 16 look so; stretch them: "
            f"`mogrify -evaluate multiply {256 // (max(deep) + 1)} FILE …`"
        )


def refuse_unlabelled(root: str, splits: dict[str, dict[str, Checked]]) -> None:
    """Raise UserError where no label map of a split has a class for any pixel; `splits`: each split's images by path."""
    for name, images in splits.items():
        if not any(image.labelled for image in images.values()):
            raise UserError(
                f"{root}: {name}: no pixel of its {len(images)} label maps is labelled, all are 0; classes count from 1, so "
                "write label maps in which they do"
            )


def notes(root: str, splits: dict[str, dict[str, Checked]]) -> list[str]:
    """Describe what a user should know of images that can be used; `splits`: each split's images by path."""
    images = [image for split in splits.values() for image in split.values()]
    found = []
    if turned := sum(image.turned for image in images):
        found.append(
            f"{root}: {turned} of {len(images)} images say in their EXIF how to turn them; they are used as stored, unturned. "
            "To turn the files: `mogrify -auto-orient FILE …`"
        )
    if deep := sum(image.deep for image in images):
        found.append(
            f"{root}: {deep} of {len(images)} images have more than 8 bits a channel; their 8 highest are used"
        )
    if bare := [path for split in splits.values() for path, image in split.items() if not image.labelled]:
        found.append(
            f"{root}: {len(bare)} of {len(images)} label maps are 0 everywhere, not labelled, first that of {bare[0]}"
        )
    return found + _in_both(root, *splits.items())


def _in_both(root: str, train: tuple[str, dict], val: tuple[str, dict]) -> list[str]:
    """Describe the images of the second split that are in the first, too, as files of the same content."""
    known = {image.digest for image in train[1].values()}
    both = [path for path, image in val[1].items() if image.digest in known]
    if not both:
        return []
    return [
        f"{root}: {len(both)} of the {len(val[1])} images of {val[0]} are in {train[0]}, too, the same to the byte, first "
        f"{both[0]}; metrics on them do not tell how a model does on new images. Take them out of one of the two"
    ]
