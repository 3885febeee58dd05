"""Params of tiny released models."""

import pytest
import torch

from cae.params import Release, load
from tests.conftest import ROOT

WIDTH, DEPTH, HEADS, PATCH, GRID = 16, 2, 2, 4, 3


@pytest.fixture(scope="module")
def paper():
    return load(ROOT / "params" / "paper.yaml")


@pytest.fixture
def model(paper, tmp_path):
    """A function (method, checkpoint, **params) to the typed params of a tiny released model whose file holds it."""
    torch.manual_seed(0)
    names = {"cae": "cae-b-300", "beit": "beit-b-300", "mae": "mae-b-1600", "moco_v3": "moco-v3-b-300",
             "dino": "dino-b-400", "deit": "deit-b-300"}  # fmt: skip

    def params(method, checkpoint=None, **over):
        file = tmp_path / "released.pth"
        if checkpoint is not None:
            torch.save(checkpoint, file)
        base = paper.pretraining(names[method]).model_dump()
        tiny = dict(width=WIDTH, depth=DEPTH, heads=HEADS, image={"size": PATCH * GRID, "patch": PATCH}, sha256=None)
        tiny |= dict(regressor_depth=2, decoder_depth=2) if method == "cae" else {}
        job = {**base, **tiny, "source": "released", "file": str(file), **over}
        return Release(**{name: value for name, value in job.items() if name in Release.model_fields})

    return params
