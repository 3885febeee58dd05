import numpy as np

from cae.reporting.figures import figure3
from tests.reporting.figures.conftest import pictures, save

MASKS = np.random.default_rng(1).random((3, 4, 4)) < 0.5
BOXES = np.tile([[2.0, 3, 11, 17], [4.0, 0, 9, 8]], (3, 1, 1))


def inputs(folder):
    return save(
        folder / "figure3.npz", {"images": pictures(3, 20), "masks": MASKS, "boxes": BOXES, "labels": ["a", "b", "c"]}
    )


def test_figure3_covers_exactly_the_masked_patches(tmp_path):
    axes = np.reshape(figure3.draw(*inputs(tmp_path)).axes, (2, 3))
    for i, mask in enumerate(MASKS):
        cover = axes[0, i].images[1].get_array()
        assert np.array_equal(cover[..., 3] == 1, mask)


def test_figure3_has_the_same_images_twice_and_every_crop_below(tmp_path):
    axes = np.reshape(figure3.draw(*inputs(tmp_path)).axes, (2, 3))
    for i, image in enumerate(pictures(3, 20)):
        assert all(np.array_equal(ax.images[0].get_array(), image) for ax in axes[:, i])
        assert not axes[0, i].patches
        boxes = [patch.get_bbox().bounds for patch in axes[1, i].patches]  # each with its rim
        assert boxes == [(1.5, 2.5, 9, 14)] * 2 + [(3.5, -0.5, 5, 8)] * 2
