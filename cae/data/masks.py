"""Which patches are masked: block-wise (paper §2.2, Figure 3; BEiT's algorithm, vectorised over the batch) or at random."""

import numpy as np

from cae.data.rng import MASK, uniforms
from cae.params import Mask


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
    ranks = uniforms(grid**2, seed, MASK, epoch, np.asarray(indices)).argsort(1, kind="stable").argsort(1)
    return (ranks < count).reshape(-1, grid, grid)


def block_masks(
    indices: np.ndarray, *, seed: int, epoch: int, grid: int, count: int, min_block: int, min_aspect: float
) -> np.ndarray:
    """Masks bool [B, grid, grid] with exactly `count` masked patches each.

    Blocks are added until `count` is met: area uniform between `min_block` and what remains, aspect ratio
    log-uniform in [min_aspect, 1 / min_aspect], position uniform; a block that does not fit, adds nothing or
    adds too much is drawn again. BEiT stops short instead of drawing again; CAE needs equal counts.
    """
    indices = np.asarray(indices)
    rows = np.zeros((len(indices), grid), np.uint64)  # one bit a patch, one word a grid row
    remaining = np.full(len(indices), count)
    active = np.arange(len(indices))
    log_aspect = -np.log(min_aspect)
    y = np.arange(grid)
    attempt = 0
    while active.size:
        u = uniforms(4, seed, MASK, epoch, indices[active], attempt)
        left_over = remaining[active]
        low, high = np.minimum(min_block, left_over), np.maximum(min_block, left_over)
        area = low + u[:, 0] * (high - low)
        aspect = np.exp((2 * u[:, 1] - 1) * log_aspect)
        h = np.rint(np.sqrt(area * aspect)).astype(np.int64)
        w = np.rint(np.sqrt(area / aspect)).astype(np.int64)
        fits = (h < grid) & (w < grid)
        h, w = np.minimum(h, grid), np.minimum(w, grid)  # keeps the shifts below valid where it does not fit
        top = (u[:, 2] * (grid - h + 1)).astype(np.int64)
        left = (u[:, 3] * (grid - w + 1)).astype(np.int64)
        bits = ((np.uint64(1) << w.astype(np.uint64)) - np.uint64(1)) << left.astype(np.uint64)
        inside = (y >= top[:, None]) & (y < (top + h)[:, None])
        block = np.where(inside, bits[:, None], np.uint64(0))
        new = np.bitwise_count(block & ~rows[active]).sum(1)
        accept = fits & (new > 0) & (new <= left_over)
        rows[active[accept]] |= block[accept]
        remaining[active[accept]] -= new[accept].astype(np.int64)
        active = active[remaining[active] > 0]
        attempt += 1
    return (rows[:, :, None] >> y.astype(np.uint64) & np.uint64(1)).astype(bool)


def split_ids(masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Patch indices (visible [B, N - count], masked [B, count]), each ascending, of masks [B, grid, grid]."""
    flat = masks.reshape(len(masks), -1)
    order = np.argsort(flat, axis=1, kind="stable")
    visible = flat.shape[1] - int(flat[0].sum())
    return order[:, :visible], order[:, visible:]
