import numpy as np

from cae.reporting.figures import figure6
from tests.reporting.figures.conftest import pictures, save, texts

HALF = np.array([[1, 1, 0], [0, 1, 0], [0, 0, 0]], bool)


def inputs(folder, images=3, **changes):
    maps = np.random.default_rng(0).dirichlet(np.ones(9), (2, images)).reshape(2, images, 3, 3)
    arrays = {
        "images": pictures(images), "models": ["moco-v3-b", "cae-b"], "maps": maps, "half": np.tile(HALF, (2, images, 1, 1)),
        "outside": np.array([[0.41, 0.002], [0.52, 0.003]]), "outside_area": 0.5,
        "half_patches": np.array([[0.22, 0.001], [0.44, 0.002]]),
    }  # fmt: skip
    return save(folder / "figure6.npz", arrays | changes)


def test_the_contour_of_patches_by_hand():
    segments = {tuple(map(tuple, segment)) for segment in figure6.contour(HALF).tolist()}
    upright = {((0, 0), (0, 1)), ((2, 0), (2, 1)), ((1, 1), (1, 2)), ((2, 1), (2, 2))}
    level = {((0, 0), (1, 0)), ((1, 0), (2, 0)), ((0, 1), (1, 1)), ((1, 2), (2, 2))}
    assert segments == upright | level


def test_figure6_draws_each_map_on_one_scale_with_its_contour_and_its_numbers(tmp_path):
    files = inputs(tmp_path)
    figure = figure6.draw(*files)
    axes, maps = np.reshape(figure.axes[:-1], (3, 3)), np.load(files[0])["maps"]
    assert [ax.get_ylabel() for ax in axes[:, 0]] == ["image", "moco-v3-b", "cae-b"]
    for row, model in zip(axes[1:], maps):
        for ax, each in zip(row, model, strict=True):
            np.testing.assert_allclose(ax.images[0].get_array(), 9 * each)  # 1: uniform
            assert len(ax.collections[0].get_segments()) == 8
    assert len({ax.images[0].get_clim() for ax in axes[1:].flat}) == 1
    words = texts(figure)
    assert "outside of centre 0.410 ± 0.002 (area 0.500) · no masks of objects here · half on 22% of patches" in words
    assert "outside of centre 0.520 ± 0.003 (area 0.500) · no masks of objects here · half on 44% of patches" in words


def test_figure6_says_what_lies_on_objects_where_there_are_masks(tmp_path):
    files = inputs(tmp_path, object=np.array([[0.6, 0.01], [0.3, 0.02]]), object_area=0.25)
    words = " ".join(texts(figure6.draw(*files)))
    assert "on objects 0.600 ± 0.010 (0.250)" in words and "no masks" not in words


def test_more_images_than_columns_go_on_below(tmp_path):
    figure = figure6.draw(*inputs(tmp_path, images=10))
    axes = np.reshape(figure.axes[:-1], (6, 8))
    assert [len(ax.images) for ax in axes[3]] == [len(ax.images) for ax in axes[5]] == [1, 1] + [0] * 6
    assert np.array_equal(axes[3, 1].images[0].get_array(), pictures(10)[9])
