import numpy as np

from cae.reporting.figures import figure3
from tests.reporting.figures.conftest import pictures, save

MASKS = np.random.default_rng(1).random((3, 4, 4)) < 0.5
BOXES = np.tile([[2.0, 3, 11, 17], [4.0, 0, 9, 8]], (3, 1, 1))
FREQUENCIES = {
    "mask_frequency": np.linspace(0.48, 0.52, 16).reshape(4, 4),
    "crop_frequency": np.linspace(0.1, 0.9, 400).reshape(20, 20),
}


def inputs(folder):
    data = {"images": pictures(3, 20), "masks": MASKS, "boxes": BOXES, "labels": ["a", "b", "c"], **FREQUENCIES}
    return save(folder / "figure3.npz", data)


def test_figure3_covers_exactly_the_masked_patches(tmp_path):
    axes = np.reshape(figure3.draw(*inputs(tmp_path)).axes[:8], (2, 4))
    for i, mask in enumerate(MASKS):
        cover = axes[0, i].images[1].get_array()
        assert np.array_equal(cover[..., 3] == 1, mask)


def test_figure3_has_the_same_images_twice_and_every_crop_below(tmp_path):
    axes = np.reshape(figure3.draw(*inputs(tmp_path)).axes[:8], (2, 4))
    for i, image in enumerate(pictures(3, 20)):
        assert all(np.array_equal(ax.images[0].get_array(), image) for ax in axes[:, i])
        assert not axes[0, i].patches
        boxes = [patch.get_bbox().bounds for patch in axes[1, i].patches]  # each with its rim
        assert boxes == [(1.5, 2.5, 9, 14)] * 2 + [(3.5, -0.5, 5, 8)] * 2


def test_figure3_maps_both_frequencies_on_one_scale_with_their_ranges(tmp_path):
    figure = figure3.draw(*inputs(tmp_path))
    maps = figure.axes[3], figure.axes[7]
    for ax, (name, frequency) in zip(maps, FREQUENCIES.items()):
        assert np.array_equal(ax.images[0].get_array(), frequency) and ax.images[0].get_clim() == (0, 1), name
    assert [ax.get_title() for ax in maps] == ["how often masked:\n48% to 52%", "how often inside:\n10% to 90%"]
    assert len(figure.axes) == 9  # and a colour bar
