"""A small copy of the project that runs for real, here or on a cluster."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import psutil
import yaml

from tests.conftest import ROOT, TINY
from tests.slurm.cluster import Cluster, wait

PARTS = "Snakefile", "workflow", "cae", "params", "profiles", "slurm"
TIMES = "seconds", "images_per_second"
LIMIT = 1200  # seconds that any run may take
MODEL, CHAIN = "cae-b-300-pixels", "cae-b-300"
PRETRAINED = f"results/tiny/pretrain/{MODEL}/model.safetensors"
PROBED = [f"results/tiny/attentive/{model}/model.safetensors" for model in (MODEL, CHAIN)]
PARAMS = {
    **TINY,
    "base": "demo.yaml",
    "scale": "tiny",
    "only": [MODEL, CHAIN],
    "cells": {},
    "datasets": dict.fromkeys(("ade20k", "coco", "food101", "clipart", "sketch"))
    | {"imagenet": {"root": "data/tiny/imagenet"}},
    # Long enough to be met at work.
    "models": {MODEL: {"epochs": 30, "warmup_epochs": 1}, CHAIN: {"epochs": 2, "warmup_epochs": 1}},
}


class Project:
    """`cluster`: where `snakemake` sends its jobs; None: it runs them here."""

    def __init__(self, path: Path, cluster: Cluster | None = None, *options: str):
        self.path, self.cluster, self.options = path, cluster, options
        self.more: list[str] = []  # files of params above params/tiny.yaml
        self.earlier = cluster.jobs().keys() if cluster else ()

    @property
    def environment(self) -> dict[str, str]:
        environment = self.cluster.environment if self.cluster else dict(os.environ)
        environment = {**environment, "PATH": f"{Path(sys.executable).parent}:{environment['PATH']}"}
        for name in ("PYTHONPATH", "SNAKEMAKE_PROFILE"):  # the copy's modules, not those of the tests
            environment.pop(name, None)
        return environment

    @contextmanager
    def snakemake(self, *targets: str, options: tuple[str, ...] = ()):
        """A process that runs; killed with all that it started, where it has not ended by itself."""
        where = ["--profile", "slurm", *self.options] if self.cluster else ["--cores", "1"]
        command = ["snakemake", *where, "--configfile", "params/tiny.yaml", *self.more, *options, "--", *targets]
        with tempfile.TemporaryFile("w+") as out:
            streams = dict(stdout=out, stderr=out)
            process = subprocess.Popen(command, cwd=self.path, env=self.environment, start_new_session=True, **streams)

            def said() -> str:
                out.seek(0)
                return out.read()

            process.said = said
            try:
                yield process
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()

    def run(self, *targets: str, status: int = 0) -> str:
        """What `snakemake` prints; its exit status must be `status`."""
        with self.snakemake(*targets) as process:
            return self.end(process, status)

    def end(self, process, status: int = 0) -> str:
        try:
            process.wait(LIMIT)
        finally:
            text = process.said()
            assert process.poll() == status, f"{text}\n{self.logs()}"
        return text

    def logs(self) -> str:
        """What jobs and their commands wrote."""
        logs = [*self.path.glob("work/slurm/**/*.log"), *self.path.glob("work/tiny/logs/**/*.log")]
        return "\n".join(f"{log}:\n{log.read_text()[-2000:]}" for log in logs)

    def submitted(self) -> dict[str, tuple[str, str]]:
        """(state, node) of each of its jobs, by its id and in order."""
        return {job: about for job, about in self.cluster.jobs().items() if job not in self.earlier}

    def training(self) -> psutil.Process:
        """The process that pretrains, once it has something to show."""
        metrics = self.path / f"work/tiny/pretrain/{MODEL}/metrics.jsonl"
        wait(lambda: metrics.exists() and metrics.read_text(), "the first row of metrics", 300)
        (process,) = self.trainings()
        return process

    def trainings(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter(["cmdline", "cwd"]):
            words = process.info["cmdline"] or []
            if words[1:4] == ["-m", "cae", "pretrain"] and process.info["cwd"] == str(self.path):
                found.append(process)
        return found

    def rows(self) -> list[dict]:
        """What was measured, but for the time it took."""
        lines = (self.path / PRETRAINED).with_name("metrics.jsonl").read_text().splitlines()
        return [{k: v for k, v in json.loads(line).items() if k not in TIMES} for line in lines]

    def bytes(self, file: str = PRETRAINED) -> bytes:
        return (self.path / file).read_bytes()


def make(path: Path) -> Project:
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, path / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / part, path / part)
    demo = path / "cae/data/demo.py"
    text = demo.read_text()
    assert '"imagenet": (4000, 1200)' in text
    demo.write_text(text.replace('"imagenet": (4000, 1200)', '"imagenet": (256, 100)'))
    (path / "params/tiny.yaml").write_text(yaml.safe_dump(PARAMS))
    return Project(path)
