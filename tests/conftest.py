"""A whole tiny run, made once: scenes, tokenizer, token cache, CAEs, probes, each through the command line."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run side by side

import json
import subprocess
from pathlib import Path

import pytest
import torch

from cae import params
from cae.cli import main

ROOT = Path(__file__).parents[1]
# The first model of each method that is trained with ViT-B.
MODELS: dict[str, str] = {}
for name, model in params.read(ROOT / "params" / "paper.yaml")["models"].items():
    if model["size"] == "base" and model["epochs"]:
        MODELS.setdefault(model["method"], name)
MODELS = {method: MODELS[method] for method in params.METHODS}
NARROW = {"batch_size": 32, "decoder_width": 16, "decoder_heads": 2, "hidden_width": 32, "output_width": 16, "bottleneck": 16,
          "outputs": 64}  # fmt: skip


def narrow(recipe) -> dict:
    """A method's recipe, as small as tests have it."""
    micro_batch = 16 if "mask" in recipe.model_fields else 32
    return {"micro_batch": micro_batch} | {key: NARROW[key] for key in NARROW if key in recipe.model_fields}


TINY = {
    "only": None,
    "cells": None,
    "image": {"size": 48, "patch": 8},
    "view": {"views": 2},
    "tokenizers": {"dvae": {"vocabulary": 32, "width": 16, "codebook_dim": 8, "epochs": 1, "batch_size": 32}},
    "sizes": {"base": {"width": 16, "depth": 2, "heads": 2}},
    "recipes": {method: narrow(model) for method, model in params.METHODS.items()},
    "models": {
        name: {"epochs": 2, "warmup_epochs": 1}
        for name in (*MODELS.values(), "cae-b-300-no-align", "cae-b-300-pixels", "cae-b-300-pixels-no-align")
    },
    "probes": {"epochs": 4, "warmup_epochs": 1, "micro_batch": 32, "views": 2,
               "linear": {"batch_size": 64}, "attentive": {"batch_size": 32}},
    "finetune": {"batch_size": 32, "micro_batch": 16, "randaugment": "rand-m9-mstd0.5-inc1", "erasing": 0.25,
                 "mixup": 0.8, "cutmix": 1.0, "smoothing": 0.1, "relative_positions": True,
                 "sizes": {"base": {"epochs": 1, "drop_path": 0.1}}},
    "coco": {"epochs": 2, "milestones": [1], "warmup_steps": 1, "batch_size": 4, "micro_batch": 2, "channels": 8,
             "head_width": 16, "proposals": 20, "regions": 16, "heads": "public"},
    "ade20k": {"steps": 4, "warmup_steps": 1, "batch_size": 4, "micro_batch": 2, "relative_positions": True,
               "sizes": {"base": {"channels": 8, "lrs": [1.0e-3]}}},
    "analyses": {"figure5": {"images": 20, "patches_per_class": 50}, "figure4": {"images": 4}},
}  # fmt: skip
TINY["recipes"]["cae"]["drop_path"] = TINY["recipes"]["deit"]["drop_path"] = 0.1


def text(**parts) -> str:
    """A step's params as the JSON text that its command takes."""
    return json.dumps({k: v.model_dump() if hasattr(v, "model_dump") else v for k, v in parts.items()})


def pytest_collection_modifyitems(items):
    """Files that take long come first: of two processes none is left alone with one at the end."""
    items.sort(key=lambda item: "workflow" not in item.path.parts)


@pytest.fixture(autouse=True, scope="session")
def code_alone(tmp_path_factory):
    """Let tests start in a folder that holds the project's code and nothing that a run has made of it."""
    folder = tmp_path_factory.mktemp("code")
    made = {"data", "results", "reports", "work"}
    for name in {path.split("/")[0] for path in tracked()} - made:
        (folder / name).symlink_to(ROOT / name)
    os.chdir(folder)
    yield folder
    os.chdir(ROOT)


def tracked() -> list[str]:
    """Return the files of the project, below its root: what Git lists, or all of them where there is no Git."""
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.splitlines() if done.returncode == 0 else os.listdir(ROOT)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny() -> params.Params:
    return params.load(ROOT / "params" / "demo.yaml", TINY)


@pytest.fixture(scope="session")
def run(tiny, tmp_path_factory):
    """A function (command, *arguments) of the command line, in a folder of its own: `run.folder`."""
    folder = tmp_path_factory.mktemp("tiny")

    def call(command, *arguments):
        main([command, *(str(argument) for argument in arguments)])

    call.folder = folder
    return call


@pytest.fixture(scope="session")
def data(run) -> dict[str, Path]:
    """Manifests of tiny demo sets, by layout."""
    scenes = {"imagenet": (128, 100), "ade20k": (8, 20), "coco": (8, 6), "clipart": (64, 40)}
    manifests = {}
    for layout in scenes:
        manifests[layout] = run.folder / f"{layout}.json"
        classes = ["--classes", 11] if layout == "ade20k" else []
        run(
            "make",
            "--layout",
            layout,
            "--root",
            run.folder / layout,
            "--seed",
            0,
            "--scenes",
            *scenes[layout],
            *classes,
            "--output",
            manifests[layout],
        )
    return manifests


@pytest.fixture(scope="session")
def tokenizer(run, tiny, data) -> Path:
    folder = run.folder / "tokenizers" / "dvae"
    job = text(tokenizer=tiny.tokenizers["dvae"], image=tiny.image, view=tiny.view, seed=0)
    work = run.folder / "work" / "tokenizer"
    run("train-tokenizer", "--data", data["imagenet"], "--params", job, "--work", work, "--output", folder)
    return folder


@pytest.fixture(scope="session")
def tokens(run, tiny, data, tokenizer) -> Path:
    """A token cache made in two shards."""
    folder = run.folder / "tokens" / "dvae"
    common = [
        "--data",
        data["imagenet"],
        "--tokenizer",
        tokenizer,
        "--params",
        text(seed=0, view=tiny.view, image=tiny.image),
    ]
    shards = [folder / "shards" / f"{k}.npy" for k in (1, 2)]
    for k, shard in enumerate(shards, 1):
        run("tokenize", *common, "--shard", f"{k}/2", "--work", run.folder / "work" / "tokens", "--output", shard)
    run("list-tokens", *common, "--output", folder, *shards)
    return folder


@pytest.fixture(scope="session")
def pretrained(run, tiny, data, tokenizer, tokens):
    """A function from a model's name to its folder, pretrained on first use."""

    def pretrain(name: str) -> Path:
        folder = run.folder / "pretrain" / name
        if not folder.exists():
            model = tiny.pretraining(name)
            if not model.is_trained:
                run("initialise", "--params", params.untrained(model).model_dump_json(), "--output", folder)
                return folder
            job = model.model_dump_json()
            cache = ["--tokenizer", tokenizer, "--tokens", tokens]
            work = run.folder / "work" / name
            run("pretrain", "--data", data["imagenet"], *cache, "--params", job, "--work", work, "--output", folder)
        return folder

    return pretrain


@pytest.fixture(scope="session")
def probed(run, tiny, data, pretrained):
    """A function from a model's name to its metrics: {"linear": …, "attentive": …}."""

    def probe(name: str) -> dict:
        outputs = {
            protocol: run.folder / "evaluate" / protocol / f"{name}.json" for protocol in ("linear", "attentive")
        }
        if not outputs["linear"].exists():
            arguments = [part for protocol, path in outputs.items() for part in (f"--{protocol}", path)]
            arguments += ["--weights", *(run.folder / protocol / name / "model.safetensors" for protocol in outputs)]
            job = text(**{**tiny.probes.model_dump(), "seed": 0})
            common = [
                "--data",
                data["imagenet"],
                "--encoder",
                pretrained(name),
                "--work",
                run.folder / "work" / f"probe-{name}",
            ]
            run("probe", *common, "--params", job, *arguments)
        return {protocol: json.loads(path.read_text()) for protocol, path in outputs.items()}

    return probe
