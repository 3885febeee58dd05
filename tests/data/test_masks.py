"""Block-wise masks: counts, the published distribution, and independence of batch and order."""

import numpy as np
import pytest

from cae.data.masks import block_masks, draw_masks, random_masks, split_ids
from cae.data.rng import uniforms
from cae.params import Mask

PAPER = {"seed": 0, "epoch": 0, "grid": 14, "count": 98, "min_block": 16, "min_aspect": 0.3}
# Share of masks that hold each position, measured on 60,000 masks of the public generator;
# symmetrised quadrant of the 14 x 14 grid, the corner first.
QUADRANT = np.array([
    [0.062, 0.120, 0.171, 0.213, 0.244, 0.265, 0.276],
    [0.120, 0.228, 0.318, 0.388, 0.439, 0.472, 0.489],
    [0.171, 0.318, 0.435, 0.523, 0.584, 0.622, 0.643],
    [0.213, 0.388, 0.523, 0.619, 0.683, 0.723, 0.744],
    [0.244, 0.439, 0.584, 0.683, 0.748, 0.788, 0.809],
    [0.265, 0.472, 0.622, 0.723, 0.788, 0.826, 0.846],
    [0.276, 0.489, 0.643, 0.744, 0.809, 0.846, 0.864],
])  # fmt: skip


@pytest.fixture(scope="module")
def many():
    return block_masks(np.arange(40_000), **PAPER)


def test_exactly_98_of_196_patches_are_masked(many):
    assert (many.sum((1, 2)) == 98).all()


def test_positions_are_masked_as_often_as_by_the_public_generator(many):
    share = many.mean(0)
    for axis in (0, 1):
        share = (share + np.flip(share, axis)) / 2
    share = (share + share.T) / 2
    assert np.abs(share[:7, :7] - QUADRANT).max() < 0.01


def test_neighbours_agree_as_often_as_by_the_public_generator(many):
    assert (many[:, :, 1:] == many[:, :, :-1]).mean() == pytest.approx(0.882, abs=0.005)


def test_every_edge_can_be_masked(many):
    assert many[:, 0].any() and many[:, -1].any() and many[:, :, 0].any() and many[:, :, -1].any()


@pytest.mark.parametrize(
    "grid,count,min_block", [(14, 75, 16), (8, 32, 5), (6, 18, 3), (14, 1, 16), (14, 195, 16), (4, 15, 1)]
)
def test_other_grids_and_counts_are_exact(grid, count, min_block):
    masks = block_masks(np.arange(50), seed=1, epoch=2, grid=grid, count=count, min_block=min_block, min_aspect=0.3)
    assert masks.shape == (50, grid, grid) and (masks.sum((1, 2)) == count).all()


def one_by_one(index, seed, epoch, grid, count, min_block, min_aspect):
    """The same rule, patch by patch."""
    mask, attempt = np.zeros((grid, grid), bool), 0
    while (left := count - mask.sum()) > 0:
        u = uniforms(4, seed, "mask", epoch, index, attempt)
        area = min(min_block, left) + u[0] * (max(min_block, left) - min(min_block, left))
        aspect = np.exp((2 * u[1] - 1) * -np.log(min_aspect))
        h, w = int(np.rint(np.sqrt(area * aspect))), int(np.rint(np.sqrt(area / aspect)))
        if h < grid and w < grid:
            top, left_edge = int(u[2] * (grid - h + 1)), int(u[3] * (grid - w + 1))
            more = mask.copy()
            more[top : top + h, left_edge : left_edge + w] = True
            if 0 < more.sum() - mask.sum() <= left:
                mask = more
        attempt += 1
    return mask


@pytest.mark.parametrize("grid,count,min_block,min_aspect", [
    (14, 98, 16, 0.3), (14, 75, 16, 0.3), (14, 195, 16, 0.3), (6, 18, 3, 0.3), (8, 32, 5, 1.0), (5, 12, 2, 0.01),
    (24, 300, 16, 0.3),
])  # fmt: skip
def test_masks_are_those_laid_patch_by_patch(grid, count, min_block, min_aspect):
    rule = {"grid": grid, "count": count, "min_block": min_block, "min_aspect": min_aspect}
    for seed, epoch in ((0, 0), (3, 1599)):
        indices = np.array([0, 5, 1_281_166, 5, *range(100, 130)])
        expected = [one_by_one(i, seed, epoch, **rule) for i in indices]
        np.testing.assert_array_equal(block_masks(indices, seed=seed, epoch=epoch, **rule), expected)


def test_a_mask_depends_on_seed_epoch_and_image_alone():
    batch = block_masks(np.array([7, 3, 11]), **PAPER)
    alone = block_masks(np.array([3]), **PAPER)
    np.testing.assert_array_equal(batch[1], alone[0])
    for change in ({"seed": 1}, {"epoch": 1}):
        assert (block_masks(np.array([3]), **{**PAPER, **change}) != alone).any()


def test_split_ids_partition_the_patches():
    masks = block_masks(np.arange(5), **PAPER)
    visible, masked = split_ids(masks)
    assert visible.shape == masked.shape == (5, 98)
    for i in range(5):
        assert sorted([*visible[i], *masked[i]]) == list(range(196))
        assert masks[i].ravel()[masked[i]].all() and (np.diff(masked[i]) > 0).all()


def test_random_masks_are_exact_and_every_patch_is_as_likely():
    masks = random_masks(np.arange(20_000), seed=0, epoch=3, grid=14, count=147)
    assert (masks.sum((1, 2)) == 147).all()
    assert np.abs(masks.mean(0) - 0.75).max() < 0.015
    assert (masks[:, :, 1:] == masks[:, :, :-1]).mean() == pytest.approx((147 * 146 + 49 * 48) / (196 * 195), abs=0.003)
    np.testing.assert_array_equal(random_masks(np.array([5]), seed=0, epoch=3, grid=14, count=147)[0], masks[5])
    assert (random_masks(np.array([5]), seed=0, epoch=4, grid=14, count=147)[0] != masks[5]).any()


def test_params_pick_the_kind_of_mask():
    recipe = {"count": 98, "min_block": 16, "min_aspect": 0.3}
    blocks = draw_masks(Mask(kind="block", **recipe), np.arange(8), seed=0, epoch=0, grid=14)
    np.testing.assert_array_equal(blocks, block_masks(np.arange(8), **PAPER))
    scattered = draw_masks(Mask(kind="random", **recipe), np.arange(8), seed=0, epoch=0, grid=14)
    np.testing.assert_array_equal(scattered, random_masks(np.arange(8), seed=0, epoch=0, grid=14, count=98))
