"""Shares of the labels: of every class, the same for everybody, one inside the other; batches that they cannot fill."""

import json
from collections import Counter

import numpy as np
import pytest

from cae.data.datasets import Images
from cae.data.few_labels import check, chosen, keep
from cae.errors import UserError

LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(5), [1300, 732, 40, 3, 1]))


@pytest.mark.parametrize(
    "share,counts", [(0.1, [130, 73, 4, 1, 1]), (0.01, [13, 7, 1, 1, 1]), (0.5, [650, 366, 20, 2, 1])]
)
def test_of_each_class_its_share_and_at_least_one(share, counts):
    indices = chosen(LABELS, share)
    assert Counter(LABELS[indices].tolist()) == dict(enumerate(counts))
    assert (np.diff(indices) > 0).all()


def test_a_smaller_share_lies_inside_a_larger_one():
    shares = [set(chosen(LABELS, share).tolist()) for share in (0.01, 0.03, 0.1, 0.5)]
    assert all(small < large for small, large in zip(shares, shares[1:]))


def test_images_of_a_class_are_drawn_from_all_of_it():
    """Not the first of the list: two halves of a class's images are chosen from about as often."""
    labels = np.repeat(np.arange(20), 1000)
    within = chosen(labels, 0.1) % 1000
    assert abs((within < 500).mean() - 0.5) < 5 * 0.5 / np.sqrt(len(within))


def test_what_is_kept_are_images_with_their_labels(data):
    every, some = Images(data["imagenet"], 0), Images(data["imagenet"], 0)
    keep(some, 0.25)
    labels = dict(zip(every.paths, every.labels.tolist()))
    assert [labels[path] for path in some.paths] == some.labels.tolist()
    assert (
        len(some) == len(set(some.paths)) == sum(max(1, round(n / 4)) for n in Counter(every.labels.tolist()).values())
    )
    assert some.classes == every.classes


def test_a_batch_above_the_labels_of_a_share_is_told(tmp_path):
    split = {"images": [f"{i}.jpg" for i in range(len(LABELS))], "labels": LABELS.tolist()}
    path = tmp_path / "imagenet.json"
    path.write_text(json.dumps({"layout": "imagenet", "splits": {"train": split}}))
    batches = {
        "few_labels.finetune-1.batch_size": 24,
        "few_labels.finetune-10.batch_size": 24,
        "finetune.batch_size": 9999,
    }
    with pytest.raises(UserError) as error:
        check({path: batches, tmp_path / "not made yet.json": batches})
    assert str(error.value) == (
        "few_labels.finetune-1.batch_size: 24 is above the 23 of 2076 training images that 1 % of the labels are of; lower it "
        "in params"
    )
    check({path: batches | {"few_labels.finetune-1.batch_size": 23}})


def test_the_index_of_a_data_set_tells_it_before_any_training(run, data, tmp_path):
    options = ["--layout", "imagenet", "--root", run.folder / "imagenet", "--output", tmp_path / "imagenet.json"]
    with pytest.raises(
        SystemExit, match="few_labels.finetune-10.batch_size: 32 is above the 1. of 128 training images"
    ):
        run("index", *options, "--batches", json.dumps({"few_labels.finetune-10.batch_size": 32}))
