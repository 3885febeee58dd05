"""Processes that are killed at any moment, again and again: `KILLS=50 pytest -n 0 -m slow tests/training/test_kills.py`."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from cae.training.run import load_checkpoint
from tests.conftest import ROOT
from tests.slurm import project

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("KILLS", 1))
EVERY_STEP = ["--checkpoint-minutes", 0]


def start(words) -> subprocess.Popen:
    words = [sys.executable, "-m", "cae", *map(str, words)]
    return subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def killed_again_and_again(words, seconds: float) -> None:
    """Run the command, killed KILLS times, each within `seconds` of its start; then to its end."""
    rng = random.Random(0)
    for _ in range(KILLS):
        process = start(words)
        try:
            process.wait(timeout=rng.uniform(0, seconds))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    assert start(words).wait(timeout=600) == 0


def compare(command, folder, files):
    """Files that the command ends with, undisturbed and killed: `command(name)` writes below folder / name."""
    began = time.monotonic()
    assert start(command("calm")).wait(timeout=600) == 0
    killed_again_and_again(command("killed"), time.monotonic() - began)
    for file in files:
        calm, killed = ((folder / name / file).read_bytes() for name in ("calm", "killed"))
        assert calm == killed, file


def test_pretraining_ends_with_the_same_bytes(tiny, data, tokenizer, tokens, tmp_path):
    job = tiny.pretraining("cae-b-300").model_copy(update={"epochs": 40}).model_dump_json()
    compare(
        lambda name: ["pretrain", "--data", data["imagenet"], "--tokenizer", tokenizer, "--tokens", tokens, "--params", job,
                      "--work", tmp_path / "work" / name, "--output", tmp_path / name / "cae", *EVERY_STEP],
        tmp_path, ["cae/model.safetensors"],
    )  # fmt: skip


def test_tokenising_ends_with_the_same_tokens(tiny, data, tokenizer, tmp_path):
    view = tiny.view.model_copy(update={"views": 200})
    job = json.dumps({"seed": 0, "view": view.model_dump(), "image": tiny.image.model_dump()})
    compare(
        lambda name: ["tokenize", "--data", data["imagenet"], "--tokenizer", tokenizer, "--params", job, "--shard", "1/1",
                      "--work", tmp_path / "work" / name, "--output", tmp_path / name / "tokens.npy"],
        tmp_path, ["tokens.npy"],
    )  # fmt: skip
    assert len(np.unique(np.load(tmp_path / "killed" / "tokens.npy"))) > 1


def test_a_segmentation_ends_with_the_same_bytes(tiny, data, pretrained, tmp_path):
    (recipe, *_) = tiny.segmenting("cae-b-300").values()
    job = json.dumps(recipe.model_dump() | {"steps": 60, "seed": 0, "precision": "float32"})
    compare(
        lambda name: ["segment", "--data", data["ade20k"], "--encoder", pretrained("cae-b-300"), "--params", job,
                      "--work", tmp_path / "work" / name, "--output", tmp_path / name, *EVERY_STEP],
        tmp_path, ["model.safetensors", "examples.npz"],
    )  # fmt: skip


def test_ctrl_c_at_snakemake_saves_and_the_same_command_ends_with_the_same_bytes(tmp_path):
    """It reaches every process of the terminal: snakemake, its shells and the training."""
    for name in ("straight", "stopped"):
        (tmp_path / name).mkdir()
    straight, stopped = (project.make(tmp_path / name) for name in ("straight", "stopped"))
    straight.run(project.PRETRAINED)
    with stopped.snakemake(project.PRETRAINED) as running:
        stopped.training()
        os.killpg(running.pid, signal.SIGINT)
        stopped.end(running, status=1)
    log = (stopped.path / f"work/tiny/logs/pretrain_model/{project.MODEL}.log").read_text()
    (step,) = re.findall(rf"\n{project.MODEL}: saved at step (\d+) of 240; run the same command to go on\n$", log)
    assert load_checkpoint(stopped.path / f"work/tiny/pretrain/{project.MODEL}/state.ckpt")["step"] == int(step) > 0
    stopped.run(project.PRETRAINED)
    assert stopped.bytes() == straight.bytes() and stopped.rows() == straight.rows()
