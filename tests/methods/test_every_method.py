"""What is asked of every method: a loss that falls, features that do not collapse, runs that go on, encoders that timm loads."""

import importlib
import json

import numpy as np
import pytest
import timm
import torch

from cae.cli import main as command
from cae.data.colours import change, draw
from cae.models.encoders import load_encoder
from cae.tasks.pretrain import load_model
from tests.conftest import MODELS
from tests.methods.examples import CONTRASTIVE, batch_of, make

EACH = pytest.mark.parametrize("method", MODELS)


@EACH
def test_the_loss_trains_every_parameter_that_is_optimised(tiny, method):
    """But what only later batches reach; the same batch gives the same loss, finite."""
    model = make(tiny, MODELS[method])
    batch = batch_of(model.params, 6)
    torch.manual_seed(0)
    loss = model(batch)["loss"]
    loss.backward()
    torch.manual_seed(0)
    assert loss.isfinite() and loss.ndim == 0 and torch.equal(model(batch)["loss"], loss)
    without = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []


@pytest.mark.parametrize("name", CONTRASTIVE)
def test_colours_are_changed_as_the_batch_says(tiny, name):
    """Before the network sees the views; without a word on colours it sees them as they are."""
    model = make(tiny, name)
    data = batch_of(model.params, 6)
    colours = [torch.from_numpy(draw(0, i, np.arange(6), 0.5, 0.2)) for i in range(len(data["views"]))]
    changed = [change(*pair) for pair in zip(data["views"], colours)]
    losses = [model({**data, **given})["loss"] for given in ({"colours": colours}, {"views": changed}, {})]
    assert torch.equal(losses[0], losses[1]) and not torch.equal(losses[0], losses[2])


@pytest.fixture(scope="module")
def longer(run, tiny, data, tokenizer, tokens):
    """A function from a method to the metrics of a run of 56 steps, or as its own tests say (`LONGER`)."""

    def train(method):
        name, folder = MODELS[method], run.folder / "longer" / method
        own = getattr(importlib.import_module(f"tests.methods.test_{method}"), "LONGER", {})
        change = {"epochs": 14, "width": 32, "lr": 2e-3, "layer_scale": 0.0} | own
        params = tiny.pretraining(name).model_copy(update=change)
        common = ["--data", data["imagenet"], "--tokenizer", tokenizer, "--tokens", tokens]
        work = run.folder / "work" / "longer" / method
        run("pretrain", *common, "--params", params.model_dump_json(), "--work", work, "--output", folder)
        return [json.loads(line) for line in (folder / "metrics.jsonl").open()]

    return train


@EACH
def test_loss_falls_and_features_do_not_collapse(longer, method):
    rows = longer(method)
    falls = "divergence" if "divergence" in rows[0] else "loss"  # where a teacher's own entropy is a part of the loss
    first, last = (np.mean([row[falls] for row in part]) for part in (rows[:5], rows[-10:]))
    assert last < 0.98 * first
    assert rows[-1].get("spread", 1) > 0.15
    assert rows[-1].get("entropy_of_mean", 1) > 0.15 and rows[-1].get("entropy", 0) < 0.95


@EACH
def test_interrupted_run_ends_with_the_same_bytes(
    run, tiny, data, tokenizer, tokens, pretrained, tmp_path, monkeypatch, method
):
    """Teachers, centres and averages are part of the state; the model put together again is the one that was trained."""
    name = MODELS[method]
    expected = pretrained(name)
    arguments = ["--data", data["imagenet"], "--tokenizer", tokenizer, "--tokens", tokens, "--checkpoint-minutes", "0",
                 "--params", tiny.pretraining(name).model_dump_json(), "--work", tmp_path / "work",
                 "--output", tmp_path / name]  # fmt: skip
    step, calls = torch.optim.AdamW.step, []

    def stop(self, *a, **k):
        calls.append(1)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return step(self, *a, **k)

    with monkeypatch.context() as patch, pytest.raises(SystemExit, match="interrupted"):
        patch.setattr(torch.optim.AdamW, "step", stop)
        command(["pretrain", *map(str, arguments)])
    command(["pretrain", *map(str, arguments)])
    assert (tmp_path / name / "model.safetensors").read_bytes() == (expected / "model.safetensors").read_bytes()
    ours, theirs = load_model(tmp_path / name).state_dict(), load_model(expected).state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


@EACH
@torch.no_grad()
def test_timm_loads_the_encoder(pretrained, method):
    folder = pretrained(MODELS[method])
    theirs, (ours, about) = timm.create_model(f"local-dir:{folder}", pretrained=True).eval(), load_encoder(folder)
    images = torch.randn(2, 3, *ours.patch_embed.img_size)
    assert type(theirs) is type(ours) and about["params"]["method"] == method
    assert torch.equal(theirs(images), ours(images))
    trained = load_model(folder).encoder
    assert torch.equal(theirs.forward_features(images), trained.forward_features(images))


@pytest.mark.parametrize("name", ["cae-b-300", "beit-b-300"])
def test_layer_scale_zero_is_none_which_is_as_one_held(tiny, name):
    """Encoder, regressor and decoder alike: no scale is there to be trained."""
    models = [make(tiny, name, layer_scale=scale) for scale in (0.0, 1.0)]
    none, one = ({name for name, _ in model.named_parameters()} for model in models)
    params = models[0].params
    blocks = params.depth + getattr(params, "regressor_depth", 0) + getattr(params, "decoder_depth", 0)
    assert len(one - none) == 2 * blocks and all("gamma" in name for name in one - none) and none < one
    assert torch.equal(*(model(batch_of(params))["loss"] for model in models))
