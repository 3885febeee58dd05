"""The steps of the DAG on a tiny run: what each leaves behind, and that it is what its reader expects."""

import json

import numpy as np
import pytest
import timm
import torch

from cae.analysis.reconstruction import reconstruct
from cae.data.batches import Views
from cae.data.datasets import Images
from cae.data.views import LANCZOS
from cae.models.encoders import load_encoder
from cae.tasks.pretrain import load_model
from cae.tokenizers import cache, store
from tests.conftest import text


def test_tokens_read_equal_tokens_computed(tiny, data, tokenizer, tokens):
    cached = cache.open_cache(tokens, (128, 2, 6, 6), {})
    model, about = store.load(tokenizer)
    views = Views(Images(data["imagenet"], 0), tiny.view, 2, about["params"]["input_size"], 0, LANCZOS)
    picked = np.array([0, 63, 64, 127, 5])  # both shards
    for view in range(2):
        computed = model.tokens(torch.from_numpy(views(picked, view))).numpy()
        np.testing.assert_array_equal(cached[picked, view], computed)


def test_tokenizer_reports_its_codebook(tokenizer):
    report = np.load(tokenizer / "report.npz")
    assert report["counts"].sum() == 100 * 36
    assert 1 <= report["perplexity"] <= 32 and 0 < report["used"] <= 1
    assert report["images"].shape == report["reconstructions"].shape


def test_pretrained_encoder_loads_with_timm_alone(pretrained, data):
    folder = pretrained("cae-b-300")
    vit = timm.create_model(f"local-dir:{folder}", pretrained=True)
    ours, _ = load_encoder(folder)
    images = torch.randn(2, 3, 48, 48)
    torch.testing.assert_close(vit.eval().forward_features(images), ours.forward_features(images))
    whole = load_model(folder).encoder
    torch.testing.assert_close(whole.forward_features(images), ours.forward_features(images))


def test_metrics_count_images(pretrained):
    rows = [json.loads(line) for line in (pretrained("cae-b-300") / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["step"] == 2 * (128 // 32) and rows[-1]["images"] == 256
    assert {"loss", "decoding", "alignment", "accuracy", "lr", "images_per_second"} <= set(rows[-1])
    for row in rows:
        assert row["loss"] == pytest.approx(row["decoding"] + 2 * row["alignment"], rel=1e-5)


def test_pretraining_twice_gives_the_same_bytes(run, tiny, data, tokenizer, tokens, pretrained):
    job = tiny.pretraining("cae-b-300").model_dump_json()
    again = run.folder / "again"
    common = ["--data", data["imagenet"], "--tokenizer", tokenizer, "--tokens", tokens, "--params", job]
    run("pretrain", *common, "--work", run.folder / "work" / "again", "--output", again)
    first = (pretrained("cae-b-300") / "model.safetensors").read_bytes()
    assert (again / "model.safetensors").read_bytes() == first


def test_zero_epochs_leave_the_encoder_that_training_starts_from(tiny, pretrained):
    from cae.methods.cae import CAE

    torch.manual_seed(0)
    model = CAE(tiny.pretraining("cae-b-300"), 32)
    random, _ = load_encoder(pretrained("random-b"))
    for name, value in model.encoder.state_dict().items():
        torch.testing.assert_close(random.state_dict()[name], value, msg=name)


def test_analyses_leave_their_arrays(run, tiny, data, pretrained):
    out = run.folder / "analyze"
    job = text(figure3=tiny.analyses.figure3, image=tiny.image, view=tiny.view, mask=tiny.shared_mask, seed=0)
    run("masks-and-crops", "--data", data["imagenet"], "--params", job, "--output", out / "figure3.npz")
    figure3 = np.load(out / "figure3.npz")
    assert set(figure3) == {"images", "masks", "boxes", "labels", "crop_frequency", "mask_frequency"}
    assert (figure3["masks"].sum((1, 2)) == 18).all() and figure3["boxes"].shape == (4, 4, 4)

    models = [pretrained("cae-b-300-pixels"), pretrained("cae-b-300-pixels-no-align")]
    job = text(figure4=tiny.analyses.figure4, seed=0)
    run(
        "reconstruct", "--data", data["imagenet"], "--models", *models, "--params", job, "--output", out / "figure4.npz"
    )
    figure4 = np.load(out / "figure4.npz")
    assert figure4["with_alignment"].shape == figure4["images"].shape and figure4["mse"].shape == (2, 4)
    pixels = torch.from_numpy(figure4["images"])
    again = reconstruct(load_model(models[0]), pixels).mul(255).round().byte()
    np.testing.assert_array_equal(again.numpy(), figure4["with_alignment"])

    models = [pretrained("cae-b-300"), pretrained("random-b")]
    job = text(figure5=tiny.analyses.figure5, seed=0)
    run("tsne", "--data", data["ade20k"], "--models", *models, "--params", job, "--output", out / "figure5.npz")
    figure5 = np.load(out / "figure5.npz")
    assert figure5["points_0"].shape == figure5["points_1"].shape == (len(figure5["labels"]), 2)
    assert figure5["labels"].min() >= 1 and np.bincount(figure5["labels"]).max() <= 50


def test_finished_run_does_not_hinder_one_with_other_params(run, tiny, data, tokenizer, tokens, pretrained, tmp_path):
    pretrained("cae-b-300")
    work = run.folder / "work" / "cae-b-300"
    other = tiny.pretraining("cae-b-300").model_copy(update={"lr": 1e-4}).model_dump_json()
    common = ["--data", data["imagenet"], "--tokenizer", tokenizer, "--tokens", tokens, "--work", work]
    run("pretrain", *common, "--params", other, "--output", tmp_path / "cae-b-300")
    encoders = [folder / "model.safetensors" for folder in (tmp_path / "cae-b-300", pretrained("cae-b-300"))]
    assert encoders[0].read_bytes() != encoders[1].read_bytes()
