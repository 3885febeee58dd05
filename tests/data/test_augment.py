"""Augmentations by libraries: pure functions of (seed, draw, image); and colour jitter, which tokenizer and encoder share."""

import random

import numpy as np
import pytest
import torch
from PIL import Image

from cae.data.augment import contrastive, posterize, rand_augment
from cae.data.batches import Augmented, Pixels, Views
from cae.data.datasets import Images
from cae.data.rng import AUGMENT, seeded
from cae.data.views import LANCZOS, jitter
from cae.params import Crop, View
from cae.tasks.merge_tokens import TokensJob
from cae.tasks.pretrain import build
from cae.tasks.tokenize import Chunks

CROP = Crop(scale=[0.3, 1.0], ratio=[0.75, 1.33], flip=0.5)
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
    with seeded(0, AUGMENT, 4, 5):
        first = draws()
    assert draws() == expected
    with seeded(0, AUGMENT, 4, 5):
        assert draws() == first
    with seeded(0, AUGMENT, 5, 4):
        assert draws() != first


@pytest.mark.parametrize("name", ["moco-v3-b-300", "dino-b-400", "deit-b-300"])
def test_an_augmented_image_does_not_depend_on_its_batch(tiny, images, name):
    params = tiny.pretraining(name)
    dataset = build(params, 10 if params.method == "deit" else None).batches(images, params)
    assert isinstance(dataset, Augmented)
    batch = dataset[7, np.array([3, 9, 40])]
    alone = dataset[np.array([7]), np.array([9])]
    sizes = [tuple(view.shape[1:3]) for view in batch["views"]]
    assert sizes == {"moco-v3-b-300": [(48, 48)] * 2, "dino-b-400": [(48, 48)] * 2 + [(24, 24)] * 2,
                     "deit-b-300": [(48, 48)]}[name]  # fmt: skip
    for view, single in zip(batch["views"], alone["views"]):
        assert view.dtype == torch.uint8
        assert torch.equal(view[1], single[0])
    other = dataset[8, np.array([9])]
    assert not torch.equal(other["views"][0], alone["views"][0])
    assert batch["labels"].tolist() == images.labels[[3, 9, 40]].tolist()


def test_two_views_of_an_image_differ(images):
    dataset = Augmented(images, lambda image: [contrastive(32, CROP, [0.3, 1.0], 0.0, 0.0)(image) for _ in "ab"], 0)
    first, second = dataset[0, np.arange(8)]["views"]
    assert all((a != b).any() for a, b in zip(first, second))


def test_solarize_and_blur_happen_as_often_as_asked():
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8))
    whole = Crop(scale=[1.0, 1.0], ratio=[1.0, 1.0], flip=0.0)

    def rough(transform):
        """How much neighbouring pixels differ: blur makes it small."""
        pixels = np.asarray(transform(image), float)
        return np.abs(np.diff(pixels, axis=1)).mean() / max(1, pixels.std())

    with seeded(0, AUGMENT, 0, 0):
        plain = [rough(contrastive(32, whole, [1.0, 1.0], blur=0.0, solarize=0.0)) for _ in range(40)]
        blurred = [rough(contrastive(32, whole, [1.0, 1.0], blur=1.0, solarize=0.0)) for _ in range(40)]
        half = [rough(contrastive(32, whole, [1.0, 1.0], blur=0.5, solarize=0.0)) for _ in range(200)]
    assert np.mean(blurred) < 0.6 * np.mean(plain)
    assert np.mean(np.array(half) < 0.9 * np.min(plain)) == pytest.approx(0.5, abs=0.15)
    with seeded(0, AUGMENT, 0, 1):
        top = [np.asarray(contrastive(32, whole, [1.0, 1.0], 0.0, solarize)(image)).max() for solarize in (0.0, 1.0)]
    assert top[0] > 200 and top[1] <= 128


def test_jitter_is_a_function_of_image_and_view_and_off_by_default(images):
    image = images[0]
    assert jitter(image, JITTERED.model_copy(update={"jitter": 0.0}), 0, 0, 0) is image
    one, again = (np.asarray(jitter(image, JITTERED, 0, 4, 2)) for _ in range(2))
    np.testing.assert_array_equal(one, again)
    for key in ((1, 4, 2), (0, 5, 2), (0, 4, 1)):
        assert (np.asarray(jitter(image, JITTERED, *key)) != one).any()


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
    with seeded(0, AUGMENT, 0, 0):
        augment = rand_augment("rand-m10-n2-inc1", 8)
        sizes = {augment(image).size for _ in range(300)}
    assert sizes == {(8, 8)} and len(augment.ops) == 15
    assert np.asarray(posterize(image, 0)).max() == 0
    np.testing.assert_array_equal(np.asarray(posterize(image, 4)), np.asarray(image) & 0xF0)
