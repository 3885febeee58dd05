"""Views: the crop and flip that pretraining sees, as a pure function of (seed, image, view); and evaluation crops."""

import math

import numpy as np
from PIL import Image

from cae.data.rng import seeded, uniforms
from cae.params import Crop, View

TRIES = 10  # of random resized crop, before it falls back to the centre (as torchvision's)

BICUBIC, BILINEAR, LANCZOS = "bicubic", "bilinear", "lanczos"


def crop_boxes(
    recipe: Crop, seed: int, indices: np.ndarray, view: int | np.ndarray, widths: np.ndarray, heights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Random resized crops: boxes int64 [B, 4] (left, top, right, bottom) in pixels, and flips bool [B].

    The rule is torchvision's `RandomResizedCrop`: ten tries of (area, aspect), else the largest centred crop of an
    allowed aspect. The public code flips before it crops; flipping the crop instead has the same distribution.
    For linear probing alone the public code draws once and cuts what does not fit down to the image (BYOL's rule; the
    paper names none). Here both probes see these crops, in their one pass of the encoder. On 500 x 375 pixels, scale
    0.08 to 1, a quarter of first draws do not fit: a crop has 43 % of the image on average, by BYOL's rule 52 %.
    """
    indices, widths, heights = (np.asarray(a, np.int64) for a in (indices, widths, heights))
    u = uniforms(1 + 4 * TRIES, seed, "view", view, indices)
    flips = u[:, 0] < recipe.flip
    area_u, aspect_u, top_u, left_u = u[:, 1:].reshape(-1, TRIES, 4).transpose(2, 0, 1)
    w_image, h_image = widths[:, None], heights[:, None]
    area = w_image * h_image * (recipe.scale[0] + area_u * (recipe.scale[1] - recipe.scale[0]))
    low, high = np.log(recipe.ratio)
    aspect = np.exp(low + aspect_u * (high - low))
    w, h = np.rint(np.sqrt(area * aspect)).astype(np.int64), np.rint(np.sqrt(area / aspect)).astype(np.int64)
    fits = (w > 0) & (w <= w_image) & (h > 0) & (h <= h_image)
    top = ((h_image - h + 1) * top_u).astype(np.int64)
    left = ((w_image - w + 1) * left_u).astype(np.int64)
    first = fits.argmax(1)
    tried = np.stack([left, top, left + w, top + h], -1)[np.arange(len(indices)), first]
    return np.where(fits.any(1)[:, None], tried, _centre_boxes(recipe, widths, heights)), flips


def _centre_boxes(recipe: Crop, widths: np.ndarray, heights: np.ndarray) -> np.ndarray:
    w = np.minimum(widths, np.rint(heights * recipe.ratio[1])).astype(np.int64)
    h = np.minimum(heights, np.rint(widths / recipe.ratio[0])).astype(np.int64)
    left, top = (widths - w) // 2, (heights - h) // 2
    return np.stack([left, top, left + w, top + h], -1)


def jitter(pixels: np.ndarray, recipe: View, seed: int, index: int, view: int) -> np.ndarray:
    """The whole image, uint8 [H, W, 3], with brightness, contrast and saturation changed, in random order (BEiT's code)."""
    if not recipe.jitter:
        return pixels
    from torchvision.transforms import ColorJitter  # seconds of importing that few recipes need

    with seeded(seed, "jitter", view, index):
        return np.asarray(ColorJitter(recipe.jitter, recipe.jitter, recipe.jitter)(Image.fromarray(pixels)))


def render(image: Image.Image | np.ndarray, box, flip: bool, size: int, resample=BICUBIC) -> np.ndarray:
    """The crop at `size` pixels: uint8 [size, size, 3]; cropped, then resized, so that nothing outside of the box is seen.

    By PyTorch's antialiased resize, which is PIL's filter and several times as fast: 99.98 % of photographs' values are PIL's
    within one grey level. The rest lie where the filter overshoots black or white, which is cut off between its two passes:
    PyTorch makes the horizontal one first, PIL the cheaper one. Lanczos, which older PyTorch lacks, is PIL's own.
    """
    import torch  # a second that crops alone do without
    from torch.nn.functional import interpolate

    left, top, right, bottom = box
    crop = np.asarray(image)[top:bottom, left:right]
    if resample == LANCZOS:
        pixels = np.asarray(Image.fromarray(crop).resize((size, size), Image.Resampling.LANCZOS))
    else:
        planes = torch.from_numpy(crop[None].copy()).permute(0, 3, 1, 2)
        planes = interpolate(planes, (size, size), mode=resample, antialias=True)
        pixels = planes.permute(0, 2, 3, 1)[0].contiguous().numpy()
    return pixels[:, ::-1] if flip else pixels


def centre_crop(image: Image.Image, size: int) -> np.ndarray:
    """Evaluation crop: short side to size * 256 / 224, bicubic, then the central square; uint8 [size, size, 3]."""
    short = math.floor(size * 256 / 224)
    scale = short / min(image.size)
    w, h = (max(short, round(side * scale)) for side in image.size)
    image = image.resize((w, h), Image.Resampling.BICUBIC)
    left, top = round((w - size) / 2), round((h - size) / 2)
    return np.asarray(image.crop((left, top, left + size, top + size)))
