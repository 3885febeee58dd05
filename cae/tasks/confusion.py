"""What became of each class's pixels: one matrix for a whole data set, and what is read from it."""

import numpy as np

from cae.errors import UserError


def confusion(truth: np.ndarray, prediction: np.ndarray, classes: int) -> np.ndarray:
    """Pixels int64 [classes, classes] of class (row) predicted as (column); those with a truth of no class are left out."""
    labelled = truth < classes
    pairs = truth[labelled].astype(np.int64) * classes + prediction[labelled]
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def iou(matrix: np.ndarray) -> np.ndarray:
    """Intersection over union [classes]; NaN of classes that are neither there nor predicted."""
    right = matrix.diagonal()
    union = matrix.sum(0) + matrix.sum(1) - right
    return np.divide(right, union, out=np.full(len(matrix), np.nan), where=union > 0)


def summary(matrix: np.ndarray, names: list[str]) -> dict:
    """Return metrics in %; UserError where no pixel was labelled.

    miou: the mean over classes that are there or predicted (as mmsegmentation's); pixel_accuracy; class_accuracy; iou: of each
    class by name, None where it has none.
    """
    right, there = matrix.diagonal(), matrix.sum(1)
    if not there.any():
        raise UserError(
            "no pixel of the validation images is labelled, so there is no mIoU; list data that have labels"
        )
    each = iou(matrix)
    recalls = right[there > 0] / there[there > 0]
    return {
        "miou": percent(np.nanmean(each)), "pixel_accuracy": percent(right.sum() / there.sum()),
        "class_accuracy": percent(recalls.mean()),
        "iou": {name: None if np.isnan(value) else percent(value) for name, value in zip(names, each)},
    }  # fmt: skip


def percent(share: float) -> float:
    return round(100 * float(share), 3)
