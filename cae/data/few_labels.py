"""A few labels of each class, to fine-tune with."""

from pathlib import Path

import numpy as np

from cae.data.datasets import Images, Paths
from cae.data.rng import uniforms
from cae.errors import UserError
from cae.files import read_json
from cae.params import share_of_labels


def chosen(labels: np.ndarray, share: float) -> np.ndarray:
    """Indices, ascending, of a `share` of the images of each class, to the nearest whole number and at least one.

    Which images is a matter of the data set alone, not of a run's seed: all models learn from the same ones, and the images
    of a smaller share are among those of a larger one.
    """
    labels = np.asarray(labels)
    draws = uniforms(1, 0, "labels", np.arange(len(labels)))[:, 0]
    classes = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    return np.sort(np.concatenate([of[draws[of].argsort()[: max(1, round(share * len(of)))]] for of in classes]))


def keep(images: Images, share: float) -> None:
    """Leave out all other images."""
    indices = chosen(images.labels, share)
    images.paths, images.labels = Paths(images.paths[i] for i in indices), images.labels[indices]


def check(manifests: dict[str | Path, dict[str, int]]) -> None:
    """Raise UserError where a manifest that exists has fewer labels in a share than a batch of it.

    `manifests`: of each file, batches trained on its data set, by key of params: few_labels.finetune-1.batch_size.
    """
    wrong = []
    for path, batches in manifests.items():
        shares = {key: share for key in batches if (share := share_of_labels(key)) < 1}
        if shares and Path(path).exists():
            data = read_json(path)
            labels = next(iter(data["splits"].values()))["labels"]
            wrong += [
                f"{key}: {batches[key]} is above the {count} of {len(labels)} training images that {100 * share:g} % of the "
                "labels are of; lower it in params"
                for key, share in shares.items()
                if batches[key] > (count := len(chosen(labels, share)))
            ]
    if wrong:
        raise UserError("\n".join(wrong))
