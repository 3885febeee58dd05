"""Pretrained encoders on disk, and the card that describes them."""

import json
import re

import pytest
import torch

from cae.models.card import card
from cae.models.encoders import load_encoder, save_encoder
from cae.models.vit import create_encoder
from cae.params import load, read_model
from tests.conftest import ROOT

BUILT = {"images": 4096, "dataset": "d4ta", "tokenizer": "70ken", "outputs": 8192, "params_hash": "x"}
RELEASED = {"source": "released", "file": "mae.pth", "sha256": "5ha", "page": "https://page", "dropped": ["mask_token"],
            "notes": ["A note."]}  # fmt: skip


def saved(folder, name, classes=0, **provenance):
    """A tiny encoder of a model of the paper, saved: its params, itself and its config."""
    model = load(ROOT / "params" / "paper.yaml").pretraining(name).model_dump()
    if "mask" in model:
        model["mask"]["count"] = 4
    params = read_model({**model, "width": 16, "depth": 2, "heads": 2, "image": {"size": 24, "patch": 8}})
    torch.manual_seed(0)
    vit = create_encoder(params, classes)
    save_encoder(folder, vit, params, {"model": name, "epochs": params.epochs, **provenance})
    return params, vit, json.loads((folder / "config.json").read_text())


@pytest.mark.parametrize("name,classes", [("cae-b-300", 0), ("beit-b-300", 0), ("mae-b-300", 0), ("deit-b-300", 5)])
def test_the_lines_of_the_card_load_the_encoder(tmp_path, monkeypatch, name, classes):
    provenance = BUILT if name != "deit-b-300" else RELEASED
    params, vit, _ = saved(tmp_path, name, classes, **provenance)
    lines = re.search("```python\n(.*?)```", (tmp_path / "card.md").read_text(), re.S)[1]
    monkeypatch.chdir(tmp_path)
    scope = {}
    exec(lines, scope)
    ours, _ = load_encoder(tmp_path)
    images = torch.randn(2, 3, 24, 24)
    assert len(lines.strip().splitlines()) == 3
    assert torch.equal(scope["encoder"](images), vit.eval()(images)) and torch.equal(ours(images), vit(images))


def test_the_card_says_what_a_built_model_is(tmp_path):
    params, vit, config = saved(tmp_path, "cae-b-300", **BUILT)
    text = (tmp_path / "card.md").read_text()
    assert text == card(config)
    for part in ("# cae-b-300", "trained by this project", config["revision"], "| epochs | 300 |", "4096 images seen", "d4ta",
                 "dalle, 8192 tokens, sha256 `70ken`", "width 16, 2 blocks, 2 heads, 8 x 8 patches", "0.485",
                 "| alignment_weight | 2.0 |", "| lr | 0.0015 |", "kind block, count 4"):  # fmt: skip
        assert part in text
    assert config["revision"] and config["parameters"] == sum(p.numel() for p in vit.parameters())
    assert "licence" not in text


def test_the_card_says_what_a_released_model_is(tmp_path):
    _, _, config = saved(tmp_path, "mae-b-1600", **RELEASED)
    text = (tmp_path / "card.md").read_text()
    assert text == card(config)
    for part in ("released: `mae.pth`, sha256 `5ha`, from https://page", "| epochs | 1600 |", "A note.", "mask_token. Each name",
                 "licence of the weights | that of the original release"):  # fmt: skip
        assert part in text
    assert "trained by this project" not in text and "| lr |" not in text and "| tokenizer |" not in text


def test_the_card_of_a_model_without_training_or_tokenizer(tmp_path):
    _, _, config = saved(tmp_path, "random-b", images=0, dataset="d4ta", outputs=None, params_hash="x")
    assert "0: as initialised" in card(config)
    assert "tokenizer" not in card(config) and "Recipe" not in card(config)
    _, _, config = saved(tmp_path, "cae-b-300-pixels", images=64, dataset="d4ta", outputs=None, params_hash="x")
    assert "tokenizer" not in card(config) and "| target | pixels |" in card(config)
