"""How often pixels are cropped and patches masked: against a count of the same draws, one by one."""

import numpy as np
import pytest

from cae.analysis import masks_and_crops
from cae.data.masks import draw_masks
from cae.data.views import crop_boxes


@pytest.fixture
def job(tiny):
    parts = {name: getattr(tiny, name) for name in ("image", "view", "seed")}
    return masks_and_crops.MasksAndCropsJob(figure3=tiny.analyses.figure3, mask=tiny.shared_mask, **parts)


def test_frequencies_are_counts_of_the_draws(job, monkeypatch):
    monkeypatch.setattr(masks_and_crops, "DRAWS", 50)
    found, size, grid = masks_and_crops.frequencies(job), job.image.size, job.image.grid
    pixels, patches = np.zeros((size, size)), np.zeros((grid, grid))
    for i in range(50):
        left, top, right, bottom = crop_boxes(job.view, job.seed, [i], 0, [size], [size])[0][0]
        pixels[top:bottom, left:right] += 1
        patches += draw_masks(job.mask, [i], seed=job.seed, epoch=0, grid=grid)[0]
    np.testing.assert_allclose(found["crop_frequency"] * 50, pixels)
    np.testing.assert_allclose(found["mask_frequency"] * 50, patches)


def test_half_of_the_patches_are_masked_and_the_centre_is_cropped_more_often_than_a_corner(job):
    found, size = masks_and_crops.frequencies(job), job.image.size
    assert found["mask_frequency"].mean() == pytest.approx(0.5)
    assert found["crop_frequency"][size // 2, size // 2] > 3 * found["crop_frequency"][0, 0] > 0
