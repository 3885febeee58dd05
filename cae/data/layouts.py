"""What lies where in a data set on disk: ImageNet's, ADE20K's, COCO's, Food-101's and DomainNet's (clipart, sketch) layouts.

Each listing takes the root and a number of classes, where params give it, and returns the classes' names and, of each split,
its images (paths below the root) and what is known of them. No image is opened.
"""

import json
import math
import os
from pathlib import Path

from cae.data.datasets import SPLITS
from cae.errors import UserError
from cae.files import file_hash

IMAGES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}


def _folder(path: Path) -> Path:
    if not path.is_dir():
        raise UserError(f"{path}: no such folder; is this the root of the data set, in the layout that params name?")
    return path


def _images(root: Path, folder: str) -> list[str]:
    """Paths below the root of a folder's images."""
    names = (name for name in os.listdir(root / folder) if not name.startswith("."))
    return [f"{folder}/{name}" for name in sorted(names) if os.path.splitext(name)[1].lower() in IMAGES]


def _list_imagenet(root: Path, _) -> tuple[list[str], dict]:
    train, val = (_folder(root / split) for split in SPLITS["imagenet"])
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
            images = _images(root, f"{split.name}/{name}")
            if not images:
                raise UserError(f"{split / name}: class without images; add some, or remove the class from both splits")
            splits[split.name]["images"] += images
            splits[split.name]["labels"] += [label] * len(images)
    return names, splits


def _list_food101(root: Path, _) -> tuple[list[str], dict]:
    """meta/train.txt and meta/test.txt: class/image, a line an image."""
    lists = {split: _lines(root / "meta" / f"{split}.txt") for split in SPLITS["food101"]}
    names = sorted({line.rpartition("/")[0] for line in lists["train"]})
    splits = {}
    for split, lines in lists.items():
        if unknown := {line.rpartition("/")[0] for line in lines} - set(names):
            raise UserError(f"{root / 'meta' / split}.txt: class {min(unknown)!r} has no images to train on")
        labels = [names.index(line.rpartition("/")[0]) for line in lines]
        splits[split] = {"images": [f"images/{line}.jpg" for line in lines], "labels": labels}
    return names, splits


def _list_domain(domain: str, root: Path) -> tuple[list[str], dict]:
    """DomainNet's lists, <domain>_train.txt and <domain>_test.txt: path below the root and number of the class."""
    names, splits = {}, {}
    for split in SPLITS[domain]:
        path = root / f"{domain}_{split}.txt"
        pairs = [line.rpartition(" ")[::2] for line in _lines(path)]
        for image, label in pairs:
            name = image.split("/")[-2] if "/" in image else ""
            if not name or not label.isdigit() or names.setdefault(int(label), name) != name:
                raise UserError(f"{path}: not a line of an image and the number of its class: {image} {label}")
        splits[split] = {"images": [image for image, _ in pairs], "labels": [int(label) for _, label in pairs]}
    if sorted(names) != list(range(len(names))):
        raise UserError(f"{root / domain}_train.txt: classes are not numbered from 0 without a gap")
    return [names[label] for label in range(len(names))], splits


def _lines(path: Path) -> list[str]:
    try:
        lines = path.read_text().split("\n")
    except FileNotFoundError:
        raise UserError(f"{path}: list of images is missing; is this the root of the data set?") from None
    if not any(lines):
        raise UserError(f"{path}: lists no images")
    return [line.strip() for line in lines if line.strip()]


def _list_ade20k(root: Path, classes: int | None) -> tuple[list[str], dict]:
    splits = {}
    for split in SPLITS["ade20k"]:
        folder = _folder(root / "images" / split)
        splits[split] = {"images": _images(root, f"images/{split}")}
        if not splits[split]["images"]:
            raise UserError(f"{folder}: holds no images")
    names = root / "objectInfo150.txt"  # the official set's class names, one line a class, the name last
    if not names.exists():
        return [str(i) for i in range(1, (classes or 255) + 1)], splits
    listed = [line.split("\t")[-1].split(",")[0].strip() for line in names.read_text().splitlines()[1:]]
    if classes not in (None, len(listed)):
        raise UserError(f"{names}: names {len(listed)} classes, params give the data set {classes}; correct `classes`")
    return listed, splits


def _list_coco(root: Path, _) -> tuple[list[str], dict]:
    splits, categories = {}, {}
    for split in SPLITS["coco"]:
        path = root / "annotations" / f"instances_{split}.json"
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
            raise UserError(f"{path}: its categories are not those of {SPLITS['coco'][0]}")
        missing = [name for name, _ in images.values() if not (root / split / name).exists()]
        if missing:
            raise UserError(f"{root / split}: {len(missing)} images of the annotations are missing, first {missing[0]}")
        splits[split] = {"images": [f"{split}/{name}" for name, _ in images.values()],
                         "sizes": [size for _, size in images.values()], "annotations": file_hash(path)}  # fmt: skip
    return [categories[number] for number in sorted(categories)], splits


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


LISTINGS = {
    "imagenet": _list_imagenet,
    "ade20k": _list_ade20k,
    "coco": _list_coco,
    "food101": _list_food101,
    "clipart": lambda root, _: _list_domain("clipart", root),
    "sketch": lambda root, _: _list_domain("sketch", root),
}
