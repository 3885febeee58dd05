import json

import numpy as np
import pytest

from cae.analysis.tsne import patch_labels, purity


def test_a_patch_has_the_class_of_more_than_half_its_pixels():
    labels = np.zeros((8, 8), np.uint8)
    labels[:4, :4] = 5  # all of a patch
    labels[:4, 4:6] = 7  # exactly half: no class
    labels[4:, :4] = 3
    labels[4, :4] = 9  # a quarter of it
    np.testing.assert_array_equal(patch_labels(labels, 2), [[5, 0], [3, 0]])


def test_unlabelled_majority_gives_no_class():
    labels = np.full((4, 4), 2, np.uint8)
    labels[:3] = 0
    assert patch_labels(labels, 1).item() == 0


@pytest.mark.parametrize("height,width,grid", [(240, 320, 8), (7, 5, 3), (14, 14, 14)])
def test_every_pixel_belongs_to_one_patch(height, width, grid):
    labels = np.ones((height, width), np.uint8)
    assert (patch_labels(labels, grid) == 1).all() and patch_labels(labels, grid).shape == (grid, grid)


@pytest.mark.parametrize("height, width", [(4, 200), (200, 4), (1, 1), (3, 7), (4, 8)])
def test_patches_of_less_than_a_pixel_have_the_pixel_that_their_middle_lies_in(height, width):
    grid, labels = 8, np.random.default_rng(0).integers(1, 3, (height, width), dtype=np.uint8)
    rows, columns = (
        ((np.arange(grid) + 0.5) / grid * side).astype(int) if side < grid else np.arange(side) for side in labels.shape
    )
    found = patch_labels(labels, grid)
    np.testing.assert_array_equal(found, patch_labels(labels[rows][:, columns], grid))  # a pixel or more a patch
    if max(height, width) <= grid:
        np.testing.assert_array_equal(found, labels[rows][:, columns])


def test_too_few_patches_for_tsne_are_told_with_the_keys_to_raise(run, tiny, data, pretrained, tmp_path):
    few = {"figure5": tiny.analyses.figure5.model_dump() | {"images": 2, "patches_per_class": 5}, "seed": 0}
    models = ["--models", pretrained("cae-b-300"), pretrained("cae-b-300")]
    with pytest.raises(
        SystemExit, match=r"\d+ patches of 2 images belong .* t-SNE needs more than 30; raise figure5.images"
    ):
        run("tsne", "--data", data["ade20k"], *models, "--params", json.dumps(few), "--output", tmp_path / "x.npz")


def test_purity_of_separate_and_of_mixed_points():
    rng = np.random.default_rng(0)
    labels = np.repeat([1, 2], 100)
    apart = rng.normal(size=(200, 2)) + 100 * labels[:, None]
    assert purity(apart, labels) == 1
    assert purity(rng.normal(size=(200, 2)), labels) == pytest.approx(0.5, abs=0.08)


def test_purity_elsewhere_does_not_reward_position():
    """Points know where they are and nothing else; where they are decides their label, as if the camera stood still."""
    rng = np.random.default_rng(0)
    image, position = np.divmod(np.arange(40 * 50), 50)
    labels = rng.integers(1, 6, 50)[position]
    points = rng.permutation(50)[position][:, None] + rng.normal(0, 0.01, (2000, 2))
    assert purity(points, labels) == 1
    chance = np.mean(labels[:, None] == labels)
    assert purity(points, labels, image, position) == pytest.approx(chance, abs=0.1)


def test_purity_elsewhere_of_points_that_know_their_label():
    rng = np.random.default_rng(0)
    image, position = np.divmod(np.arange(40 * 9), 9)
    labels = rng.integers(1, 4, 360)
    assert purity(labels[:, None] + rng.normal(0, 0.01, (360, 2)), labels, image, position) == 1


def test_neighbours_are_the_nearest_of_other_images_and_positions_alone():
    points, labels = np.arange(30.0)[:, None] ** 1.5, np.random.default_rng(0).integers(0, 3, 30)
    image, position = np.divmod(np.arange(30), 5)
    right = []
    for i in range(30):
        others = [
            j for j in np.abs(points - points[i])[:, 0].argsort() if image[j] != image[i] and position[j] != position[i]
        ]
        right += (labels[others[:10]] == labels[i]).tolist()
    assert purity(points, labels, image, position) == pytest.approx(np.mean(right))
