"""Detection from end to end: the evaluator on known answers, the command, and a detector that learns its images by heart."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from cae.data.detection import Instances, Scenes
from cae.errors import UserError
from cae.models.backbone import trainable
from cae.models.detector import Detector
from cae.params import Detection, load
from cae.tasks.detect import as_results, average_precision, detect, picture
from cae.training.optim import adamw_by_layer, warmup_steps
from tests.conftest import ROOT, text
from tests.models.test_classifier import VIT, encoder

STEPS = 400  # to learn eight images by heart


def truth_as_found(instances, i, score=0.9):
    target = instances[i][1]
    scores = torch.full((len(target["labels"]),), score)
    return {"boxes": torch.as_tensor(target["boxes"]), "labels": target["labels"], "scores": scores,
            "masks": torch.as_tensor(target["masks"]).bool()}  # fmt: skip


@pytest.fixture(scope="module")
def val(data):
    return Instances(data["coco"], 1, labelled=False)


def test_the_truth_has_an_average_precision_of_100(val):
    results = [each for i in range(len(val)) for each in as_results(val, i, truth_as_found(val, i))]
    scores = average_precision(val, results)
    assert scores.keys() == {f"{kind}_{stat}" for kind in ("box", "mask") for stat in ("ap", "ap50", "ap75")}
    assert all(score == pytest.approx(100, abs=0.1) for score in scores.values())


@pytest.mark.parametrize("spoil", ["labels", "boxes", "images"])
def test_anything_else_has_not(val, spoil):
    results = []
    for i in range(len(val)):
        found = truth_as_found(val, i)
        if spoil == "labels":
            found["labels"] = found["labels"] % 10 + 1
        if spoil == "boxes":
            found["boxes"] = found["boxes"] / 2
        results += as_results(val, (i + 1) % len(val) if spoil == "images" else i, found)
    scores = average_precision(val, results)
    assert scores["box_ap"] < 30 and (spoil == "boxes") == (scores["mask_ap"] > 99)  # masks are where they were


def test_nothing_found_is_zero(val):
    assert set(average_precision(val, []).values()) == {0.0}


@pytest.mark.parametrize("found", [True, False])
def test_crowds_alone_have_no_average_precision(data, found):
    crowds = Instances(data["coco"], 1, labelled=False)
    results = as_results(crowds, 0, truth_as_found(crowds, 0)) if found else []
    for each in crowds.coco.anns.values():
        each["iscrowd"] = 1
    with pytest.raises(UserError, match="val2017: all objects are crowds, so there is no AP"):
        average_precision(crowds, results)


def test_results_are_in_cocos_form(val):
    image = val.coco.imgs[val.ids[0]]
    for each in as_results(val, 0, truth_as_found(val, 0)):
        truth = next(a for a in val.coco.imgToAnns[image["id"]] if np.allclose(a["bbox"], each["bbox"], atol=0.01))
        assert each["category_id"] == truth["category_id"] and each["image_id"] == image["id"]
        assert each["segmentation"]["size"] == [image["height"], image["width"]]
    json.dumps(as_results(val, 0, truth_as_found(val, 0)))


def test_rates_fall_at_the_milestones_after_a_warm_up():
    rates = [warmup_steps(step, milestones=[9, 11], warmup=4, ratio=0.001, lr=2.0) for step in range(12)]
    assert rates[0] == pytest.approx(0.002) and rates[2] == pytest.approx(2 * 0.5005) and rates[4:9] == [2.0] * 5
    assert rates[9:] == pytest.approx([0.2, 0.2, 0.02])


# --- the command


@pytest.fixture(scope="module")
def detected(run, tiny, data, pretrained):
    """A function (name, model, cascade, options): folder and metrics, made once."""

    def detected(name, model="cae-b-300", cascade=False, options=(), **changes):
        folder, metrics = run.folder / "detect" / name, run.folder / "detect" / f"{name}.json"
        if not metrics.exists():
            job = text(**tiny.detecting(model).model_dump() | {"seed": 0, "cascade": cascade} | changes)
            common = [
                "--data",
                data["coco"],
                "--encoder",
                pretrained(model),
                "--params",
                job,
                "--protocol",
                "coco-mask",
            ]
            work = run.folder / "work" / f"detect-{name}"
            run("detect", *common, "--work", work, "--metrics", metrics, "--output", folder, *options)
        return folder, json.loads(metrics.read_text())

    return detected


@pytest.mark.parametrize(("model", "cascade"), [("cae-b-300", False), ("beit-b-300", True), ("deit-b-300", False)])
def test_every_kind_of_encoder_detects(detected, model, cascade):
    folder, metrics = detected(f"{model}-{cascade}", model, cascade)
    assert {"box_ap", "box_ap50", "box_ap75", "mask_ap", "mask_ap50", "mask_ap75", "params_hash", "revision", "seconds",
            "images_per_second", "evaluation_seconds"} <= metrics.keys()  # fmt: skip
    assert (metrics["model"], metrics["classes"], metrics["val_images"]) == (model, 10, 6)
    assert "4conv1fc" in metrics["note"] and np.isfinite(metrics["losses"]).all()
    assert {path.name for path in folder.iterdir()} == {
        "model.safetensors", "metrics.jsonl", "detections.json", "examples.npz"}  # fmt: skip
    assert load_file(folder / "model.safetensors")


def test_pictures_have_images_truth_and_predictions(detected, val):
    folder, _ = detected("cae-b-300-False")
    pictures = dict(np.load(folder / "examples.npz"))
    assert pictures["names"].tolist() == val.names
    for i in range(6):
        pixels, target = val[i]
        assert np.array_equal(pictures[f"image_{i}"], pixels.permute(1, 2, 0))
        assert np.array_equal(pictures[f"truth_{i}_labels"] + 1, target["labels"])
        assert pictures[f"prediction_{i}_masks"].shape[1:] == pixels.shape[1:]
        scores = pictures[f"prediction_{i}_scores"]
        assert len(scores) <= 1 or (scores >= 0.3).all()


def test_pictures_show_the_surest_find_and_all_that_are_sure():
    image, target = torch.zeros(3, 4, 4, dtype=torch.uint8), {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0)}
    target["masks"] = torch.zeros(0, 4, 4)
    for scores, shown in (([0.2, 0.1], 1), ([0.9, 0.4, 0.2], 2), ([], 0)):
        n = len(scores)
        found = {"boxes": torch.zeros(n, 4), "labels": torch.ones(n), "masks": torch.zeros(n, 4, 4)}
        arrays = picture(0, image, target, found | {"scores": torch.tensor(scores)})
        assert len(arrays["prediction_0_scores"]) == len(arrays["prediction_0_boxes"]) == shown


def test_interrupted_run_ends_with_the_same_bytes(detected, monkeypatch):
    expected, metrics = detected("cae-b-300-False")
    forward, calls = Detector.forward, []

    def fail_once(self, batch):
        calls.append(batch)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return forward(self, batch)

    monkeypatch.setattr(Detector, "forward", fail_once)
    with pytest.raises(SystemExit, match="interrupted"):
        detected("again", options=["--checkpoint-minutes", 0])
    folder, again = detected("again")
    assert (folder / "model.safetensors").read_bytes() == (expected / "model.safetensors").read_bytes()
    assert again["box_ap"] == metrics["box_ap"] and again["losses"] == metrics["losses"]


def test_a_warm_up_longer_than_the_run_is_refused(detected):
    with pytest.raises(SystemExit, match="coco.warmup_steps 4 leaves none of the run's 4 steps"):
        detected("long", warmup_steps=4)


def test_eight_images_are_learned_by_heart(data):
    """Box AP of a Mask R-CNN on the images that it was trained on."""
    torch.manual_seed(0)
    about = VIT[0], VIT[1] | {"img_size": 48, "embed_dim": 32, "num_heads": 2}
    vit, _, _ = trainable(
        *encoder(*about), relative_positions=False, drop_path=0.0, num_classes=0, dynamic_img_size=True
    )
    paper = load(ROOT / "params" / "paper.yaml").detecting("cae-b-300").model_dump()
    small = {"channels": 32, "head_width": 64, "proposals": 60, "regions": 32, "short_sides": [48], "long_side": 96}
    params = Detection(**paper | small | {"crop": None, "heads": "torchvision"})
    instances = Instances(data["coco"], 0, labelled=True)
    assert len(instances) == 8
    model = Detector(vit, params, 10, cascade=False)
    optimizer = adamw_by_layer(vit, model, lr=2e-3, betas=(0.9, 0.999), weight_decay=0.0, layer_decay=1.0)
    scenes = [
        Scenes(instances, 0.0, None, 0, (params.short_sides, params.long_side))[0, np.array([i])] for i in range(8)
    ]
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = warmup_steps(step, milestones=[STEPS * 3 // 4], warmup=40, ratio=0.01, lr=1e-3)
        model(scenes[step % 8])["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()
    found, _ = detect(model, instances, torch.device("cpu"), "float32", 0, "by heart")
    assert average_precision(instances, found)["box_ap"] > 80
