"""Augmentations: of contrastive pretraining (Grill et al. 2020, "BYOL", Table 6; MoCo v3 and DINO), on torchvision's, and
RandAugment, timm's."""

from collections.abc import Callable

import torch
from PIL import Image, ImageFilter, ImageOps
from timm.data.auto_augment import RandAugment, rand_augment_transform
from torchvision import transforms as T

from cae.data.pixels import MEAN
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


def rand_augment(notation: str, size: int) -> RandAugment:
    """timm's RandAugment with the options that DeiT's and BEiT's public codes give it; `notation`: rand-m9-mstd0.5-inc1."""
    options = {"translate_const": int(size * 0.45), "img_mean": tuple(round(255 * mean) for mean in MEAN),
               "interpolation": Image.Resampling.BICUBIC}  # fmt: skip
    transform = rand_augment_transform(notation, options)
    for op in transform.ops:
        if op.name.startswith("Posterize"):
            op.aug_fn = posterize
    return transform


def posterize(image: Image.Image, bits: int, **_) -> Image.Image:
    """All black where no bit is kept: timm asks for that at full magnitude, and Pillow has come to refuse it."""
    return ImageOps.posterize(image, bits) if bits else Image.new(image.mode, image.size)
