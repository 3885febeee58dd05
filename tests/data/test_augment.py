"""Augmentations by libraries: pure functions of (seed, draw, image); and colour jitter, which tokenizer and encoder share."""

import random

import numpy as np
import pytest
import torch
from PIL import Image

from cae.data.augment import posterize, rand_augment
from cae.data.batches import Augmented, Pixels, Views
from cae.data.datasets import Images
from cae.data.rng import seeded
from cae.data.views import LANCZOS, jitter
from cae.params import View
from cae.tasks.list_tokens import TokensJob
from cae.tasks.pretrain import build
from cae.tasks.tokenize import Chunks

JITTERED = View(scale=[0.3, 1.0], ratio=[0.75, 1.33], flip=0.5, views=3, jitter=0.4)


@pytest.fixture(scope="module")
def images(data):
    return Images(data["imagenet"], 0)


def draws():
    return random.random(), np.random.rand(), float(torch.rand(()))


def test_seeded_is_a_function_of_its_key_and_leaves_the_generators_alone():
    random.seed(1), np.random.seed(2), torch.manual_seed(3)
    expected = draws()
    random.seed(1), np.random.seed(2), torch.manual_seed(3)
    with seeded(0, "augment", 4, 5):
        first = draws()
    assert draws() == expected
    with seeded(0, "augment", 4, 5):
        assert draws() == first
    with seeded(0, "augment", 5, 4):
        assert draws() != first


def test_an_augmented_image_does_not_depend_on_its_batch(tiny, images):
    params = tiny.pretraining("deit-b-300")
    dataset = build(params, 10).batches(images, params)
    assert isinstance(dataset, Augmented)
    batch = dataset[7, np.array([3, 9, 40])]
    alone = dataset[np.array([7]), np.array([9])]
    (view,), (single,) = batch["views"], alone["views"]
    assert view.shape == (3, 48, 48, 3) and view.dtype == torch.uint8
    assert torch.equal(view[1], single[0])
    other = dataset[8, np.array([9])]
    assert not torch.equal(other["views"][0], alone["views"][0])
    assert batch["labels"].tolist() == images.labels[[3, 9, 40]].tolist()


def test_jitter_is_a_function_of_image_and_view_and_off_by_default(images):
    image = images.pixels(0)
    assert jitter(image, JITTERED.model_copy(update={"jitter": 0.0}), 0, 0, 0) is image
    one, again = (jitter(image, JITTERED, 0, 4, 2) for _ in range(2))
    np.testing.assert_array_equal(one, again)
    for key in ((1, 4, 2), (0, 5, 2), (0, 4, 1)):
        assert (jitter(image, JITTERED, *key) != one).any()


def test_tokenizer_and_encoder_see_the_same_jittered_view(tiny, images):
    """A token cache of jittered views belongs to the pixels that BEiT is shown."""
    job = TokensJob(seed=0, view=JITTERED, image=tiny.image)
    cached = Chunks(images, job, 48)[range(2, 4)].numpy()
    views = Views(images, JITTERED, 3, 48, 0, LANCZOS)
    for view in range(3):
        shown = Pixels(views)[view + 3, np.array([2, 3])]["pixels"].numpy()  # the epoch after all views were seen once
        np.testing.assert_array_equal(cached[:, view], shown)
    plain = Views(images, JITTERED.model_copy(update={"jitter": 0.0}), 3, 48, 0, LANCZOS)
    assert (plain(np.array([2]), 0) != views(np.array([2]), 0)).any()


def test_rand_augment_at_the_highest_magnitude():
    """timm then keeps 0 bits of a pixel, which Pillow refuses: one image in five hundred at the published magnitude."""
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8))
    with seeded(0, "augment", 0, 0):
        augment = rand_augment("rand-m10-n2-inc1", 8)
        sizes = {augment(image).size for _ in range(300)}
    assert sizes == {(8, 8)} and len(augment.ops) == 15
    assert np.asarray(posterize(image, 0)).max() == 0
    np.testing.assert_array_equal(np.asarray(posterize(image, 4)), np.asarray(image) & 0xF0)
