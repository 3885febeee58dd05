"""RandAugment, timm's."""

from PIL import Image, ImageOps
from timm.data.auto_augment import RandAugment, rand_augment_transform

from cae.data.pixels import MEAN


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
