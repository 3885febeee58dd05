"""Fine-tuning: the published rule of learning rates, the loss, and the command from end to end."""

import json

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file

from cae.data.datasets import Images
from cae.data.few_labels import chosen
from cae.data.views import centre_crop
from cae.errors import UserError
from cae.models.classifier import classifier
from cae.models.supervised import Supervised
from cae.models.vit import normalise
from cae.params import load
from cae.tasks.finetune import FineTuneJob
from cae.training.optim import Optimisation, adamw_by_layer
from tests.conftest import ROOT, text
from tests.models.test_classifier import BEIT, VIT, encoder

DATA = {"finetune": "imagenet", "finetune-25": "imagenet"}


def job(tiny, name="cae-b-300", **change) -> str:
    return text(**(tiny.finetuning(name).model_dump() | {"seed": 0} | change))


@pytest.fixture(scope="module")
def finetune(run, tiny, data, pretrained):
    """A function (name of the output, encoder, options, protocol, change of the job): folder and metrics' file,
    fine-tuned once."""

    def finetune(name, model="cae-b-300", options=(), protocol="finetune", **change):
        folder, metrics = run.folder / "finetune" / name, run.folder / "finetune" / f"{name}.json"
        if not metrics.exists():
            common = ["--data", data[DATA.get(protocol, protocol)], "--encoder", pretrained(model)]
            common += ["--protocol", protocol, "--params", job(tiny, **change)]
            work = run.folder / "work" / f"finetune-{name}"
            run("finetune", *common, "--work", work, "--metrics", metrics, "--output", folder, *options)
        return folder, metrics

    return finetune


# --- learning rates


def published(name: str, depth: int) -> int:
    """BEiT's `get_num_layer_for_vit`."""
    if name in ("cls_token", "mask_token", "pos_embed") or name.startswith("patch_embed"):
        return 0
    return int(name.split(".")[1]) + 1 if name.startswith("blocks") else depth + 1


@pytest.mark.parametrize("relative", [True, False])
def test_rates_fall_layer_by_layer_as_published(relative):
    base = load(ROOT / "params" / "paper.yaml").finetuning("cae-b-300")
    vit, config = encoder(VIT[0], VIT[1] | {"depth": 12})
    model, _, _ = classifier(vit, config, 7, relative)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    seen = {}
    rates = base.model_dump(include={"lr", "betas", "weight_decay", "layer_decay"})
    for group in adamw_by_layer(model, model, **rates).param_groups:
        for parameter in group["params"]:
            seen[names[id(parameter)]] = group["lr_scale"], group["weight_decay"], parameter.ndim
    assert seen.keys() == {name for name, parameter in model.named_parameters() if name != "pos_embed"}
    for name, (scale, decay, ndim) in seen.items():
        assert scale == pytest.approx(0.65 ** (13 - published(name, 12))), name
        assert decay == (0.0 if ndim == 1 or name == "cls_token" else 0.05), name
    assert seen["head.weight"][0] == seen["fc_norm.bias"][0] == 1 and seen["cls_token"][0] == pytest.approx(0.65**13)


def test_loop_gives_each_group_its_share(tmp_path):
    from cae.training.devices import start
    from cae.training.loop import train
    from cae.training.run import Runtime, Settings
    from tests.training.test_loop import Schedule, Toy, toy_batches

    model, schedule = Toy(), Schedule(40, 8, 4, 1)
    other = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.AdamW([{"params": model.parameters(), "lr_scale": 0.25}, {"params": [other]}], lr=1.0)
    settings = Settings(Runtime(work=tmp_path), 0, "a")
    train(start(1, 0), model, toy_batches(schedule), schedule, settings, Optimisation(optimizer, lambda step: 0.1))
    assert [group["lr"] for group in optimizer.param_groups] == [0.025, 0.1]


# --- loss


@pytest.mark.parametrize("about", [VIT, BEIT], ids=["vit", "beit"])
def test_loss_by_hand(tiny, about):
    """In evaluation mode: smoothed labels, no mixing, no erasing."""
    network, _, _ = classifier(*encoder(*about), 10, True)
    torch.nn.init.normal_(network.head.weight)
    model = Supervised(network, tiny.finetuning("cae-b-300"), 10).eval()
    pixels = torch.randint(0, 256, (6, 24, 24, 3), dtype=torch.uint8)
    logits = network(normalise(pixels)).detach().double().numpy()
    logs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    target = np.full((6, 10), 0.01)
    target[np.arange(6), np.arange(6)] += 0.9
    loss = model({"views": [pixels], "labels": torch.arange(6)})["loss"]
    assert loss.item() == pytest.approx(-(target * logs).sum(1).mean(), rel=1e-4)


@pytest.mark.parametrize("mixup,cutmix", [(0.8, 1.0), (0.8, 0.0), (0.0, 1.0), (0.0, 0.0)])
def test_either_mix_may_be_left_out(tiny, mixup, cutmix):
    network, _, _ = classifier(*encoder(*VIT), 10, True)
    params = tiny.finetuning("cae-b-300").model_copy(update={"mixup": mixup, "cutmix": cutmix, "erasing": 0.0})
    model = Supervised(network, params, 10)
    shown = []
    network.forward = lambda images: shown.append(images) or images.mean((1, 2, 3))[:, None].expand(-1, 10)
    pixels = torch.randint(0, 256, (4, 24, 24, 3), dtype=torch.uint8)
    kinds = set()
    for seed in range(12):
        torch.manual_seed(seed)
        model({"views": [pixels], "labels": torch.arange(4)})
        changed = (shown[-1] - normalise(pixels)).abs().amax(1)[0] > 1e-6  # of the first image
        kinds.add("no" if not changed.any() else "all" if changed.float().mean() > 0.97 else "part")
    assert ("all" in kinds) == bool(mixup) and ("part" in kinds) == bool(cutmix)
    assert mixup or cutmix or kinds == {"no"}


# --- the command


def test_metrics_are_those_of_the_classifier_left_behind(run, tiny, data, finetune):
    folder, file = finetune("once")
    metrics = json.loads(file.read_text())
    vit = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    images = Images(data["imagenet"], 1)
    crops = torch.from_numpy(np.stack([centre_crop(images[i], 48) for i in range(100)]))
    with torch.inference_mode():
        ranks = vit(normalise(crops)).argsort(1, descending=True).numpy() == images.labels[:, None]
    assert metrics["top1"] == pytest.approx(100 * ranks[:, 0].mean())
    assert metrics["top5"] == pytest.approx(100 * ranks[:, :5].any(1).mean())
    assert (metrics["model"], metrics["protocol"], metrics["val_images"], metrics["classes"]) == (
        "cae-b-300", "finetune", 100, 10)  # fmt: skip
    assert {"params_hash", "revision", "seconds", "images_per_second", "train_images", "epochs"} <= metrics.keys()
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert metrics["losses"] == [round(row["loss"], 4) for row in rows] and len(rows) == rows[-1]["step"]
    assert not (run.folder / "work" / "finetune-once" / "state.ckpt").exists()
    output = run.folder / "classified.json"
    common = ["--data", data["imagenet"], "--encoder", folder, "--output", output]
    run("classify", *common, "--params", text(micro_batch=33))
    assert json.loads(output.read_text())["top1"] == metrics["top1"]


def test_training_moves_every_parameter_but_the_positions(finetune, pretrained):
    before, after = (load_file(f / "model.safetensors") for f in (pretrained("cae-b-300"), finetune("once")[0]))
    assert torch.equal(before["pos_embed"], after["pos_embed"])
    same = {name for name in before.keys() & after.keys() if torch.equal(before[name], after[name])}
    assert same == {"pos_embed"}
    assert all(after[f"blocks.{i}.attn.relative_position_bias_table"].any() for i in range(2))


@pytest.mark.parametrize("model", ["beit-b-300", "simmim-b-800", "deit-b-300"])
def test_every_kind_of_encoder_is_fine_tuned(finetune, model):
    _, file = finetune(model, model)
    metrics = json.loads(file.read_text())
    assert metrics["model"] == model and np.isfinite(metrics["losses"]).all()


def test_another_labelled_set_is_fine_tuned_on_alike(finetune):
    folder, file = finetune("clipart", protocol="clipart")
    metrics = json.loads(file.read_text())
    assert (metrics["protocol"], metrics["train_images"], metrics["val_images"]) == ("clipart", 64, 40)
    assert json.loads((folder / "provenance.json").read_text())["classes"] == metrics["classes"] == 10


def test_all_models_learn_from_the_same_few_labels(finetune, data, monkeypatch):
    images, seen = Images(data["imagenet"], 0), []
    expected = {images.paths[i] for i in chosen(images.labels, 0.25)}
    read = Images.__getitem__
    monkeypatch.setattr(Images, "__getitem__", lambda self, i: seen.append(self.paths[i]) or read(self, i))
    for model, seed in (("cae-b-300", 0), ("beit-b-300", 5)):
        seen.clear()
        folder, file = finetune(f"few-{model}", model, protocol="finetune-25", labels=0.25, epochs=2, batch_size=len(expected),
                                micro_batch=len(expected), seed=seed)  # fmt: skip
        assert {path for path in seen if path.startswith("train/")} == expected
        metrics, about = (json.loads(path.read_text()) for path in (file, folder / "provenance.json"))
        assert (metrics["protocol"], metrics["train_images"], metrics["val_images"]) == (
            "finetune-25",
            len(expected),
            100,
        )
        assert about["params"]["labels"] == 0.25 and about["images"] == 2 * len(expected)


def test_interrupted_run_ends_with_the_same_bytes(finetune, monkeypatch):
    expected, metrics = finetune("once")
    forward, calls = Supervised.forward, []

    def fail_once(self, batch):
        calls.append(batch)
        if len(calls) == 6:  # in the middle of a step: a batch is two micro-batches
            raise KeyboardInterrupt
        return forward(self, batch)

    monkeypatch.setattr(Supervised, "forward", fail_once)
    with pytest.raises(SystemExit, match="interrupted"):
        finetune("again", options=["--checkpoint-minutes", 0])
    folder, again = finetune("again")
    assert len(calls) == 6 + 4 * 2 - 4  # from the third step on
    assert (folder / "model.safetensors").read_bytes() == (expected / "model.safetensors").read_bytes()
    ours, theirs = (json.loads(file.read_text()) for file in (again, metrics))
    assert [ours[key] for key in ("top1", "top5", "losses")] == [theirs[key] for key in ("top1", "top5", "losses")]


def test_unknown_keys_are_refused(run, tiny, data, pretrained, tmp_path, capsys):
    with pytest.raises(SystemExit, match="--params: unknown key 'layer_dacay'; did you mean 'layer_decay'?"):
        run("finetune", "--data", data["imagenet"], "--protocol", "finetune", "--encoder", pretrained("cae-b-300"),
            "--work", tmp_path, "--metrics", tmp_path / "m.json", "--output", tmp_path / "out", "--params",
            job(tiny, layer_dacay=0.5))  # fmt: skip


# --- params


def test_appendix_a(tiny):
    paper = load(ROOT / "params" / "paper.yaml")
    for model, recipe in {
        "cae-s-300": (200, 1.6e-2, 0.75, 0.1),
        "mae-b-300": (100, 8e-3, 0.65, 0.1),
        "cae-l-1600": (50, 2e-3, 0.75, 0.2),
    }.items():
        p = paper.finetuning(model)
        assert (p.epochs, p.lr, p.layer_decay, p.drop_path) == recipe
        assert (p.batch_size, p.warmup_epochs, p.weight_decay, p.min_lr) == (4096, 5, 0.05, 1e-6)
        assert (p.randaugment, p.erasing, p.mixup, p.cutmix, p.smoothing) == (
            "rand-m9-mstd0.5-inc1", 0.25, 0.8, 1.0, 0.1)  # fmt: skip
    FineTuneJob(**paper.finetuning("cae-s-300").model_dump(), seed=0)


@pytest.mark.parametrize(
    "change,message",
    [
        ({"finetune": {"layer_decay": 0.5}}, "finetune: unknown key 'layer_decay'"),
        ({"finetune": {"sizes": {"base": {"lrr": 0.5}}}}, "finetune.sizes.base: unknown key 'lrr'; did you mean 'lr'?"),
        ({"finetune": {"sizes": {"bass": {"epochs": 9, "lr": 1.0, "layer_decay": 0.5, "drop_path": 0.0}}}},
         "finetune.sizes: unknown key 'bass'; did you mean 'base'?"),
        ({"finetune": {"micro_batch": 60}}, "finetune: batch_size 4096 is not a multiple of micro_batch 60"),
        ({"finetune": {"micro_batch": 1}}, "finetune: micro_batch 1 is odd: images are mixed in pairs"),
        ({"finetune": {"warmup_epochs": 50}}, "finetune: warmup_epochs 50 leaves none of the 50 epochs of large"),
        ({"resources": {"finetune": {"gpus": 7}}}, "finetune.batch_size 4096 is not a multiple of micro_batch x 7 GPUs"),
        ({"finetune": {"sizes": {"base": {"layer_decay": 1.5}}}}, "finetune.sizes.base.layer_decay"),
        ({"transfer": {"erassing": 0.1}}, "transfer: unknown key 'erassing'; did you mean 'erasing'?"),
        ({"transfer": {"micro_batch": 60}}, "transfer: batch_size 1024 is not a multiple of micro_batch 60"),
        ({"transfer": {"sizes": {"bass": {"lr": 1.0}}}}, "transfer.sizes.bass.epochs: Field required"),
        ({"few_labels": {"finetune-100": {}}}, "few_labels.finetune-100: 'finetune-100': a share of the labels is above 0 %"),
        ({"few_labels": {"linear": {}}}, "few_labels.linear: 'linear': fine-tuning with 10 % of the labels is named finetune-10"),
        ({"few_labels": {"finetune-1": {"micro_batch": 60}}},
         "few_labels.finetune-1: batch_size 1024 is not a multiple of micro_batch 60"),
        ({"few_labels": {"finetune-1": {"warmup_epochs": 300}}},
         "few_labels.finetune-1: warmup_epochs 300 leaves none of the 250 epochs of large"),
    ],
)  # fmt: skip
def test_mistakes_are_named(change, message):
    with pytest.raises(UserError) as error:
        load(ROOT / "params" / "paper.yaml", change)
    assert message in str(error.value)


def test_a_size_without_a_recipe_is_named_when_it_is_asked_for():
    own = {"sizes": {"tiny": {"width": 192, "depth": 12, "heads": 12, "layer_scale": 0.1}},
           "models": {"cae-t": {"method": "cae", "size": "tiny", "epochs": 1}}}  # fmt: skip
    params = load(ROOT / "params" / "paper.yaml", own)
    with pytest.raises(
        UserError, match="finetune.sizes: no recipe for the size 'tiny' of cae-t; there is: small, base"
    ):
        params.finetuning("cae-t")
