"""The pipeline of ADE20K: labels that follow their pixels, sizes, crops; the same whoever loads them."""

import colorsys

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import tv_tensors

from cae.data.manifests import index
from cae.data.pixels import IGNORED
from cae.data.segmentation import DISTORTION, GREY, Crops, Labelled, Scenes, fit, padded, varied_crop
from cae.params import Segmentation, load
from tests.conftest import ROOT

LEVELS = np.array([0, 60, 120, 180, 240], np.uint8)  # a grey value for each label of the files: 0 is not labelled


def mask(labels):
    return tv_tensors.Mask(labels, dtype=torch.uint8)


def params(**changes) -> Segmentation:
    paper = load(ROOT / "params" / "paper.yaml").segmenting("cae-b-300")[1e-4]
    plain = {"scale": [96, 32], "crop": 32, "stride": 21, "distort": False}
    return Segmentation(**paper.model_dump() | plain | changes)


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Labelled:
    """Images in blocks of a grey value that says the label."""
    root = tmp_path_factory.mktemp("ade")
    rng = np.random.default_rng(0)
    for split, count in {"training": 6, "validation": 2}.items():
        for kind in ("images", "annotations"):
            (root / kind / split).mkdir(parents=True)
        for i in range(count):
            labels = np.kron(rng.integers(0, 5, (3, 5)), np.ones((16, 16))).astype(np.uint8)
            labels = labels if i % 2 else labels.T.copy()
            Image.fromarray(labels).save(root / f"annotations/{split}/{i}.png")
            Image.fromarray(np.repeat(LEVELS[labels][..., None], 3, 2)).save(
                root / f"images/{split}/{i}.jpg", quality=100
            )
    index("ade20k", str(root), root / "ade.json", classes=4)
    return Labelled(root / "ade.json", 0)


def test_labels_count_from_0_and_0_is_ignored(images):
    pixels, labels = images[1]
    expected = {0: IGNORED, 60: 0, 120: 1, 180: 2, 240: 3}
    grey = LEVELS[np.abs(np.asarray(pixels[0])[..., None].astype(int) - LEVELS).argmin(-1)]
    found = np.vectorize(expected.get)(grey)
    assert pixels.shape == (3, 48, 80) and (found == np.asarray(labels)).mean() > 0.99


@pytest.mark.parametrize("changes", [{}, {"ratio": [0.5, 0.6]}, {"max_share": 0.3}])
def test_labels_follow_their_pixels(images, changes):
    crops = Crops(images, params(**changes), seed=0)
    for epoch in range(4):
        batch = crops[epoch, np.arange(6)]
        pixels, labels = batch["pixels"], batch["labels"]
        assert pixels.shape == (6, 32, 32, 3) and pixels.dtype == torch.uint8
        assert labels.shape == (6, 32, 32) and labels.dtype == torch.int64
        said = torch.tensor([60, 120, 180, 240])[labels.clamp(max=3)]
        sure = labels != IGNORED
        assert ((pixels[..., 0].long() - said).abs() < 25)[sure].float().mean() > 0.8  # edges are blurred
        added = (pixels == torch.tensor(GREY, dtype=torch.uint8)).all(-1)
        assert (labels[added] == IGNORED).all()


def test_flip_comes_and_goes(images):
    whole = {"ratio": [1.0, 1.0], "scale": [32, 32], "max_share": 1.0}
    never = Crops(images, params(**whole, flip=0.0), 0)[0, np.array([1])]["labels"]
    always = Crops(images, params(**whole, flip=1.0), 0)[0, np.array([1])]["labels"]
    h = 32 * 48 // 80 + 1
    torch.testing.assert_close(always[:, :h].flip(-1), never[:, :h])


def test_distortion_changes_colours_alone(images):
    plain, distorted = (Crops(images, params(distort=on), 0)[3, np.arange(6)] for on in (False, True))
    assert torch.equal(plain["labels"], distorted["labels"])
    assert not torch.equal(plain["pixels"], distorted["pixels"])


def test_hue_turns_by_a_tenth_of_the_circle_at_most():
    torch.manual_seed(0)
    red = tv_tensors.Image(torch.tensor([200, 20, 20], dtype=torch.uint8)[:, None, None].expand(3, 2, 2))
    seen = [colorsys.rgb_to_hsv(*DISTORTION(red)[:, 0, 0].tolist())[0] for _ in range(300)]
    turns = np.abs((np.array(seen) + 0.5) % 1 - 0.5)  # mmsegmentation: 18 of 180, of half the images
    assert 0.09 < turns.max() < 0.105 and 0.4 < (turns < 0.005).mean() < 0.65


@pytest.mark.parametrize(
    ("size", "scale", "expected"),
    [((100, 200), (2048, 512), (512, 1024)), ((200, 100), (2048, 512), (1024, 512)),
     ((100, 1000), (2048, 512), (205, 2048)), ((512, 683), (2048, 512), (512, 683))],
)  # fmt: skip
def test_images_fit_into_the_scale_with_their_aspect(size, scale, expected):
    pixels = fit(torch.zeros(3, *size, dtype=torch.uint8), list(scale))
    labels = fit(mask(torch.zeros(size)), list(scale))
    assert pixels.shape == (3, *expected) and labels.shape == expected


def test_crops_of_nearly_one_class_are_drawn_again():
    labels = mask(torch.zeros(40, 400))
    labels[:, 320:] = 1  # few crops hold both
    pixels = torch.zeros(3, 40, 400, dtype=torch.uint8)
    shares = {}
    for most in (0.75, 1.0, 1.1):
        torch.manual_seed(0)
        shares[most] = [(varied_crop(pixels, labels, 40, most)[1] == 0).float().mean() for _ in range(60)]
    mixed = {most: sum(0.25 < share < 0.75 for share in each) for most, each in shares.items()}
    assert mixed[0.75] > 3 * max(1, mixed[1.1])
    assert shares[1.0] == shares[1.1]  # the first crop, whatever it holds


def test_padding_is_nothing_once_normalised_and_not_labelled():
    pixels = padded(torch.full((3, 5, 9), 7, dtype=torch.uint8), 8, GREY)
    labels = padded(mask(torch.ones(5, 9)), 8, IGNORED)
    assert pixels.shape == (3, 8, 9) and (labels[5:] == IGNORED).all() and (labels[:5] == 1).all()
    assert pixels[:, 5:, :].unique(dim=1).flatten(1)[:, 0].tolist() == GREY == [124, 116, 104]


def test_a_batch_hangs_on_seed_epoch_and_image_alone(images):
    def crop(seed, epoch, indices):
        torch.manual_seed(len(indices))
        return Crops(images, params(distort=True), seed)[epoch, np.array(indices)]["pixels"][-1]

    assert torch.equal(crop(0, 3, [0, 1, 2]), crop(0, 3, [2]))
    assert not torch.equal(crop(0, 3, [2]), crop(0, 4, [2])) and not torch.equal(crop(0, 3, [2]), crop(1, 3, [2]))


def test_tests_see_whole_images_and_labels_as_they_are(images):
    scene = Scenes(images, [96, 24])[1]
    assert scene["pixels"].shape == (3, 24, 40) and scene["labels"].shape == (48, 80)
