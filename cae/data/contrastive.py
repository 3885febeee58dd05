"""Micro-batches of several views of each image, for methods that compare them."""

from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import Dataset

from cae.data import colours
from cae.data.datasets import Images
from cae.data.views import BICUBIC, crop_boxes, render
from cae.params import Crop


@dataclass(frozen=True)
class Look:
    """One view: its crop, its side in pixels, how often it is blurred and solarised."""

    crop: Crop
    size: int
    blur: float
    solarise: float = 0.0
    resample: str = BICUBIC


class Views(Dataset):
    """A micro-batch for (draw, indices): random crops, and how their colours are to be changed (`colours.change`).

    A pure function of (seed, draw, image); the draw is the epoch. `side` of the model's images, in pixels: blur grows with it.
    """

    def __init__(self, images: Images, looks: list[Look], seed: int, side: int):
        self.images, self.looks, self.seed, self.side = images, looks, seed, side

    def __getitem__(self, key: tuple[int, np.ndarray]) -> dict[str, list[torch.Tensor]]:
        """views: uint8 [B, S, S, 3], each with its own S; colours: of each view, float32 [B, n]."""
        epoch, indices = key
        images = [self.images.pixels(i) for i in indices]
        heights, widths = np.array([image.shape[:2] for image in images]).T
        views, changes = [], []
        for number, look in enumerate(self.looks, epoch * len(self.looks)):
            boxes, flips = crop_boxes(look.crop, self.seed, indices, number, widths, heights)
            crops = zip(images, boxes, flips)
            views.append(np.stack([render(*crop, look.size, look.resample) for crop in crops]))
            changes.append(colours.draw(self.seed, number, indices, look.blur, look.solarise, self.side))
        return {name: [torch.from_numpy(each) for each in parts]
                for name, parts in (("views", views), ("colours", changes))}  # fmt: skip
