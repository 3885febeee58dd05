"""Figure 3: random block-wise masks, and the random crops that contrastive methods compare."""

import numpy as np

from cae.data.datasets import Images
from cae.data.masks import draw_masks
from cae.data.views import centre_crop, crop_boxes
from cae.files import atomic
from cae.options import Data, OutputFile, params_of
from cae.params import Figure3, Image, Mask, Strict, View

DRAWS = 4096  # of the frequencies: a standard error below 0.01


class MasksAndCropsJob(Strict):
    figure3: Figure3
    image: Image
    view: View
    mask: Mask
    seed: int


def frequencies(p: MasksAndCropsJob) -> dict[str, np.ndarray]:
    """crop_frequency [S, S]: how often each pixel of a square image lies in a random crop; mask_frequency [grid, grid]: how
    often each patch is masked."""
    draws, side = np.arange(DRAWS), np.full(DRAWS, p.image.size)
    left, top, right, bottom = crop_boxes(p.view, p.seed, draws, 0, side, side)[0].T
    corners = np.zeros((p.image.size + 1, p.image.size + 1))  # a pixel's count is the sum of all above and left of it
    for y, x, sign in ((top, left, 1), (bottom, right, 1), (top, right, -1), (bottom, left, -1)):
        np.add.at(corners, (y, x), sign)
    masks = draw_masks(p.mask, draws, seed=p.seed, epoch=0, grid=p.image.grid)
    return {"crop_frequency": corners.cumsum(0).cumsum(1)[:-1, :-1] / DRAWS, "mask_frequency": masks.mean(0)}


def main(*, data: Data, params: params_of(MasksAndCropsJob), output: OutputFile) -> None:
    """Draw masks and crops, and count where they are (Figure 3).

    images uint8 [n, S, S, 3]; masks bool [n, grid, grid]; boxes float [n, crops, 4] in pixels; labels [n]; `frequencies`.
    """
    p, images = params, Images(data, 1)
    indices = np.linspace(0, len(images) - 1, p.figure3.images).astype(int)
    pixels = np.stack([centre_crop(images[i], p.image.size) for i in indices])
    masks = draw_masks(p.mask, indices, seed=p.seed, epoch=0, grid=p.image.grid)
    side = np.full(len(indices), p.image.size)
    boxes = [crop_boxes(p.view, p.seed, indices, k, side, side)[0] for k in range(p.figure3.crops)]
    labels = [images.classes[images.labels[i]] for i in indices]
    with atomic(output) as temporary:
        np.savez(
            temporary, images=pixels, masks=masks, boxes=np.stack(boxes, 1).astype(float), labels=labels, **frequencies(p)
        )  # fmt: skip
