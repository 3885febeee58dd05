"""Augmentations of contrastive pretraining (Grill et al. 2020, "BYOL", Table 6; MoCo v3 and DINO), on torchvision's."""

from collections.abc import Callable

import torch
from PIL import Image, ImageFilter
from torchvision import transforms as T

from cae.params import Crop

BICUBIC, BILINEAR = T.InterpolationMode.BICUBIC, T.InterpolationMode.BILINEAR


def contrastive(
    size: int, crop: Crop, scale: list[float], blur: float, solarize: float, interpolation=BICUBIC
) -> Callable:
    """A random crop of `scale` at `size` pixels, with colours changed; `blur`, `solarize`: how often."""
    return T.Compose([
        T.RandomResizedCrop(size, tuple(scale), tuple(crop.ratio), interpolation=interpolation),
        T.RandomHorizontalFlip(crop.flip),
        T.RandomApply([T.ColorJitter(0.4, 0.4, 0.2, 0.1)], 0.8),
        T.RandomGrayscale(0.2),
        T.RandomApply([gaussian_blur], blur),
        T.RandomSolarize(128, solarize),
    ])  # fmt: skip


def gaussian_blur(image: Image.Image) -> Image.Image:
    """PIL's, of a radius between 0.1 and 2 pixels, as the public codes have it."""
    return image.filter(ImageFilter.GaussianBlur(float(torch.empty(1).uniform_(0.1, 2.0))))
