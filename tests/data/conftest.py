"""Small data sets, with changes that a test asks for."""

import json
import re
import subprocess

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as rle

from cae.data.manifests import index
from cae.errors import UserError


def save(path, mode="RGB", size=(8, 6), colour=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour if colour is not None else 0).save(path, **options)
    return path


def make(root, layout="imagenet", **options):
    output = root.parent / "manifest.json"
    index(layout, str(root), output, threads=2, **options)
    return output


@pytest.fixture
def imagenet(tmp_path):
    for split in ("train", "val"):
        for name in ("cat", "dog"):
            for i in range(2):
                save(tmp_path / "in" / split / name / f"{i}.JPEG", format="JPEG")
    return tmp_path / "in"


# --- ImageNet's layout, each image another

FILES = [f"{split}/{name}/{i}.png" for split in ("train", "val") for name in ("cat", "dog") for i in range(2)]
number = 0


def write(path):
    """An image that no other file equals."""
    global number
    number += 1
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 6), (number % 256, number // 256, 0)).save(path, "PNG")


@pytest.fixture
def root(tmp_path):
    """FILES in ImageNet's layout."""
    for file in FILES:
        write(tmp_path / "in" / file)
    return tmp_path / "in"


def listed(root):
    index("imagenet", str(root), root.parent / "m.json")
    splits = json.loads((root.parent / "m.json").read_text())["splits"]
    return [path for split in splits.values() for path in split["images"]]


def refusal(root, layout="imagenet"):
    with pytest.raises(UserError) as error:
        index(layout, str(root), root.parent / "m.json")
    return str(error.value)


def follow_advice(root):
    """Run the commands that the refusal gives, as its reader would."""
    commands = re.findall("`(.*?)`", refusal(root))
    assert commands
    for command in commands:
        subprocess.run(["bash", "-euc", command], check=True, cwd=root)


# --- COCO

WIDTH, HEIGHT = 60, 40
BOX = [10, 5, 20, 30]  # left, top, width, height
CROWD = rle.encode(np.asfortranarray(np.pad(np.ones((10, 10), np.uint8), ((0, 30), (0, 50)))))
CROWD = {"size": CROWD["size"], "counts": CROWD["counts"].decode()}
CATEGORIES = [{"id": 7, "name": "kite"}, {"id": 3, "name": "cup"}]


def outline(left, top, width, height):
    return [[left, top, left + width, top, left + width, top + height, left, top + height]]


def annotation(number, image, box=BOX, category=7, **changes):
    return {"id": number, "image_id": image, "category_id": category, "bbox": box, "area": box[2] * box[3],
            "segmentation": outline(*box), "iscrowd": 0} | changes  # fmt: skip


def image(number, name=None, width=WIDTH, height=HEIGHT):
    return {"id": number, "file_name": name or f"{number}.jpg", "width": width, "height": height}


ANNOTATIONS = [
    annotation(1, 11),
    annotation(2, 11, [40, 0, 19, 10], category=3),
    annotation(3, 11, [30, 20, 0.5, 9]),  # narrower than a pixel
    annotation(4, 11, [70, 20, 5, 5]),  # outside
    annotation(5, 11, [0, 0, 10, 10], iscrowd=1, segmentation=CROWD),
    annotation(6, 12, [0, 0, 10, 10], iscrowd=1, segmentation=CROWD),  # nothing but a crowd
    annotation(7, 14, [50, 30, 20, 20], category=3),  # over the edge
]


@pytest.fixture
def write_coco(tmp_path):
    """A function that writes a data set, with changes of its training annotations and of those of validation (`val`), and
    makes its manifest."""

    def write(val=None, batches=None, **changes):
        contents = {
            "train2017": {"images": [image(i) for i in (11, 12, 13, 14)], "annotations": ANNOTATIONS} | changes,
            "val2017": {"images": [image(i) for i in (21, 22)], "annotations": [annotation(1, 21)]} | (val or {}),
        }
        pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        pixels[5:35, 10:30] = 200  # BOX
        for split, numbers in {"train2017": (11, 12, 13, 14), "val2017": (21, 22)}.items():
            for folder in (split, "annotations"):
                (tmp_path / "coco" / folder).mkdir(parents=True, exist_ok=True)
            path = tmp_path / f"coco/annotations/instances_{split}.json"
            path.write_text(json.dumps({"categories": CATEGORIES} | contents[split]))
            for i in numbers:
                Image.fromarray(pixels).save(tmp_path / f"coco/{split}/{i}.jpg", quality=100)
        index("coco", str(tmp_path / "coco"), tmp_path / "coco.json", batches=batches)
        return tmp_path / "coco.json"

    return write
