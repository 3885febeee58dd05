"""Data sets on disk, in ImageNet's, ADE20K's, COCO's, Food-101's and DomainNet's (clipart, sketch) layouts.

A manifest (JSON) lists every image once and stands for the data set everywhere else: its fingerprint is of the files'
names, sizes and labels, and its root may be an environment variable, so that the same manifest serves every machine.
"""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from cae.errors import UserError
from cae.files import file_hash, read_json, text_hash, write_json
from cae.progress import progress

IMAGES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
SPLITS = {
    "imagenet": ("train", "val"),
    "ade20k": ("training", "validation"),
    "coco": ("train2017", "val2017"),
    **dict.fromkeys(("food101", "clipart", "sketch"), ("train", "test")),
}


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
    """An image file as RGB, whatever PIL can convert: grayscale, CMYK, palette; transparency is laid on white."""
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


def index(layout: str, root: str, output: Path, threads: int = 1, classes: int | None = None) -> None:
    """Check every image of a data set and write its manifest.

    Raises UserError for a folder or a class that is missing or empty, and for a COCO image that is not there; then one
    that lists every file that is no image, and every label map that does not fit its image or holds a class above
    `classes`.
    """
    folder = expand(root)
    names, splits = LISTINGS[layout](folder, classes)
    jobs = [folder / path for split in splits.values() for path in split["images"]]
    sizes = [size for split in splits.values() for size in split.pop("sizes", [None] * len(split["images"]))]
    check = (lambda path, _: _check_labelled(folder, path, len(names))) if layout == "ade20k" else _check_image
    faults = []
    with ThreadPoolExecutor(threads) as pool:
        for fault in progress(f"checking {root}", len(jobs), iterable=pool.map(check, jobs, sizes)):
            faults += [fault] if fault else []
    if faults:
        more = f"\n… and {len(faults) - 10} more" if len(faults) > 10 else ""
        raise UserError(f"{len(faults)} of {len(jobs)} images cannot be used:\n" + "\n".join(faults[:10]) + more)
    for split in splits.values():
        split["bytes"] = [(folder / path).stat().st_size for path in split["images"]]
        if layout == "ade20k":
            # Their content: a map of the same regions with another class is often as large.
            hashes = [file_hash(annotation_of(folder / path)) for path in split["images"]]
            split["annotations"] = text_hash("".join(hashes))
    content = {"layout": layout, "classes": names, "splits": splits}
    fingerprint = text_hash(json.dumps(content, sort_keys=True))
    write_json(output, {"root": root, "fingerprint": fingerprint, **content})


def _check_image(path: Path, size: list[int] | None) -> str | None:
    """What is wrong with an image; `size`: width and height that its annotations give."""
    try:
        image = read_rgb(path)
    except UserError as error:
        return str(error)
    if size and list(image.size) != size:
        return f"{path}: {image.width}x{image.height} pixels, its annotations say {size[0]}x{size[1]}"
    return None


def annotation_of(path: Path) -> Path:
    """ADE20K's label map of an image: images/<split>/x.jpg has annotations/<split>/x.png."""
    return path.parents[2] / "annotations" / path.parent.name / f"{path.stem}.png"


def _check_labelled(folder: Path, path: Path, classes: int) -> str | None:
    try:
        image, labels = read_rgb(path), read_labels(annotation_of(path))
    except UserError as error:
        return str(error)
    if labels.shape != image.size[::-1]:
        return f"{annotation_of(path)}: {labels.shape[1]}x{labels.shape[0]} pixels, its image has {image.width}x{image.height}"
    if labels.max() > classes:
        return f"{annotation_of(path)}: holds class {labels.max()}, above the {classes} of the data set"
    return None


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


def _folder(path: Path) -> Path:
    if not path.is_dir():
        raise UserError(f"{path}: no such folder; is this the root of the data set, in the layout that params name?")
    return path


def _images(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGES and not path.name.startswith("."))


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
            images = _images(split / name)
            if not images:
                raise UserError(f"{split / name}: class without images; add some, or remove the class from both splits")
            splits[split.name]["images"] += [str(path.relative_to(root)) for path in images]
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
        images = _images(_folder(root / "images" / split))
        if not images:
            raise UserError(f"{root / 'images' / split}: holds no images")
        splits[split] = {"images": [str(path.relative_to(root)) for path in images]}
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
        data = read_json(path)
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


def _check_instance(path: Path, annotation: dict, images: dict, categories: dict) -> None:
    """Crowds and degenerate boxes pass: training leaves them out, and the evaluator knows what to do."""
    which = f"{path}: annotation {annotation['id']}"
    if annotation["iscrowd"] not in (0, 1):
        raise UserError(f"{which}: iscrowd is neither 0 nor 1; correct or remove it")
    if annotation["image_id"] not in images:
        raise UserError(f"{which}: image {annotation['image_id']} is not listed; correct or remove it")
    if annotation["category_id"] not in categories:
        raise UserError(f"{which}: category {annotation['category_id']} is not listed; correct or remove it")
    if len(annotation["bbox"]) != 4 or not annotation["area"] >= 0:
        raise UserError(f"{which}: bbox or area is not one; correct or remove it")
    outline = annotation["segmentation"]  # polygons, or runs of a crowd
    if isinstance(outline, dict):
        width, height = images[annotation["image_id"]][1]
        if outline["size"] != [height, width] or not outline["counts"]:
            raise UserError(f"{which}: segmentation is of another size than its image; correct or remove it")
    elif not (outline and all(len(polygon) >= 6 for polygon in outline)):
        raise UserError(f"{which}: segmentation has no polygon of three points; correct or remove it")


LISTINGS = {
    "imagenet": _list_imagenet,
    "ade20k": _list_ade20k,
    "coco": _list_coco,
    "food101": _list_food101,
    "clipart": lambda root, _: _list_domain("clipart", root),
    "sketch": lambda root, _: _list_domain("sketch", root),
}


class Images:
    """One split of a data set, read through its manifest."""

    def __init__(self, manifest: str | Path, split: int):
        """`split`: 0 to train on, 1 to validate on."""
        data = read_json(manifest)
        self.root, self.fingerprint, self.classes = expand(data["root"]), data["fingerprint"], data["classes"]
        part = data["splits"][SPLITS[data["layout"]][split]]
        self.paths = part["images"]
        self.labels = np.array(part["labels"]) if "labels" in part else None

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> Image.Image:
        return read_rgb(self.root / self.paths[i])
