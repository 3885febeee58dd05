"""Segmentation from end to end: windows, the command, the choice among learning rates."""

import json

import numpy as np
import pytest
import torch

from cae.data.segmentation import Labelled
from cae.models.segmenter import Segmenter
from cae.params import load
from cae.tasks import choose
from cae.tasks.segment import SegmentJob, evaluate, slide, starts
from cae.training.optim import warmup_poly
from tests.conftest import ROOT, text


@pytest.mark.parametrize("length", [512, 513, 683, 853, 854, 1024, 2048])
def test_windows_cover_every_pixel_and_none_is_needless(length):
    places = starts(length, 512, 341)
    covered = np.zeros(length, int)
    for place in places:
        covered[place : place + 512] += 1
    assert covered.min() >= 1 and places[0] == 0 and places[-1] == length - 512 and places == sorted(set(places))
    assert len(places) == max(length - 512 + 340, 0) // 341 + 1  # mmsegmentation's number


def own(windows):
    """Logits that are a pixel's own values, wherever its window is."""
    return windows.permute(0, 3, 1, 2).float()


@pytest.mark.parametrize("size", [(8, 8), (20, 31), (5, 30), (3, 4), (9, 8)])
def test_windows_give_back_what_one_pass_would(size):
    pixels = torch.randint(0, 256, (3, *size), dtype=torch.uint8)
    torch.testing.assert_close(slide(own, pixels, 8, 5), pixels.float())


def test_windows_are_averaged_where_they_overlap():
    numbered = lambda windows: torch.arange(float(len(windows)))[:, None, None, None].expand(-1, 1, 8, 8)  # noqa: E731
    found = slide(numbered, torch.zeros(3, 8, 12, dtype=torch.uint8), 8, 4)
    assert found[0, 0].tolist() == [0] * 4 + [0.5] * 4 + [1] * 4


def test_the_truth_has_a_miou_of_100(data, monkeypatch):
    images = Labelled(data["ade20k"], 1)
    (recipe,) = load(ROOT / "params" / "demo.yaml").segmenting("cae-b-300").values()
    p = SegmentJob(**recipe.model_dump() | {"scale": [56, 56], "crop": 56}, seed=0)
    truths = iter([images[i][1] for i in range(len(images))])

    class Knows(torch.nn.Module):
        def logits(self, windows):
            labels = torch.as_tensor(next(truths)).long()
            return torch.nn.functional.one_hot(labels.clamp(max=10), 11).permute(2, 0, 1)[None]

    matrix, pictures = evaluate(Knows(), images, p, 11, torch.device("cpu"), 0, "truth")
    assert matrix.sum() == matrix.trace() == sum((images[i][1] != 255).sum() for i in range(len(images)))
    assert len([name for name in pictures if name.startswith("image_")]) == 6
    assert np.array_equal(pictures["image_5"], images[len(images) - 1][0].permute(1, 2, 0))


def test_rates_grow_and_then_fall_to_nothing():
    rates = [warmup_poly(step, steps=10, warmup=4, lr=2.0) for step in range(10)]
    assert rates[0] == 0 and rates[2] == pytest.approx(2 * 0.8 / 2)
    assert rates[4:] == pytest.approx([2 * (1 - step / 10) for step in range(4, 10)])


# --- the command


@pytest.fixture(scope="module")
def segmented(run, tiny, data, pretrained):
    """A function (name, model, learning rate, options): folder, made once."""

    def segmented(name, model="cae-b-300", lr=1e-3, options=(), **changes):
        folder = run.folder / "segment" / name
        if not (folder / "metrics.json").exists():
            job = next(iter(tiny.segmenting(model).values())).model_dump()
            common = ["--data", data["ade20k"], "--encoder", pretrained(model), "--output", folder]
            work = run.folder / "work" / f"segment-{name}"
            run("segment", *common, "--params", text(**job | {"seed": 0, "lr": lr} | changes), "--work", work, *options)
        return folder

    return segmented


def metrics_of(folder):
    return json.loads((folder / "metrics.json").read_text())


@pytest.mark.parametrize("model", ["cae-b-300", "beit-b-300", "deit-b-300"])
def test_every_kind_of_encoder_segments(segmented, model):
    folder = segmented(model, model)
    metrics = metrics_of(folder)
    assert {
        "miou",
        "pixel_accuracy",
        "class_accuracy",
        "params_hash",
        "seconds",
        "images_per_second",
        "revision",
    } <= metrics.keys()
    assert (metrics["model"], metrics["protocol"], metrics["classes"], metrics["steps"]) == (model, "ade20k", 11, 4)
    assert list(metrics["iou"]) == ["background", *(f"digit {i}" for i in range(10))]
    assert np.isfinite(metrics["losses"]).all() and 0 <= metrics["miou"] <= 100
    assert {path.name for path in folder.iterdir()} == {
        "model.safetensors", "metrics.jsonl", "metrics.json", "examples.npz"}  # fmt: skip


def test_interrupted_run_ends_with_the_same_bytes(segmented, monkeypatch):
    expected = segmented("cae-b-300")
    forward, calls = Segmenter.forward, []

    def fail_once(self, batch):
        calls.append(batch)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return forward(self, batch)

    monkeypatch.setattr(Segmenter, "forward", fail_once)
    with pytest.raises(SystemExit, match="interrupted"):
        segmented("again", options=["--checkpoint-minutes", 0])
    folder = segmented("again")
    assert (folder / "model.safetensors").read_bytes() == (expected / "model.safetensors").read_bytes()
    assert metrics_of(folder)["miou"] == metrics_of(expected)["miou"]


def test_the_best_learning_rate_is_reported_with_all_that_were_tried(run, tmp_path):
    for lr, miou in {1e-4: 40.0, 3e-4: 42.5, 4e-4: 41.0}.items():
        (tmp_path / f"{lr:g}").mkdir()
        content = {
            "model": "cae-b-300",
            "protocol": "ade20k",
            "lr": lr,
            "miou": miou,
            "seconds": 10.0,
            "params_hash": f"{lr}",
        }
        (tmp_path / f"{lr:g}" / "metrics.json").write_text(json.dumps(content))
        np.savez(tmp_path / f"{lr:g}" / "examples.npz", lr=lr)
        (tmp_path / f"{lr:g}" / "examples.npz").chmod(0o444)  # as DVC's links are
    files = sorted(tmp_path.glob("*/metrics.json"))
    run("choose", "--metrics", tmp_path / "best.json", "--output", tmp_path / "best.npz", *files)
    best = json.loads((tmp_path / "best.json").read_text())
    assert (best["lr"], best["miou"], best["seconds"], best["params_hash"]) == (3e-4, 42.5, 30.0, "0.0003")
    assert best["search"] == {"0.0001": 40.0, "0.0003": 42.5, "0.0004": 41.0}
    assert np.load(tmp_path / "best.npz")["lr"] == 3e-4


def test_appendix_a():
    paper = load(ROOT / "params" / "paper.yaml")
    base, large = paper.segmenting("cae-b-300"), paper.segmenting("cae-l-1600")
    assert list(base) == [1e-4, 2e-4, 3e-4, 4e-4] and list(large) == [3e-5, 4e-5, 5e-5]
    one, two = base[1e-4], large[4e-5]
    assert (one.steps, one.batch_size, one.crop, one.layer_decay, one.drop_path, one.lr) == (
        160000,
        16,
        512,
        0.65,
        0.1,
        1e-4,
    )
    assert (two.layer_decay, two.drop_path, two.channels) == (0.95, 0.15, 1024)


def test_choosing_needs_no_torch():
    import subprocess
    import sys

    code = f"import {choose.__name__}, sys; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
