"""Colours of a view, changed as contrastive methods do (Grill et al. 2020, "BYOL", Table 6).

What is done to each view is drawn where images are loaded, as numbers; it is done where the model is, to a whole batch at once,
without a loop over its images or a word from the device. Brightness, contrast, saturation and grey are one operation: a
blend of pixels, their grey and its mean. Nothing is rounded to whole grey levels in between, as it is in the public codes.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from cae.data.rng import uniforms

JITTER = 0.8  # how often
BRIGHTNESS, CONTRAST, SATURATION, HUE = 0.4, 0.4, 0.2, 0.1  # by how much: a share, of hue a turn
GREY, LUMA = 0.2, (0.299, 0.587, 0.114)
RADIUS, SIDE = (0.1, 2.0), 224  # of blur, in pixels, where images have that side; of others in proportion
UNCHANGED = 1.0, 0.0, 0.0  # shares of a blend: the pixels, their grey, its mean


def draw(
    seed: int, draws: int | np.ndarray, indices: np.ndarray, blur: float, solarise: float, side: int = SIDE
) -> np.ndarray:
    """Draw what to do to a view of each image, float32 [B, n]: a pure function of (seed, draw, image).

    `draws`: a number for each view of an image that is ever drawn; `blur`, `solarise`: how often; `side`: of the images that
    the model is for, in pixels. Brightness, contrast, saturation and hue come in random order.
    """
    jitter, brightness, contrast, saturation, hue, *order, grey, blurred, radius, solarised = uniforms(
        13, seed, "augment", draws, indices
    ).T
    jittered = jitter < JITTER

    def factor(amount: float, uniform: np.ndarray) -> np.ndarray:
        return np.where(jittered, 1 + amount * (2 * uniform - 1), 1.0)

    brightness, contrast, saturation = (
        factor(*each) for each in ((BRIGHTNESS, brightness), (CONTRAST, contrast), (SATURATION, saturation))
    )
    none, whole = np.zeros(len(indices)), np.ones(len(indices))
    blends = np.array([
        [brightness, none, none],
        [contrast, none, 1 - contrast],
        [saturation, 1 - saturation, none],
        [whole, none, none],  # the place of hue, which blends nothing
    ]).transpose(2, 0, 1)  # fmt: skip
    order = np.argsort(order, axis=0).T
    blends, hue_at = np.take_along_axis(blends, order[..., None], 1), (order == 3).argmax(1)[:, None]
    before = np.where((np.arange(3) < hue_at)[..., None], blends[:, :3], UNCHANGED)
    after = np.where((np.arange(1, 4) > hue_at)[..., None], blends[:, 1:], UNCHANGED)
    to_grey = np.where((grey < GREY)[:, None], [0, 1, 0], UNCHANGED)
    sixths = np.where(jittered, 6 * HUE * (2 * hue - 1), 0)  # of a turn
    low, high = np.array(RADIUS) * (side / SIDE)
    weights = blur_weights(np.where(blurred < blur, low + (high - low) * radius, 0), reach_of(high))
    parts = before, after, to_grey, sixths, weights, solarised < solarise
    return np.concatenate([np.reshape(part, (len(indices), -1)) for part in parts], 1).astype(np.float32)


def parts_of(colours: Tensor) -> tuple[Tensor, ...]:
    """Split [B, n] into blends before the change of hue and after it, hue, weights of the blur, solarisation."""
    return colours.split((9, 12, 1, colours.shape[1] - 23, 1), 1)


def reach_of(radius: float) -> int:
    """Return how many pixels away a blur reaches."""
    return 3 * (int(_half_of_a_box(radius**2 / 3)) + 1)


def _half_of_a_box(variance):
    """Return how many whole pixels a box of that variance has on each side of its middle."""
    return np.floor((np.sqrt(12 * variance + 1) - 1) / 2)


def blur_weights(radius: np.ndarray, reach: int) -> np.ndarray:
    """Return weights [B, 2 * reach + 1] of pixels: three boxes in a row, of a Gaussian's variance together, as PIL blurs."""
    variance = radius[:, None] ** 2 / 3
    whole = _half_of_a_box(variance)
    half = whole + (2 * whole + 1) * (whole * (whole + 1) - 3 * variance) / (6 * (variance - (whole + 1) ** 2))
    box = np.clip(half + 1 - np.abs(np.arange(-reach // 3, reach // 3 + 1)), 0, 1) / (2 * half + 1)
    spectrum = np.fft.rfft(box, 2 * reach + 1) ** 3
    return np.fft.irfft(spectrum, 2 * reach + 1)


def recoloured(batch: dict, views: slice) -> Tensor:
    """Return some views of a batch, of one size S, one after the other [n * B, S, S, 3].

    Their colours are changed as the batch's `colours` say; without these the views stay uint8.
    """
    pixels = torch.cat(batch["views"][views])
    return change(pixels, torch.cat(batch["colours"][views])) if "colours" in batch else pixels


@torch.no_grad()
def change(pixels: Tensor, colours: Tensor) -> Tensor:
    """Pixels uint8 [B, S, S, 3] changed as `colours` [B, n] say, to float32 in [0, 255], on their device."""
    together = 1 if _looks(pixels) else len(pixels)  # one image stays in a CPU's cache
    with torch.autocast(pixels.device.type, enabled=False):  # bfloat16 has fewer digits than pixels
        parts = zip(pixels.permute(0, 3, 1, 2).split(together), colours.split(together))
        return torch.cat([_change(*part) for part in parts]).permute(0, 2, 3, 1)


def _change(pixels: Tensor, colours: Tensor) -> Tensor:
    x = pixels.to(torch.float32, memory_format=torch.contiguous_format)
    before, after, hue, weights, solarise = parts_of(colours)
    x = blends(x, before)
    if needed(hue != 0):
        x = turn_hue(x, hue[..., None, None])
    x = blends(x, after)
    if needed(weights[:, weights.shape[1] // 2] != 1):
        x = blur(x, weights)
    if needed(solarise > 0):
        x = torch.where((solarise[..., None, None] > 0) & (x >= 127.5), 255 - x, x)
    return x


def needed(changes: Tensor) -> bool:
    """Whether any image changes, where that is known without waiting for a device; else True."""
    return not _looks(changes) or bool(changes.any())


def _looks(x: Tensor) -> bool:
    """Whether what is done may hang on values: a CPU has them at hand; a compiled model would be another for each."""
    return x.is_cpu and not torch.compiler.is_compiling()


def blends(x: Tensor, shares: Tensor) -> Tensor:
    """Images [B, 3, S, S] blended again and again, as [B, 3 n] say."""
    for each in shares.split(3, 1):
        if needed(each[:, 0] != 1):
            x = blend(x, *each[..., None, None, None].unbind(1))
    return x


def grey_of(x: Tensor) -> Tensor:
    """[B, 3, S, S] to [B, 1, S, S]."""
    red, green, blue = x.split(1, 1)
    return (LUMA[0] * red).add_(green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2])


def blend(x: Tensor, pixels: Tensor, grey: Tensor, mean: Tensor) -> Tensor:
    """Images [B, 3, S, S] to as many shares of themselves, of their grey and of its mean (each [B, 1, 1, 1])."""
    luma = grey_of(x)
    other = torch.addcmul(mean * luma.mean((2, 3), keepdim=True), grey, luma)
    return torch.addcmul(other, pixels, x).clamp_(0, 255)


def turn_hue(x: Tensor, sixths: Tensor) -> Tensor:
    """Images [B, 3, S, S] with the hue of HSV turned by sixths of a turn, [B, 1, 1, 1]."""
    red, green, blue = x.split(1, 1)
    top = x.amax(1, keepdim=True)
    chroma = top - x.amin(1, keepdim=True)
    per = 1 / chroma.clamp(min=1e-6)  # of grey the numerators below are 0
    green_or_blue = torch.where(top == green, (blue - red) * per + 2, (red - green) * per + 4)
    hue = torch.where(top == red, (green - blue) * per, green_or_blue)
    starts = torch.cat([torch.full_like(sixths, start) for start in (5, 3, 1)], 1)  # where a channel is full
    away = hue + (sixths + starts)
    away = away - 6 * (away / 6).floor()
    return top - chroma * torch.minimum(away, 4 - away).clamp_(0, 1)


def blur(x: Tensor, weights: Tensor) -> Tensor:
    """Images [B, C, S, S], each by its own `weights` [B, 2 * reach + 1] along rows and columns; beyond an edge its pixels go
    on."""
    (b, c, *size), reach = x.shape, weights.shape[1] // 2
    rows = weights.repeat_interleave(c, 0)[:, None, None]
    x = F.pad(x, [reach] * 4, mode="replicate").flatten(0, 1)[None]
    x = F.conv2d(F.conv2d(x, rows, groups=b * c), rows.transpose(2, 3), groups=b * c)
    return x.view(b, c, *size)
