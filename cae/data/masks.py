"""Which patches are masked: block-wise (paper §2.2, Figure 3; BEiT's algorithm) or at random."""

from math import sqrt

import numpy as np

from cae.data.rng import uniforms
from cae.params import Mask

DRAWN = 32  # attempts drawn at once; nine masks of ten take no more


def draw_masks(recipe: Mask, indices: np.ndarray, *, seed: int, epoch: int, grid: int) -> np.ndarray:
    """Masks bool [B, grid, grid] of images `indices` in an epoch, exactly `recipe.count` patches masked in each."""
    if recipe.kind == "random":
        return random_masks(indices, seed=seed, epoch=epoch, grid=grid, count=recipe.count)
    return block_masks(
        indices, seed=seed, epoch=epoch, grid=grid, count=recipe.count, min_block=recipe.min_block,
        min_aspect=recipe.min_aspect,
    )  # fmt: skip


def random_masks(indices: np.ndarray, *, seed: int, epoch: int, grid: int, count: int) -> np.ndarray:
    """`count` patches of each image, every set of so many as likely as any other (MAE)."""
    ranks = uniforms(grid**2, seed, "mask", epoch, np.asarray(indices)).argsort(1, kind="stable").argsort(1)
    return (ranks < count).reshape(-1, grid, grid)


def block_masks(
    indices: np.ndarray, *, seed: int, epoch: int, grid: int, count: int, min_block: int, min_aspect: float
) -> np.ndarray:
    """Masks bool [B, grid, grid] with exactly `count` masked patches each.

    Blocks are added until `count` is met: area uniform between `min_block` and what remains, aspect ratio
    log-uniform in [min_aspect, 1 / min_aspect], position uniform; a block that does not fit, adds nothing or
    adds too much is drawn again. BEiT stops short instead of drawing again; CAE needs equal counts.

    Random numbers are drawn for the batch, blocks are laid one by one in Python's integers, a bit a patch: each depends on
    the last, and NumPy's calls would cost more than their work.
    """
    indices = np.asarray(indices)
    masks, active, first = [0] * len(indices), range(len(indices)), 0
    while active:
        u = uniforms(4, seed, "mask", epoch, indices[active, None], np.arange(first, first + DRAWN))
        u[..., 1] = np.exp((2 * u[..., 1] - 1) * -np.log(min_aspect))
        for i, draws in zip(active, u):
            masks[i] = _with_blocks(masks[i], draws.tolist(), grid, count, min_block)
        active = [i for i in active if masks[i].bit_count() < count]
        first += DRAWN
    size = -(-(grid**2) // 8)
    packed = np.frombuffer(b"".join(mask.to_bytes(size, "little") for mask in masks), np.uint8).reshape(-1, size)
    return np.unpackbits(packed, axis=1, count=grid**2, bitorder="little").astype(bool).reshape(-1, grid, grid)


def _with_blocks(mask: int, draws: list[list[float]], grid: int, count: int, min_block: int) -> int:
    """The mask after attempts (share of the area, aspect, share of top, share of left); patch (y, x) is bit y * grid + x."""
    remaining, below = count - mask.bit_count(), (1 << grid) - 1
    for area, aspect, top, left in draws:
        low, high = (min_block, remaining) if min_block < remaining else (remaining, min_block)
        area = low + area * (high - low)
        h, w = round(sqrt(area * aspect)), round(sqrt(area / aspect))
        if h >= grid or w >= grid:
            continue
        column = ((1 << grid * h) - 1) // below  # the first patch of h rows
        block = column * ((1 << w) - 1) << int(top * (grid - h + 1)) * grid + int(left * (grid - w + 1))
        new = (block & ~mask).bit_count()
        if 0 < new <= remaining:
            mask |= block
            remaining -= new
            if not remaining:
                break
    return mask


def split_ids(masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Patch indices (visible [B, N - count], masked [B, count]), each ascending, of masks [B, grid, grid]."""
    flat = masks.reshape(len(masks), -1)
    order = np.argsort(flat, axis=1, kind="stable")
    visible = flat.shape[1] - int(flat[0].sum())
    return order[:, :visible], order[:, visible:]
