"""COCO's annotations as they are read here, and what stands for keys that are left out."""

import json
from collections import Counter
from pathlib import Path

from pycocotools import mask

from cae.data.layouts.parts import WrongLayout
from cae.errors import UserError

DEFAULTS = {  # of COCO's own tools
    "iscrowd": "0, no crowd",
    "bbox": "the box around the outline",
    "area": "the area of the outline",
}


def read_instances(path: Path) -> dict:
    """Read a file of annotations; UserError where it is missing, is not JSON, or holds a key twice in one object."""
    try:
        return json.loads(path.read_bytes(), object_pairs_hook=_distinct)
    except FileNotFoundError:
        raise WrongLayout(f"{path}: annotations are missing") from None
    except ValueError as error:
        raise UserError(
            f"{path}: cut off or damaged ({error}); get it again from where it came from, or correct it"
        ) from None


def _distinct(pairs: list[tuple]) -> dict:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise ValueError(f"the key {twice!r} is there twice in one object, and only the last would be read")
    return found


def complete(data: dict) -> Counter:
    """Add the DEFAULTS of keys that annotations leave out, and return how often each was left out.

    The outlines must be right (`cae.data.coco.outlines`): pycocotools does not check them.
    """
    missing, sizes = Counter(), sizes_of(data)
    for annotation in data["annotations"]:
        for key in DEFAULTS:
            if key not in annotation:
                missing[key] += 1
                annotation[key] = _default(key, annotation["segmentation"], *sizes[annotation["image_id"]])
    return missing


def sizes_of(data: dict) -> dict[int, tuple[int, int]]:
    """Return width and height of each image, by its id."""
    return {image["id"]: (image["width"], image["height"]) for image in data["images"]}


def _default(key: str, outline: list | dict, width: int, height: int) -> float | list[float]:
    if key == "iscrowd":
        return 0
    rle = as_rle(outline, width, height)
    return float(mask.area(rle)) if key == "area" else mask.toBbox(rle).tolist()


def as_rle(outline: list | dict, width: int, height: int) -> dict:
    """Return an outline as compressed RLE, as `COCO.annToRLE` does."""
    if isinstance(outline, list):
        return mask.merge(mask.frPyObjects(outline, height, width))
    return mask.frPyObjects(outline, height, width) if isinstance(outline["counts"], list) else outline
