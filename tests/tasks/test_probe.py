"""Probing: what both protocols report, and that a run that was stopped ends as one that was not."""

import json
import signal

import numpy as np
import pytest
import torch

from cae.data.batches import CentreCrops
from cae.data.datasets import Images
from cae.models.encoders import load_encoder
from cae.models.probes import AttentiveProbe, LinearProbe
from cae.models.vit import normalise
from cae.tasks.probe import Head
from cae.training.devices import machine
from cae.weights import load_weights
from tests.conftest import text


def to(folder):
    """Where a probe's results go: options, and the files of weights."""
    weights = [folder / protocol / "model.safetensors" for protocol in ("linear", "attentive")]
    metrics = ["--linear", folder / "linear.json", "--attentive", folder / "attentive.json"]
    return [*metrics, "--weights", *weights]


@pytest.fixture
def probe(run, tiny, data, pretrained, tmp_path):
    """A function (name, options, change of the job): both protocols' metrics and the rows of the run."""

    def probe(name="once", options=(), **change):
        outputs = [tmp_path / name / f"{protocol}.json" for protocol in ("linear", "attentive")]
        work = tmp_path / name / "work"
        run("probe", "--data", data["imagenet"], "--encoder", pretrained("cae-b-300"), "--work", work,
            "--params", text(**{**tiny.probes.model_dump(), "seed": 0, **change}),
            *to(tmp_path / name), *options)  # fmt: skip
        assert sorted(path.name for path in work.iterdir()) == ["lock", "metrics.jsonl"]
        rows = [json.loads(line) for line in (work / "metrics.jsonl").open()]
        return [timeless(json.loads(path.read_text())) for path in outputs], [timeless(row) for row in rows]

    return probe


def timeless(values: dict) -> dict:
    return {key: value for key, value in values.items() if "second" not in key}


def test_probes_report_both_protocols(probed):
    metrics = probed("cae-b-300")
    for protocol, values in metrics.items():
        assert values["model"] == "cae-b-300" and values["protocol"] == protocol
        assert 0 <= values["top1"] <= values["top5"] <= 100
        assert values["val_images"] == 100 and values["classes"] == 10 and len(values["curve"]) == 4
        assert values["machine"] == machine("cpu") != ""


def test_the_probes_weights_give_the_accuracies_that_are_reported(run, tiny, data, pretrained, probed):
    """Each on tokens computed anew, and they are all of the probe, statistics included."""
    metrics, val = probed("cae-b-300"), Images(data["imagenet"], 1)
    vit, _ = load_encoder(pretrained("cae-b-300"))
    with torch.no_grad():
        tokens = vit.forward_features(normalise(CentreCrops(val, 48)[0, np.arange(len(val))]["pixels"]))
        for protocol, probe in {"linear": LinearProbe(16, 10), "attentive": AttentiveProbe(16, 2, 10)}.items():
            load_weights(run.folder / protocol / "cae-b-300" / "model.safetensors", probe)
            right = (probe.eval()(tokens).argmax(1).numpy() == val.labels).mean()
            assert 100 * right == pytest.approx(metrics[protocol]["top1"], abs=2), protocol  # its tokens were float16


@pytest.mark.parametrize("how", ["killed", "SIGTERM"])
@pytest.mark.parametrize("micro", [4, 9])  # micro-batches done: at an epoch's end, within one
@pytest.mark.parametrize("kept", [True, False])
def test_a_stopped_probe_ends_the_same(probe, monkeypatch, how, micro, kept):
    """Each time with a gradient of the linear probe, whose batches are three micro-batches, that waits for the rest."""
    if not kept:
        monkeypatch.setattr("cae.tasks.probe.KEEP_BYTES", 0)
    change = {"linear": {"batch_size": 96, "lr": 0.1, "min_lr": 0.0}}
    expected = probe(**change)
    train_on, calls = Head.train_on, []

    def stop_once(self, *arguments):
        calls.append(self)
        if how == "killed" and len(calls) == 2 * micro + 1:
            raise KeyboardInterrupt
        if how == "SIGTERM" and len(calls) == 2 * micro:
            signal.raise_signal(signal.SIGTERM)
        return train_on(self, *arguments)

    monkeypatch.setattr(Head, "train_on", stop_once)
    with pytest.raises(
        (KeyboardInterrupt, SystemExit), match=f"saved at step {micro} of 16" if how == "SIGTERM" else None
    ):
        probe("again", ["--checkpoint-minutes", 0 if how == "killed" else 10], **change)
    assert probe("again", **change) == expected
    assert len(calls) == 2 * 16 + (how == "killed")
    losses = [row["loss_linear"] for row in expected[1] if "loss_linear" in row]
    assert len(expected[1]) == 16 and len(losses) == 12  # four steps of three micro-batches: one an epoch


def test_sigterm_is_answered_while_a_whole_view_is_encoded(probe, monkeypatch):
    from cae.tasks.probe import normalise

    passes = []

    def at_the_tenth(pixels):  # four of the first view and four of validation went before
        passes.append(pixels)
        if len(passes) == 10:
            signal.raise_signal(signal.SIGTERM)
        return normalise(pixels)

    expected = probe()
    monkeypatch.setattr("cae.tasks.probe.normalise", at_the_tenth)
    with pytest.raises(SystemExit, match="probe cae-b-300: saved at step 4 of 16; run the same command to go on"):
        probe("again")
    assert len(passes) == 10
    assert probe("again") == expected


def test_statistics_of_validation_batches_are_an_option(run, tiny, data, pretrained, probed, tmp_path):
    """As the public code: the attentive probe's accuracy may move, the linear probe's does not."""
    job = {**tiny.probes.model_dump(), "seed": 0}
    job["attentive"] = {**job["attentive"], "validation_statistics": "batch"}
    outputs = [tmp_path / "linear.json", tmp_path / "attentive.json"]
    common = ["--data", data["imagenet"], "--encoder", pretrained("cae-b-300"), "--work", tmp_path / "work"]
    run("probe", *common, "--params", text(**job), *to(tmp_path))
    linear, attentive = (json.loads(path.read_text()) for path in outputs)
    assert linear["curve"] == probed("cae-b-300")["linear"]["curve"]
    assert attentive["curve"] != probed("cae-b-300")["attentive"]["curve"]


def test_keeping_tokens_changes_nothing_but_time(run, tiny, data, pretrained, probed, tmp_path, monkeypatch):
    from cae.tasks import probe

    expected = probed("cae-b-300")
    monkeypatch.setattr(probe, "KEEP_BYTES", 0)
    outputs = [tmp_path / "linear.json", tmp_path / "attentive.json"]
    job = text(**{**tiny.probes.model_dump(), "seed": 0})
    common = ["--data", data["imagenet"], "--encoder", pretrained("cae-b-300"), "--work", tmp_path / "work"]
    run("probe", *common, "--params", job, *to(tmp_path))
    for path, values in zip(outputs, expected.values()):
        # Kept tokens are float16: a few of the hundred validation images may tip over.
        assert json.loads(path.read_text())["top1"] == pytest.approx(values["top1"], abs=5)
