"""Colours changed on the device: torchvision's and PIL's operations, as often and as much as published, image by image."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from torchvision.transforms import functional as F

from cae.data.colours import blur, blur_weights, change, draw, parts_of, reach_of

REACH = 6  # of the widest blur at 224 pixels


def pictures(n=6, side=40):
    """Smooth ones, a noisy one, one all grey and one all black, uint8 [n, side, side, 3]."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (n, 5, 5, 3), np.uint8)
    images = np.stack([np.asarray(Image.fromarray(image).resize((side, side), Image.BICUBIC)) for image in coarse])
    images[0] = rng.integers(0, 256, images[0].shape, np.uint8)
    images[1] = images[1, ..., :1]
    images[2] = 0
    return torch.from_numpy(images)


def named(colours):
    """A row's numbers by name; blends before and after the hue as [n, 3]."""
    before, after, hue, weights, solarise = (part[0].numpy() for part in parts_of(torch.from_numpy(colours)[None]))
    return before.reshape(-1, 3), after.reshape(-1, 3), float(hue[0]), weights, bool(solarise[0])


def blended(image, blends):
    """A float image [3, H, W] by torchvision's operation that each blend is."""
    for pixels, grey, mean in blends.tolist():
        assert pixels + grey + mean == pytest.approx(1) or grey == mean == 0
        if mean:
            image = F.adjust_contrast(image, pixels)
        elif not pixels:
            image = F.rgb_to_grayscale(image, 3)
        elif grey:
            image = F.adjust_saturation(image, pixels)
        else:
            image = F.adjust_brightness(image, pixels)
    return image


def test_each_image_is_what_torchvision_makes_of_it():
    """But for the blur, within a tenth of a grey level; the weights of grey differ in their fourth digit."""
    pixels, seen = pictures(), 0
    for number in range(20):
        colours = draw(0, number, np.arange(6), 0.0, 0.3)
        for image, row, ours in zip(pixels, colours, change(pixels, torch.from_numpy(colours))):
            before, after, hue, weights, solarise = named(row)
            expected = blended(image.permute(2, 0, 1) / 255, before)
            if hue:
                expected = F.adjust_hue(expected, hue / 6)
            expected = 255 * blended(expected, after)
            if solarise:
                inverted, seen = 255 - expected, seen + 1
                near = (expected - 127.5).abs() < 0.1  # where a tenth of a level decides
                expected = torch.where(expected >= 127.5, inverted, expected)
                expected, ours = (torch.where(near, 0, part) for part in (expected, ours.permute(2, 0, 1)))
                ours = ours.permute(1, 2, 0)
            torch.testing.assert_close(ours.permute(2, 0, 1), expected, atol=0.1, rtol=0)
            assert weights[REACH] == 1
    assert seen > 10


@pytest.mark.parametrize("radius", [0.1, 0.4, 0.7, 1.0, 1.6, 2.0, 3.4])
def test_blur_is_pils(radius):
    """Which rounds after each of three passes a direction: half a grey level each, but for the last pixels before an edge."""
    pixels = pictures()
    weights = torch.from_numpy(blur_weights(np.full(6, radius), reach_of(radius))).float()
    ours = blur(pixels.permute(0, 3, 1, 2).float(), weights).permute(0, 2, 3, 1)
    theirs = [Image.fromarray(image.numpy()).filter(ImageFilter.GaussianBlur(radius)) for image in pixels]
    difference = (ours - torch.from_numpy(np.stack(theirs))).abs()
    assert difference[:, 8:-8, 8:-8].max() < 3.01 and difference.mean() < 0.6


def test_blur_has_its_variance_and_keeps_the_brightness():
    radii = np.array([0.0, 0.1, 0.5, 1.0, 1.5, 2.0])
    weights, away = blur_weights(radii, REACH), np.arange(-REACH, REACH + 1)
    np.testing.assert_allclose(weights.sum(1), 1)
    np.testing.assert_allclose(weights @ away**2, radii**2, atol=1e-12)
    np.testing.assert_allclose(weights[0], away == 0, atol=1e-12)
    flat = torch.full((2, 3, 9, 9), 200.0)
    torch.testing.assert_close(blur(flat, torch.from_numpy(weights[-2:]).float()), flat)


@pytest.mark.parametrize("side,reach", [(64, 3), (96, 3), (224, 6), (384, 9)])
def test_blur_grows_with_the_side_of_the_images(side, reach):
    """0.1 to 2 pixels of 224, as published; nothing else of a view hangs on the side."""
    at_224, found = (draw(0, 0, np.arange(2000), 1.0, 0.2, size) for size in (224, side))
    np.testing.assert_array_equal(at_224, draw(0, 0, np.arange(2000), 1.0, 0.2))
    radii = []
    for colours in (at_224, found):
        weights = parts_of(torch.from_numpy(colours))[3].numpy()
        away = np.arange(weights.shape[1]) - weights.shape[1] // 2
        radii.append(np.sqrt(weights @ away**2.0))
    assert weights.shape[1] == 2 * reach + 1
    assert (radii[0].min(), radii[0].max()) == pytest.approx((0.1, 2.0), abs=0.01)
    np.testing.assert_allclose(radii[1], radii[0] * side / 224, rtol=1e-3)
    np.testing.assert_array_equal(at_224[:, :22], found[:, :22])
    np.testing.assert_array_equal(at_224[:, -1], found[:, -1])


def test_an_images_colours_depend_on_seed_draw_and_image_alone():
    colours = draw(3, 5, np.arange(10), 0.5, 0.2)
    np.testing.assert_array_equal(draw(3, np.array([5, 7]), np.array([4, 4]), 0.5, 0.2)[0], colours[4])
    for other in (draw(2, 5, np.arange(10), 0.5, 0.2), draw(3, 6, np.arange(10), 0.5, 0.2)):
        assert (other != colours).any(1).sum() > 7
    pixels, colours = pictures(), torch.from_numpy(colours[:6])
    together = change(pixels, colours)
    for i in range(6):
        assert torch.equal(change(pixels[i : i + 1], colours[i : i + 1])[0], together[i])


def test_autocast_takes_no_digits():
    pixels, colours = pictures(), torch.from_numpy(draw(0, 0, np.arange(6), 1.0, 0.2))
    with torch.autocast("cpu", torch.bfloat16):
        found = change(pixels, colours)
    assert torch.equal(found, change(pixels, colours)) and found.dtype == torch.float32


def test_how_often_and_how_much():
    """BYOL, Table 6: jitter for 80 % by (0.4, 0.4, 0.2, 0.1) in any order, grey for 20 %, blur of 0.1 to 2 pixels."""
    colours = draw(0, 0, np.arange(20_000), 0.5, 0.2)
    before, after, hue, weights, solarise = (part.numpy() for part in parts_of(torch.from_numpy(colours)))
    blends = np.concatenate([before, after[:, :9]], 1).reshape(len(colours), 6, 3)
    jittered = hue[:, 0] != 0
    assert jittered.mean() == pytest.approx(0.8, abs=0.01)
    assert (blends[~jittered] == [1, 0, 0]).all() and np.abs(hue / 6).max() == pytest.approx(0.1, abs=1e-3)
    changes = blends[..., 0] != 1
    assert (changes[jittered].sum(1) == 3).all()  # brightness, contrast and saturation, once each
    contrast, saturation = changes & (blends[..., 2] != 0), changes & (blends[..., 1] != 0)
    brightness = changes & ~contrast & ~saturation
    for kind, amount in ((brightness, 0.4), (contrast, 0.4), (saturation, 0.2)):
        assert (kind[jittered].sum(1) == 1).all()
        factors = blends[..., 0][kind]
        assert (factors.min(), factors.max()) == pytest.approx((1 - amount, 1 + amount), abs=2e-3)
        assert factors.mean() == pytest.approx(1, abs=0.01)
    for later in range(4):  # how many of the three come after the hue
        assert (changes[jittered, 3:].sum(1) == later).mean() == pytest.approx(0.25, abs=0.02)
    first = [kind[jittered].argmax(1) for kind in (brightness, contrast, saturation)]
    for a, b in ((0, 1), (1, 2), (0, 2)):
        assert (first[a] < first[b]).mean() == pytest.approx(0.5, abs=0.02)
    grey = after[:, 9:]
    assert (grey[:, 1] == 1).mean() == pytest.approx(0.2, abs=0.01)
    blurred = weights[:, REACH] < 1
    assert blurred.mean() == pytest.approx(0.5, abs=0.01) and solarise.mean() == pytest.approx(0.2, abs=0.01)
    radii = np.sqrt(weights[blurred] @ np.arange(-REACH, REACH + 1) ** 2.0)
    assert (radii.min(), radii.mean(), radii.max()) == pytest.approx((0.1, 1.05, 2.0), abs=0.02)
