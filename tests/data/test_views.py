import numpy as np
import pytest
import skimage.data
from PIL import Image

from cae.data.views import BICUBIC, LANCZOS, centre_crop, crop_boxes, render
from cae.params import Crop

PAPER = Crop(scale=[0.08, 1.0], ratio=[3 / 4, 4 / 3], flip=0.5)


def boxes(n=20_000, width=400, height=300, recipe=PAPER, seed=0, view=0):
    side = np.ones(n, int)
    return crop_boxes(recipe, seed, np.arange(n), view, side * width, side * height)


def test_crops_lie_inside_and_have_the_asked_area_and_aspect():
    box, flip = boxes()
    left, top, right, bottom = box.T
    assert left.min() == 0 and top.min() == 0 and right.max() == 400 and bottom.max() == 300
    area = (right - left) * (bottom - top) / (400 * 300)
    assert area.min() > 0.078 and area.max() <= 1
    aspect = (right - left) / (bottom - top)
    assert aspect.min() > 0.74 and aspect.max() < 1.35
    assert flip.mean() == pytest.approx(0.5, abs=0.02)


def test_crops_are_distributed_as_torchvisions():
    import torch
    from torchvision.transforms import RandomResizedCrop

    torch.manual_seed(0)
    image = torch.empty(3, 300, 400)
    theirs = np.array([RandomResizedCrop.get_params(image, [0.08, 1.0], [3 / 4, 4 / 3]) for _ in range(20_000)])
    box, _ = boxes()
    ours = np.stack([box[:, 1], box[:, 0], box[:, 3] - box[:, 1], box[:, 2] - box[:, 0]], 1)
    for quantile in (10, 25, 50, 75, 90):
        difference = np.abs(np.percentile(ours, quantile, axis=0) - np.percentile(theirs, quantile, axis=0))
        assert (difference < 0.02 * np.array([300, 400, 300, 400])).all(), quantile


def test_extreme_aspect_falls_back_to_the_centre():
    box, _ = boxes(200, width=1000, height=10, recipe=Crop(scale=[0.9, 1.0], ratio=[3 / 4, 4 / 3], flip=0.5))
    left, top, right, bottom = box.T
    assert (bottom - top == 10).all() and (right - left == 13).all() and (left == 493).all()


def test_a_view_depends_on_seed_image_and_view_alone():
    box, flip = boxes(10)
    again, again_flip = crop_boxes(PAPER, 0, np.array([4]), 0, [400], [300])
    np.testing.assert_array_equal(box[4], again[0])
    assert flip[4] == again_flip[0]
    assert (boxes(10, view=1)[0] != box).any() and (boxes(10, seed=1)[0] != box).any()


def test_many_views_of_one_image_are_those_drawn_one_by_one():
    k = np.arange(5)
    together, _ = crop_boxes(PAPER, 0, np.full(5, 3), k, np.full(5, 400), np.full(5, 300))
    for view in k:
        np.testing.assert_array_equal(together[view], boxes(4, view=view)[0][3])


def test_render_crops_flips_and_resizes():
    pixels = np.zeros((4, 4, 3), np.uint8)
    pixels[1, 2] = 255
    image = Image.fromarray(pixels)
    np.testing.assert_array_equal(render(image, (0, 0, 4, 4), False, 4), pixels)
    np.testing.assert_array_equal(render(image, (0, 0, 4, 4), True, 4), pixels[:, ::-1])
    np.testing.assert_array_equal(render(image, (2, 1, 3, 2), False, 1), [[[255, 255, 255]]])


@pytest.mark.parametrize("resample", [BICUBIC, LANCZOS])
def test_nothing_outside_of_a_crop_is_seen(resample):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)
    left, top, right, bottom = box = np.array([11, 7, 64, 49])
    other = rng.integers(0, 256, pixels.shape, dtype=np.uint8)
    other[top:bottom, left:right] = pixels[top:bottom, left:right]
    for size in (16, 96):
        one, two = (render(Image.fromarray(image), box, False, size, resample) for image in (pixels, other))
        np.testing.assert_array_equal(one, two)


def by_pil(image, box, size, resample):
    filters = {BICUBIC: Image.Resampling.BICUBIC, LANCZOS: Image.Resampling.LANCZOS}
    return np.asarray(image.crop(tuple(box)).resize((size, size), filters[resample])).astype(int)


@pytest.mark.parametrize("resample", [BICUBIC, LANCZOS])
def test_a_crop_is_resized_as_pil_does(resample):
    """Within two grey levels, a rounding a pass, enlarged or shrunk, where no overshoot is cut off at black or white."""
    pixels = np.random.default_rng(0).integers(96, 160, (300, 400, 3), dtype=np.uint8)
    for box in boxes(8)[0]:
        for size in (48, 224):
            expected = by_pil(Image.fromarray(pixels), box, size, resample)
            assert np.abs(render(pixels, box, False, size, resample) - expected).max() <= 2


@pytest.mark.parametrize("resample", [BICUBIC, LANCZOS])
@pytest.mark.parametrize("photo", ["astronaut", "coffee"])
def test_crops_of_photographs_are_pils_but_for_rare_overshoots(photo, resample):
    image = Image.fromarray(getattr(skimage.data, photo)()).resize((400, 300))
    differences = np.concatenate([
        np.abs(render(image, box, False, 224, resample) - by_pil(image, box, 224, resample)).ravel() for box in boxes(16)[0]
    ])  # fmt: skip
    assert differences.mean() < 0.05 and (differences > 1).mean() < 1e-3 and differences.max() < 32


@pytest.mark.parametrize("width,height", [(400, 300), (300, 400), (50, 500), (224, 224)])
def test_centre_crop_is_torchvisions(width, height):
    from torchvision.transforms import v2

    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
    theirs = v2.Compose([v2.Resize(256, v2.InterpolationMode.BICUBIC), v2.CenterCrop(224)])(image)
    difference = np.abs(centre_crop(image, 224).astype(int) - np.asarray(theirs))
    assert difference.max() <= 1
