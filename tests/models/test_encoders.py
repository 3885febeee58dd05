"""Pretrained encoders on disk, as timm and the hub read them, and the card that describes them."""

import json
import re

import numpy as np
import pytest
import timm
import torch
import yaml
from PIL import Image

from cae.data.views import centre_crop
from cae.errors import UserError
from cae.models.card import card
from cae.models.classifier import classifier
from cae.models.encoders import load_encoder, save_encoder, save_model
from cae.models.vit import create_encoder, normalise, timm_model
from cae.params import load, read_model
from tests.conftest import ROOT

BUILT = {"images": 4096, "dataset": "d4ta", "tokenizer": "70ken", "outputs": 8192, "params_hash": "x"}
RELEASED = {"source": "released", "file": "mae.pth", "sha256": "5ha", "page": "https://page", "dropped": ["mask_token"],
            "notes": ["A note."]}  # fmt: skip


def saved(folder, name, classes=0, over=(), **provenance):
    """A tiny encoder of a model of the paper, saved, no parameter at its first value: its params and itself."""
    model = load(ROOT / "params" / "paper.yaml").pretraining(name).model_dump() | dict(over)
    if "mask" in model:
        model["mask"]["count"] = 4
    params = read_model({**model, "width": 16, "depth": 2, "heads": 2, "image": {"size": 24, "patch": 8}})
    torch.manual_seed(0)
    vit = create_encoder(params, classes).eval()
    disturb(vit)
    save_encoder(folder, vit, params, {"model": name, "epochs": params.epochs, **provenance})
    return params, vit


def disturb(model):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape))


def contents(folder):
    return [json.loads((folder / name).read_text()) for name in ("config.json", "provenance.json")]


@torch.no_grad()  # attention to what needs gradients rounds in another way
def same(model, ours):
    images = torch.randn(2, 3, 24, 24)
    assert torch.equal(model.forward_features(images), ours.forward_features(images))
    assert torch.equal(model(images), ours(images))


KINDS = {
    "ViT": ("cae-b-300", 0, {}), "Beit": ("beit-b-300", 0, {}), "a classifier": ("deit-b-300", 5, {}),
    "Beit without layer scale": ("beit-b-300", 0, {"layer_scale": 0.0}),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_the_lines_of_the_card_load_the_model_and_its_transforms(tmp_path, monkeypatch, kind):
    name, classes, over = KINDS[kind]
    _, vit = saved(tmp_path, name, classes, over, **(RELEASED if classes else BUILT))
    lines = re.search("```python\n(.*?)```", (tmp_path / "README.md").read_text(), re.S)[1]
    monkeypatch.chdir(tmp_path)
    scope = {}
    exec(lines, scope)
    assert len(lines.strip().splitlines()) == 3
    same(scope["model"], vit)
    same(load_encoder(tmp_path)[0], vit)
    assert scope["model"].num_classes == classes and scope["transform"](Image.new("RGB", (40, 30))).shape == (3, 24, 24)


@pytest.mark.parametrize("kind", KINDS)
def test_the_cards_line_for_the_mean_of_patches_loads_every_weight(tmp_path, monkeypatch, caplog, recwarn, kind):
    name, classes, over = KINDS[kind]
    saved(tmp_path, name, classes, over, **(RELEASED if classes else BUILT))
    blocks = re.findall("```python\n(.*?)```", (tmp_path / "README.md").read_text(), re.S)
    monkeypatch.chdir(tmp_path)
    scope, images = {}, torch.randn(2, 3, 24, 24)
    with torch.no_grad(), caplog.at_level("INFO"):
        exec(blocks[0], scope)
        of_class = scope["model"].forward_head(scope["model"].forward_features(images), pre_logits=True)
        exec(blocks[1], scope)
        tokens = scope["model"].forward_features(images)
        mean = scope["model"].forward_head(tokens, pre_logits=True)
    torch.testing.assert_close(of_class, tokens[:, 0])
    torch.testing.assert_close(mean, tokens[:, 1:].mean(1))
    assert not recwarn.list and "issing" not in caplog.text and "nexpected" not in caplog.text
    with pytest.raises(RuntimeError, match='Missing key.* "fc_norm.weight"'):  # what the card warns of
        timm.create_model("local-dir:.", pretrained=True, global_pool="avg")


@pytest.mark.parametrize("name", ["cae-b-300", "beit-b-300", "mae-b-300"])
@pytest.mark.parametrize("relative", [True, False])
def test_timm_loads_a_fine_tuned_classifier(tmp_path, name, relative):
    saved(tmp_path / "pretrained", name, **BUILT)
    network, *built = classifier(*load_encoder(tmp_path / "pretrained"), 7, relative, drop_path=0.1)
    disturb(network)
    about = {"model": name, "protocol": "clipart", "params": {"epochs": 3, "lr": 0.5}, "images": 96, "dataset": "d4ta"}
    save_model(tmp_path / "tuned", network, *built, about)
    model = timm.create_model(f"local-dir:{tmp_path / 'tuned'}", pretrained=True).eval()
    same(model, network.eval())
    same(load_encoder(tmp_path / "tuned")[0], network)
    assert model.num_classes == 7 and model.pretrained_cfg["num_classes"] == 7
    text = (tmp_path / "tuned" / "README.md").read_text()
    for part in (
        f"fine-tuned from {name} (clipart)",
        "a linear classifier of 7 classes",
        "96 images seen",
        "| lr | 0.5 |",
        "averages the patches and normalises their mean (`fc_norm`)",
    ):
        assert part in text
    with pytest.raises(RuntimeError, match='Missing key.* "norm.weight"'):  # what the card warns of
        timm.create_model(f"local-dir:{tmp_path / 'tuned'}", pretrained=True, global_pool="token")


def test_timm_takes_the_encoder_for_another_head_and_another_size(tmp_path):
    _, vit = saved(tmp_path, "cae-b-300", **BUILT)
    other = timm.create_model(f"local-dir:{tmp_path}", pretrained=True, num_classes=3, img_size=32)
    assert other(torch.randn(1, 3, 32, 32)).shape == (1, 3) and other.pos_embed.shape[1] == 17
    assert torch.equal(other.blocks[1].mlp.fc1.weight, vit.blocks[1].mlp.fc1.weight)


@pytest.mark.parametrize("size", [(500, 375), (375, 500), (256, 256), (300, 301), (97, 31), (640, 427)])
def test_timms_transforms_are_the_centre_crop(tmp_path, size):
    """To a rounding of float32; timm cuts the longer side where ours rounds: at most one pixel of 27 moves by less than one."""
    saved(tmp_path, "cae-b-300", **BUILT)
    data = timm.data.resolve_model_data_config(timm.create_model(f"local-dir:{tmp_path}", pretrained=True))
    assert data["input_size"] == (3, 24, 24) and data["interpolation"] == "bicubic" and data["crop_pct"] == 224 / 256
    waves = np.sin(np.arange(size[1])[:, None] / 17) + np.cos(np.arange(size[0]) / 23)
    image = Image.fromarray(np.stack([waves * 60 + 127, waves * 40 + 90, 255 - waves * 60 - 127], 2).astype(np.uint8))
    theirs = timm.data.create_transform(**data)(image)
    ours = normalise(torch.from_numpy(centre_crop(image, 24).copy())[None])[0]
    whole = 27 * max(size) / min(size) % 1 < 0.5  # the longer side, resized
    assert (theirs - ours).abs().max() < (1e-5 if whole else 0.6) and (theirs - ours).abs().mean() < (
        1e-6 if whole else 0.1
    )


def test_a_folder_in_the_earlier_form_is_named(tmp_path):
    params, _ = saved(tmp_path, "cae-b-300", **BUILT)
    architecture, arguments = timm_model(params)
    (tmp_path / "config.json").write_text(json.dumps({"architecture": architecture, "arguments": arguments}))
    (tmp_path / "model.safetensors").rename(tmp_path / "encoder.safetensors")
    with pytest.raises(
        UserError, match=f"{tmp_path}: in an earlier form .*make it again with `snakemake .*model.safetensors`"
    ):
        load_encoder(tmp_path)


def test_weights_of_another_encoder_are_named(tmp_path):
    saved(tmp_path / "a", "cae-b-300", **BUILT)
    saved(tmp_path / "b", "deit-b-300", 5, **RELEASED)
    (tmp_path / "b" / "model.safetensors").replace(tmp_path / "a" / "model.safetensors")
    with pytest.raises(UserError, match="(?s)a/model.safetensors: not the weights .*delete .*/a and make it again"):
        load_encoder(tmp_path / "a")
    (tmp_path / "a" / "model.safetensors").unlink()
    with pytest.raises(UserError, match="a/model.safetensors: missing; make it with `snakemake"):
        load_encoder(tmp_path / "a")


@pytest.mark.parametrize("name,classes", [("cae-b-300", 0), ("deit-b-300", 5)])
def test_the_card_has_the_hubs_header(tmp_path, name, classes):
    saved(tmp_path, name, classes, **(RELEASED if classes else BUILT))
    header = yaml.safe_load((tmp_path / "README.md").read_text().split("---\n")[1])
    task = "image-classification" if classes else "image-feature-extraction"
    assert header == {
        "library_name": "timm",
        "pipeline_tag": task,
        "tags": ["timm", task],
    }  # no licence that is not known


def test_the_card_says_what_a_built_model_is(tmp_path):
    _, vit = saved(tmp_path, "cae-b-300", **BUILT)
    config, about = contents(tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert text == card(config, about)
    for part in ("# cae-b-300", "trained by this project", about["revision"], "| epochs | 300 |", "4096 images seen", "d4ta",
                 "dalle, 8192 tokens, sha256 `70ken`", "width 16, 2 blocks, 2 heads, 8 x 8 patches", "0.485",
                 "| alignment_weight | 2.0 |", "| lr | 0.0015 |", "kind block, count 4"):  # fmt: skip
        assert part in text
    assert about["revision"] and about["parameters"] == sum(p.numel() for p in vit.parameters())
    assert "licence" not in text


def test_the_card_says_what_a_released_model_is(tmp_path):
    saved(tmp_path, "mae-b-1600", **RELEASED)
    config, about = contents(tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert text == card(config, about)
    for part in ("released: `mae.pth`, sha256 `5ha`, from https://page", "| epochs | 1600 |", "A note.",
                 "mask_token: what is not needed, or is computed",
                 "licence of the weights | that of the original release"):  # fmt: skip
        assert part in text
    assert "trained by this project" not in text and "| lr |" not in text and "| tokenizer |" not in text


def test_the_card_of_a_model_without_training_or_tokenizer(tmp_path):
    saved(tmp_path, "random-b", images=0, dataset="d4ta", outputs=None, params_hash="x")
    assert "0: as initialised" in card(*contents(tmp_path))
    assert "tokenizer" not in card(*contents(tmp_path)) and "Recipe" not in card(*contents(tmp_path))
    saved(tmp_path, "cae-b-300-pixels", images=64, dataset="d4ta", outputs=None, params_hash="x")
    assert "tokenizer" not in card(*contents(tmp_path)) and "| target | pixels |" in card(*contents(tmp_path))
