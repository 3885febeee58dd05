"""COCO's instances: images with boxes, classes and masks, and the micro-batches that a detector is trained on."""

import contextlib
import os
from pathlib import Path

import numpy as np
import torch
from pycocotools.coco import COCO
from torch.utils.data import Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from cae.data.coco.boxes import hindrance
from cae.data.coco.reading import complete, read_instances
from cae.data.datasets import expand, read_rgb
from cae.data.rng import seeded
from cae.errors import UserError
from cae.files import file_hash, read_json
from cae.params import CropPolicy


class Instances:
    """One split of a data set in COCO's layout.

    `labelled`: only images with an object that can be learned, as mmdetection trains. To be learned, an object is no
    crowd and has an area, and its box a pixel a side and a part inside the image; others are left out (mmdetection's rule).
    """

    def __init__(self, manifest: str | Path, split: int, labelled: bool):
        """`split`: 0 to train on, 1 to validate on."""
        data = read_json(manifest)
        name = list(data["splits"])[split]
        self.folder, self.fingerprint = expand(data["root"]) / name, data["fingerprint"]
        path = self.folder.parent / "annotations" / f"instances_{name}.json"
        if not path.exists() or file_hash(path) != data["splits"][name]["annotations"]:
            raise UserError(
                f"{path}: changed since {manifest} was made; give the same command again, which lists the data set anew"
            )
        self.coco = COCO()
        self.coco.dataset = read_instances(path)
        complete(self.coco.dataset)
        with quiet():
            self.coco.createIndex()
        self.categories = sorted(self.coco.cats)  # label k + 1 is category number categories[k]
        self.names = [self.coco.cats[category]["name"] for category in self.categories]
        self.ids = sorted(image for image in self.coco.imgs if not labelled or self.objects(image))

    def __len__(self) -> int:
        return len(self.ids)

    def objects(self, image: int) -> list[dict]:
        size = self.coco.imgs[image]
        return [each for each in self.coco.imgToAnns[image] if not hindrance(each, size["width"], size["height"])]

    def __getitem__(self, i: int) -> tuple[tv_tensors.Image, dict]:
        """Pixels uint8 [3, H, W]; boxes float32 [n, 4] (left, top, right, bottom), labels int64 [n] from 1, masks uint8
        [n, H, W]."""
        about, objects = self.coco.imgs[self.ids[i]], self.objects(self.ids[i])
        size = about["height"], about["width"]
        pixels = tv_tensors.Image(read_rgb(self.folder / about["file_name"]))
        boxes = torch.tensor([each["bbox"] for each in objects], dtype=torch.float32).reshape(-1, 4)
        boxes = tv_tensors.BoundingBoxes(boxes, format="XYWH", canvas_size=size)
        boxes = v2.functional.clamp_bounding_boxes(v2.functional.convert_bounding_box_format(boxes, new_format="XYXY"))
        masks = np.array([self.coco.annToMask(each) for each in objects], np.uint8).reshape(-1, *size)
        labels = [self.categories.index(each["category_id"]) + 1 for each in objects]
        return pixels, {
            "boxes": boxes,
            "labels": torch.tensor(labels, dtype=torch.int64),
            "masks": tv_tensors.Mask(masks),
        }


@contextlib.contextmanager
def quiet():
    """Without pycocotools' chatter."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


class Scenes(Dataset):
    """A micro-batch for (epoch, indices): a pure function of (seed, epoch, image)."""

    def __init__(
        self, instances: Instances, flip: float, crop: CropPolicy | None, seed: int,
        sizes: tuple[list[int], int] | None = None,
    ):  # fmt: skip
        """`sizes`: short sides, of which each image gets one, and the longest that its long side may get; None: as it is."""
        self.instances, self.flip, self.crop, self.seed = instances, flip, crop, seed
        # Without antialiasing, as the detector itself resizes what it is tested on.
        self.resize = v2.RandomShortestSize(*sizes, antialias=False) if sizes else v2.Identity()

    def __getitem__(self, key: tuple[int, np.ndarray]) -> dict:
        """images: a list of uint8 [3, H, W] of any sizes; targets: a list of theirs, without objects that a crop cut off."""
        epoch, indices = key
        scenes = [self._augmented(int(i), epoch) for i in indices]
        return {"images": [image for image, _ in scenes], "targets": [target for _, target in scenes]}

    def _augmented(self, i: int, epoch: int) -> tuple[torch.Tensor, dict]:
        with seeded(self.seed, "augment", epoch, i):
            scene = v2.RandomHorizontalFlip(self.flip)(*self.instances[i])
            if self.crop and torch.rand(()) < 0.5:
                scene = cropped(*scene, self.crop)
            scene = self.resize(*scene)
        pixels, target = v2.SanitizeBoundingBoxes(min_size=1, labels_getter=itself)(*scene)
        return pixels.as_subclass(torch.Tensor), {name: part.as_subclass(torch.Tensor) for name, part in target.items()}


def itself(scene) -> tuple[torch.Tensor, torch.Tensor]:
    """What goes with the boxes."""
    return scene[1]["labels"], scene[1]["masks"]


def cropped(pixels, target: dict, crop: CropPolicy) -> tuple:
    """DETR's policy, as the public code has it: a short side of one of `short_sides`, then a crop of sides in `range`."""
    pixels, target = v2.RandomShortestSize(crop.short_sides)(pixels, target)
    low, high = crop.range
    height, width = (int(torch.randint(min(side, low), min(side, high) + 1, ())) for side in pixels.shape[-2:])
    return v2.RandomCrop((height, width))(pixels, target)
