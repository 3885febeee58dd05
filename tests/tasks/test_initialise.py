"""First weights without training."""

import importlib
import json

import pytest
import torch

from cae.models.encoders import load_encoder
from cae.params import METHODS, load, untrained
from cae.tasks.initialise import encoder_of
from cae.tasks.pretrain import build
from tests.conftest import MODELS, ROOT

TRAINING = {"lr": 0.5, "min_lr": 0.1, "batch_size": 4096, "weight_decay": 0.9, "clip": 7.0, "view": {"flip": 0.1}}


@pytest.mark.parametrize("method", MODELS)
def test_first_weights_are_those_that_a_trained_model_starts_from(tiny, method):
    model = tiny.pretraining(MODELS[method]).model_copy(update={"epochs": 0})
    params = untrained(model)
    torch.manual_seed(model.seed)
    trained = build(model, model.choices(32, 10) if model.learns_labels else None).encoder.state_dict()
    torch.manual_seed(model.seed)
    drawn = encoder_of(params).state_dict()
    if model.learns_labels:  # random weights have no classifier, and are drawn without one
        trained = {name: value for name, value in trained.items() if not name.startswith("head.")}
    assert {name: value.shape for name, value in drawn.items()} == {
        name: value.shape for name, value in trained.items()
    }
    assert model.learns_labels or all(torch.equal(drawn[name], trained[name]) for name in drawn)


@pytest.mark.parametrize("method", METHODS)
def test_what_shapes_no_weights_is_no_part_of_the_job(method):
    """A recipe's rates, batches and views; of CAE's own keys only its first weights'."""
    models = {"x": {"method": method, "size": "base", "epochs": 0}}
    plain = load(ROOT / "params/paper.yaml", {"models": models}).pretraining("x")
    other = load(ROOT / "params/paper.yaml", {"models": models, "recipes": {method: TRAINING}}).pretraining("x")
    assert plain != other and untrained(plain) == untrained(other)
    seeds = load(ROOT / "params/paper.yaml", {"models": {"x": models["x"] | {"seed": 3}}}).pretraining("x")
    assert untrained(seeds) != untrained(plain)
    drawn_apart = hasattr(importlib.import_module(f"cae.methods.{method}"), "build_encoder")
    assert drawn_apart == (METHODS[method].first_weights is not None)


def test_caes_random_weights_hang_on_its_encoder_alone():
    def job(**own):
        models = {"x": {"method": "cae", "size": "base", "epochs": 0, **own}}
        return untrained(load(ROOT / "params/paper.yaml", {"models": models}).pretraining("x"))

    assert job(regressor_depth=1, decoder_depth=2, target="pixels", alignment_momentum=0.5) == job()
    assert job(init="xavier") != job()


def test_a_folder_is_written_as_of_a_trained_model(run, tiny, tmp_path):
    params = untrained(tiny.pretraining("random-b"))
    run("initialise", "--params", params.model_dump_json(), "--output", tmp_path / "random-b")
    encoder, about = load_encoder(tmp_path / "random-b")
    torch.manual_seed(params.seed)
    assert all(torch.equal(a, b) for a, b in zip(encoder.parameters(), encoder_of(params).parameters()))
    assert about["epochs"] == about["images"] == 0 and about["params"] == json.loads(params.model_dump_json())
    text = (tmp_path / "random-b/README.md").read_text()
    assert "0: as initialised" in text and "first weights, drawn by this project" in text and "fingerprint" not in text


def test_a_run_of_no_epochs_is_refused(run, tiny, data, tmp_path):
    job = tiny.pretraining("random-b").model_dump_json()
    with pytest.raises(SystemExit, match="leaves nothing to train; `cae initialise` draws its first weights"):
        run(
            "pretrain",
            "--data",
            data["imagenet"],
            "--params",
            job,
            "--work",
            tmp_path,
            "--output",
            tmp_path / "random-b",
        )
