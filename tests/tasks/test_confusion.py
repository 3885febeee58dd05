"""Mean intersection over union: against sets of pixels, and over a whole set, not image by image."""

import numpy as np
import pytest

from cae.errors import UserError
from cae.tasks.confusion import confusion, iou, summary

IGNORED = 255


def maps(seed, classes=5, size=(17, 23), ignored=0.2):
    rng = np.random.default_rng(seed)
    truth, prediction = rng.integers(0, classes, (2, *size), np.uint8)
    truth[rng.random(size) < ignored] = IGNORED
    return truth, prediction


def by_sets(pairs, classes):
    """IoU of each class over all images, from sets of (image, pixel)."""
    out = []
    for c in range(classes):
        there, said = set(), set()
        for image, (truth, prediction) in enumerate(pairs):
            for at in zip(*np.nonzero(truth != IGNORED)):
                if truth[at] == c:
                    there.add((image, *at))
                if prediction[at] == c:
                    said.add((image, *at))
        out.append(len(there & said) / len(there | said) if there | said else np.nan)
    return np.array(out)


@pytest.mark.parametrize("classes", [2, 5, 19])
def test_iou_is_that_of_sets_of_pixels(classes):
    pairs = [maps(seed, classes) for seed in range(4)]
    matrix = sum(confusion(*pair, classes) for pair in pairs)
    np.testing.assert_allclose(iou(matrix), by_sets(pairs, classes))
    names = [str(c) for c in range(classes)]
    assert summary(matrix, names)["miou"] == pytest.approx(100 * np.nanmean(by_sets(pairs, classes)), abs=1e-3)
    right, labelled = (sum((t[t != IGNORED] == p[t != IGNORED]).sum() for t, p in pairs),
                       sum((t != IGNORED).sum() for t, _ in pairs))  # fmt: skip
    assert matrix.sum() == labelled
    assert summary(matrix, names)["pixel_accuracy"] == pytest.approx(100 * right / labelled, abs=1e-3)


def test_truth_as_prediction_is_100_and_shuffled_is_not():
    truth, _ = maps(0)
    labelled = np.where(truth == IGNORED, 0, truth)
    names = list("abcde")
    assert summary(confusion(truth, labelled, 5), names)["miou"] == 100
    shuffled = np.random.default_rng(1).permutation(labelled.ravel()).reshape(labelled.shape)
    assert summary(confusion(truth, shuffled, 5), names)["miou"] < 30


def test_one_matrix_for_the_set_is_not_the_mean_over_images():
    one = np.zeros((1, 10), np.uint8), np.zeros((1, 10), np.uint8)  # all of class 0, all right
    two = np.array([[0, 1]], np.uint8), np.array([[1, 1]], np.uint8)  # one of two right
    matrix = confusion(*one, 2) + confusion(*two, 2)
    assert iou(matrix).tolist() == [10 / 11, 1 / 2]
    each = [np.nanmean(iou(confusion(*pair, 2))) for pair in (one, two)]
    assert np.mean(each) != pytest.approx(iou(matrix).mean())


def test_classes_that_are_nowhere_count_for_nothing():
    truth, prediction = np.array([0, 0, 1, IGNORED], np.uint8), np.array([0, 1, 1, 2], np.uint8)
    result = summary(confusion(truth, prediction, 4), list("abcd"))
    assert result["iou"] == {"a": 50.0, "b": 50.0, "c": None, "d": None}  # c is said of a pixel that is not labelled
    assert result["miou"] == 50 and result["class_accuracy"] == 75


def test_without_a_labelled_pixel_there_are_no_metrics():
    nothing = confusion(np.full((4, 4), IGNORED, np.uint8), np.zeros((4, 4), np.uint8), 3)
    with pytest.raises(UserError, match="no pixel of the validation images is labelled"):
        summary(nothing, list("abc"))


def test_pixels_of_a_large_set_do_not_overflow():
    truth = np.full((2000, 2000), 149, np.uint8)
    matrix = sum(confusion(truth, truth, 150) for _ in range(3))
    assert matrix.dtype == np.int64 and matrix[149, 149] == 12_000_000
