"""COCO's layout: <split>/<image>, and annotations/instances_<split>.json with their objects."""

import json
import math
from pathlib import Path

from cae.data.layouts.parts import Published
from cae.errors import UserError
from cae.files import file_hash

SPLITS = "train2017", "val2017"
PUBLISHED = Published(117_266, 5_000, 80, 21e9)
ANNOTATIONS_LIST_IMAGES = True


def listing(root: Path, _) -> tuple[list[str], dict]:
    splits, categories = {}, {}
    for split in SPLITS:
        path = _annotations_file(root, split)
        data = _annotations(path)
        try:
            images = {image["id"]: (image["file_name"], [image["width"], image["height"]]) for image in data["images"]}
            here = {category["id"]: category["name"] for category in data["categories"]}
            for annotation in data["annotations"]:
                _check_instance(path, annotation, images, here)
            numbers = [annotation["id"] for annotation in data["annotations"]]
            if 0 in numbers or len(set(numbers)) < len(numbers):
                raise UserError(f"{path}: annotations are not numbered from 1, each once: the evaluator would miscount")
        except (KeyError, TypeError) as error:
            raise UserError(f"{path}: not COCO's instances: {error!r} is missing or not as it should be") from None
        if not data["annotations"]:
            raise UserError(f"{path}: holds no annotations")
        if here != (categories := categories or here):
            raise UserError(f"{path}: its categories are not those of {SPLITS[0]}")
        missing = [name for name, _ in images.values() if not (root / split / name).exists()]
        if missing:
            raise UserError(f"{root / split}: {len(missing)} images of the annotations are missing, first {missing[0]}")
        splits[split] = {"images": [f"{split}/{name}" for name, _ in images.values()],
                         "sizes": [size for _, size in images.values()], "annotations": file_hash(path)}  # fmt: skip
    return [categories[number] for number in sorted(categories)], splits


def annotations_hash(root: Path, split: str, _=None) -> str:
    return file_hash(_annotations_file(root, split))


def _annotations_file(root: Path, split: str) -> Path:
    return root / "annotations" / f"instances_{split}.json"


def _annotations(path: Path) -> dict:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise UserError(f"{path}: annotations are missing; is this the root of the data set?") from None
    except ValueError as error:
        raise UserError(f"{path}: cut off or damaged ({error}); get it again from where it came from") from None


def _check_instance(path: Path, annotation: dict, images: dict, categories: dict) -> None:
    """Crowds and degenerate boxes pass: training leaves them out, and the evaluator knows what to do."""
    which = f"{path}: annotation {annotation['id']!r}"
    for key in ("id", "image_id", "category_id"):
        if not isinstance(annotation[key], int):
            raise UserError(f"{which}: {key} {annotation[key]!r} is not an integer; correct or remove it")
    if annotation["iscrowd"] not in (0, 1):
        raise UserError(f"{which}: iscrowd is neither 0 nor 1; correct or remove it")
    if annotation["image_id"] not in images:
        raise UserError(f"{which}: image {annotation['image_id']} is not listed; correct or remove it")
    if annotation["category_id"] not in categories:
        raise UserError(f"{which}: category {annotation['category_id']} is not listed; correct or remove it")
    box, area = annotation["bbox"], annotation["area"]
    if len(box) != 4 or not _finite(box) or min(box[2:]) < 0:
        raise UserError(f"{which}: bbox {box} is not left, top, width and height in pixels; correct or remove it")
    if not _finite([area]) or area < 0:
        raise UserError(f"{which}: area {area!r} is no number of pixels; correct or remove it")
    outline = annotation["segmentation"]  # polygons, or runs of a crowd
    if isinstance(outline, dict):
        width, height = images[annotation["image_id"]][1]
        if outline["size"] != [height, width] or not outline["counts"]:
            raise UserError(f"{which}: segmentation is of another size than its image; correct or remove it")
    elif not (outline and all(len(polygon) >= 6 and _finite(polygon) for polygon in outline)):
        raise UserError(f"{which}: segmentation has no polygon of three points; correct or remove it")


def _finite(numbers: list) -> bool:
    try:
        return all(map(math.isfinite, numbers))
    except (TypeError, OverflowError):  # text; an integer beyond floats
        return False
