"""Several processes end together: with one message, after the state is saved, or with the last good state kept."""

import os
import re
import signal
import subprocess
import sys
import time

import psutil
import pytest
import torch

from cae.training.run import load_checkpoint
from tests.conftest import ROOT
from tests.training.faults import STEP

pytestmark = pytest.mark.slow

LAUNCHERS = {"fabric": [], "torchrun": ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]}


@pytest.fixture
def start(tiny, data, tmp_path):
    """A function (launcher, fault, minutes between checkpoints): a training of two processes, begun, and what it prints."""

    def start(launcher, fault, minutes=10.0, seconds=8):
        job = tiny.pretraining("mae-b-300").model_copy(update={"epochs": 100, "clip": None}).model_dump_json()
        command = ["pretrain", "--data", data["imagenet"], "--params", job, "--threads", 2, "--work", tmp_path / "work",
                   "--output", tmp_path / "out", "--checkpoint-minutes", minutes]  # fmt: skip
        words = [sys.executable, *LAUNCHERS[launcher], "-m", "tests.training.faults", fault, *map(str, command)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "SECONDS_TO_WRITE": str(seconds)}
        with open(tmp_path / "log", "w") as log:
            streams = dict(stdout=log, stderr=log)
            return subprocess.Popen(words, cwd=ROOT, env=environment, start_new_session=True, **streams)

    yield start
    deadline = time.monotonic() + 20
    while left := [each for each in psutil.process_iter(["cmdline"]) if str(tmp_path) in (each.info["cmdline"] or [])]:
        assert time.monotonic() < deadline, f"left over: {left}"
        time.sleep(0.2)


def wait_for_rows(process, folder) -> None:
    metrics = folder / "work" / "metrics.jsonl"
    while not (metrics.exists() and metrics.read_text()):
        assert process.poll() is None
        time.sleep(0.05)


def test_torchrun_kills_no_slow_write(start, tmp_path):
    """It would half a minute after the other process has ended."""
    process = start("torchrun", "slow", seconds=35)
    wait_for_rows(process, tmp_path)
    _, other = psutil.Process(process.pid).children()
    other.send_signal(signal.SIGTERM)
    process.wait(90)
    assert "saved at step" in (tmp_path / "log").read_text()
    assert load_checkpoint(tmp_path / "work" / "state.ckpt")["step"] > 0


@pytest.mark.parametrize("launcher, sent", [
    ("fabric", "SIGTERM"), ("fabric", "SIGINT to all"), ("torchrun", "SIGTERM to all"), ("torchrun", "SIGINT to all"),
])  # fmt: skip
def test_a_slow_write_is_waited_for(start, tmp_path, launcher, sent):
    process = start(launcher, "slow")
    wait_for_rows(process, tmp_path)
    number = getattr(signal, sent.split()[0])
    os.killpg(process.pid, number) if "all" in sent else process.send_signal(number)
    process.wait(90)
    log = (tmp_path / "log").read_text()
    steps = re.findall(r"^out: saved at step (\d+) of 400; run the same command to go on$", log, re.M)
    assert len(steps) == 1, log
    assert load_checkpoint(tmp_path / "work" / "state.ckpt")["step"] == int(steps[0]) > 0
    assert launcher == "torchrun" or process.returncode == 1 and "Traceback" not in log


ENDS = {
    "error": "cae pretrain: process 1 on .*: photo.jpg: cannot be read",
    "full": "cae pretrain: {work}/state.ckpt: the disk is full; make room and run the same command again",
    "not finite": "cae pretrain: the loss, its gradient or a weight is not finite by step .*; the last good checkpoint is "
    "{work}/state.ckpt.*",
    "another step": "cae pretrain: process 1 on .*: another step .1. than the first process of this run has .0.; .*",
    "bug": ".rank1.: ZeroDivisionError: of one process",
    "killed": "cae pretrain: lost another process of this run, .*",
}


@pytest.mark.parametrize(
    "launcher, fault", [*(("fabric", fault) for fault in ENDS), ("torchrun", "error"), ("torchrun", "full")]
)
def test_what_strikes_one_process_ends_all(start, tmp_path, launcher, fault):
    process = start(launcher, fault, minutes=0)
    assert process.wait(90) != 0
    log, state = (tmp_path / "log").read_text(), tmp_path / "work" / "state.ckpt"
    assert len(re.findall(f"^{ENDS[fault].format(work=tmp_path / 'work')}$", log, re.M)) == 1, log
    if launcher == "fabric":  # torchrun tells of its own
        assert log.count("Traceback") == (fault == "bug"), log
    if fault == "another step":
        assert not state.exists()
    else:
        saved = load_checkpoint(state)
        assert saved["step"] == STEP - (fault in ("full", "not finite"))
        assert all(torch.isfinite(value).all() for value in saved["model"].values())
