"""ADE20K's images and labels, as the public code (mmsegmentation) trains and tests on them."""

from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from cae.data.datasets import Images, annotation_of, read_labels
from cae.data.pixels import IGNORED, MEAN
from cae.data.rng import seeded
from cae.params import SegmentationShared

GREY = [round(255 * mean) for mean in MEAN]  # zero, once normalised
TRIES = 10  # of a crop that is not nearly all of one class
# Each for half of the images. mmsegmentation's adds up to 32 grey levels where this multiplies brightness by 1 ± 32/255,
# changes contrast about black, not about the image's mean, and half the time last; its 180 degrees of hue are all of them.
DISTORTION = v2.Compose([
    v2.RandomApply([v2.ColorJitter(**{name: amount})], 0.5)
    for name, amount in {"brightness": 32 / 255, "contrast": 0.5, "saturation": 0.5, "hue": 18 / 180}.items()
])  # fmt: skip


class Labelled:
    """One split: pixels uint8 [3, H, W] and labels uint8 [H, W], from 0; IGNORED where ADE20K has 0."""

    def __init__(self, manifest: str | Path, split: int):
        self.images = Images(manifest, split)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> tuple[tv_tensors.Image, tv_tensors.Mask]:
        labels = read_labels(annotation_of(self.images.root / self.images.paths[i])) - np.uint8(1)  # 0 becomes 255
        return tv_tensors.Image(self.images[i]), tv_tensors.Mask(labels)


class Crops(Dataset):
    """A micro-batch to train on for (epoch, indices): a pure function of (seed, epoch, image).

    Resized by a random ratio, cropped, flipped, distorted in colour, padded: pixels uint8 [B, S, S, 3], labels int64
    [B, S, S].
    """

    def __init__(self, images: Labelled, params: SegmentationShared, seed: int):
        self.images, self.params, self.seed = images, params, seed

    def __getitem__(self, key: tuple[int, np.ndarray]) -> dict[str, torch.Tensor]:
        epoch, indices = key
        crops = [self._crop(int(i), epoch) for i in indices]
        pixels, labels = (torch.stack([part.as_subclass(torch.Tensor) for part in parts]) for parts in zip(*crops))
        return {"pixels": pixels.permute(0, 2, 3, 1), "labels": labels.long()}

    def _crop(self, i: int, epoch: int):
        p = self.params
        with seeded(self.seed, "augment", epoch, i):
            ratio = float(torch.empty(()).uniform_(*p.ratio))
            scene = [fit(part, [ratio * side for side in p.scale]) for part in self.images[i]]
            scene = varied_crop(*scene, p.crop, p.max_share)
            scene = v2.RandomHorizontalFlip(p.flip)(*scene)
            pixels, labels = DISTORTION(*scene) if p.distort else scene
            return padded(pixels, p.crop, GREY), padded(labels, p.crop, IGNORED)


def fit(part, scale: list[float]):
    """As large as fits into (long side, short side) with the same aspect."""
    long, short = max(part.shape[-2:]), min(part.shape[-2:])
    factor = min(scale[0] / long, scale[1] / short)
    return F.resize(part, [max(1, int(side * factor + 0.5)) for side in part.shape[-2:]])


def varied_crop(pixels, labels, crop: int, max_share: float) -> tuple:
    """A random crop in which no class has `max_share` of the labelled pixels or more, if one is found soon; 1: any crop."""
    height, width = (min(crop, side) for side in pixels.shape[-2:])
    for _ in range(TRIES):
        top, left = (
            int(torch.randint(0, side - part + 1, ())) for side, part in zip(pixels.shape[-2:], (height, width))
        )
        part = labels[top : top + height, left : left + width]
        counts = torch.bincount(part.flatten().long(), minlength=IGNORED + 1)[:IGNORED]
        if max_share == 1 or counts.max() < max_share * counts.sum():
            break
    return F.crop(pixels, top, left, height, width), F.crop(labels, top, left, height, width)


def padded(part, crop: int, fill):
    """At least `crop` pixels a side: with `fill` on the right and below."""
    right, below = (max(0, crop - side) for side in (part.shape[-1], part.shape[-2]))
    return F.pad(part, [0, 0, right, below], fill)


class Scenes(Dataset):
    """An image to test on: pixels uint8 [3, h, w], resized to `scale`; labels uint8 [H, W], as they are."""

    def __init__(self, images: Labelled, scale: list[int]):
        self.images, self.scale = images, scale

    def __getitem__(self, i: int) -> dict[str, torch.Tensor]:
        pixels, labels = self.images[i]
        resized = fit(pixels, self.scale)
        return {"pixels": resized.as_subclass(torch.Tensor), "labels": labels.as_subclass(torch.Tensor)}
