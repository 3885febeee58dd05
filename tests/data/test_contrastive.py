"""Several views of each image: pure functions of (seed, draw, image), cropped where they are loaded."""

import numpy as np
import pytest
import torch

from cae.data.colours import parts_of
from cae.data.contrastive import Look, Views
from cae.data.datasets import Images
from cae.data.views import BICUBIC, BILINEAR
from cae.params import Crop
from cae.tasks.pretrain import build

CROP = Crop(scale=[0.3, 1.0], ratio=[0.75, 1.33], flip=0.5)


@pytest.fixture(scope="module")
def images(data):
    return Images(data["imagenet"], 0)


@pytest.mark.parametrize("name", ["moco-v3-b-300", "dino-b-400"])
def test_an_image_does_not_depend_on_its_batch(tiny, images, name):
    dataset = build(tiny.pretraining(name)).batches(images, tiny.pretraining(name))
    batch, alone, other = (dataset[key] for key in ((7, np.array([3, 9, 40])), (7, np.array([9])), (8, np.array([9]))))
    sizes = [tuple(view.shape[1:3]) for view in batch["views"]]
    assert sizes == {"moco-v3-b-300": [(48, 48)] * 2, "dino-b-400": [(48, 48)] * 2 + [(24, 24)] * 2}[name]
    for part in ("views", "colours"):
        for view, single, changed in zip(batch[part], alone[part], other[part]):
            assert view.dtype == (torch.uint8 if part == "views" else torch.float32)
            assert torch.equal(view[1], single[0]) and not torch.equal(changed[0], single[0])


def test_views_of_an_image_differ(images):
    dataset = Views(images, [Look(CROP, 32, 0.0)] * 2, 0, 224)
    batch = dataset[0, np.arange(8)]
    for first, second in batch.values():
        assert all((a != b).any() for a, b in zip(first, second))


@pytest.mark.parametrize(
    "name,often,resample",
    [("moco-v3-b-300", [(1.0, 0.0), (0.1, 0.2)], BILINEAR), ("dino-b-400", [(1.0, 0.0), (0.1, 0.2), *[(0.5, 0.0)] * 2], BICUBIC)],
)  # fmt: skip
def test_blur_and_solarisation_are_the_public_codes(tiny, images, name, often, resample):
    params = tiny.pretraining(name)
    dataset = build(params).batches(images, params)
    assert [(look.blur, look.solarise) for look in dataset.looks] == often
    assert {look.resample for look in dataset.looks} == {resample}
    if name.startswith("dino"):
        assert [look.crop.scale for look in dataset.looks[2:]] == [params.local_scale] * 2
    batches = [dataset[epoch, np.arange(len(images))] for epoch in range(2)]
    for number, (blur, solarise) in enumerate(often):
        colours = torch.cat([batch["colours"][number] for batch in batches])
        *_, weights, inverted = parts_of(colours)
        assert dataset.side == 48 and weights.shape[1] == 7
        assert (weights[:, 3] < 1).float().mean() == pytest.approx(blur, abs=0.1)
        assert inverted.mean() == pytest.approx(solarise, abs=0.1)
