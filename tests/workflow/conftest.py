"""Copies of the repository in which Snakemake and DVC may run for real, with a stand-in for the work itself."""

import functools
import importlib
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import snakemake.cli

from workflow import code_hash

ROOT = Path(__file__).parents[2]
PARTS = (
    "Snakefile", "workflow", "cae", "params", "profiles", "slurm", "dvc.yaml", ".dvc/config", ".dvc/.gitignore",
    ".dvcignore", ".gitignore",
)  # fmt: skip
ALL = ("--configfile", "params/demo-all.yaml")  # of Snakemake, for a demo with all models and evaluations
# Root may write what is read-only; begun so, a command may not, as any other user who owns the files.
ORDINARY = () if os.geteuid() else ("setpriv", "--bounding-set", "-dac_override,-dac_read_search,-fowner")
sys.path.insert(0, str(ROOT))

# Writes what a command would write, with what it was told as the content.
STAND_IN = """
import json
import sys
from pathlib import Path

command, options = sys.argv[1], dict(zip(sys.argv, sys.argv[1:]))
ENCODER = ["model.safetensors", "config.json", "provenance.json", "README.md"]
folders = {
    "train-tokenizer": ["model.safetensors", "tokenizer.json", "metrics.jsonl", "report.npz"],
    "import-tokenizer": ["model.safetensors", "tokenizer.json"],
    "list-tokens": ["shards.json", "manifest.json"],
    "pretrain": [*ENCODER, "last.ckpt", "metrics.jsonl"],
    "initialise": ENCODER,
    "import": ENCODER,
    "finetune": [*ENCODER, "metrics.jsonl"],
    "segment": ["model.safetensors", "metrics.jsonl", "metrics.json", "examples.npz"],
    "detect": ["model.safetensors", "metrics.jsonl", "detections.json", "examples.npz"],
}
for option in {"--output", "--linear", "--attentive", "--metrics", "--weights"} & options.keys():
    path = Path(options[option])
    beside = {".csv": [".md", ".tex"], ".png": [".pdf"]}.get(path.suffix, [])
    names = folders.get(command, []) if option == "--output" else []
    files = [path / name for name in names] or [path, *map(path.with_suffix, beside)]
    files += [path.with_name(path.stem + "-cells.csv")] if command == "table" else []
    files += [path.with_name(name) for name in ("claims-pairs.csv", "order.csv", "order.md")] if command == "claims" else []
    files += [Path(options[options[option]])] if option == "--weights" else []  # of two probes
    if command == "metrics":
        inputs = [Path(argument) for argument in sys.argv if "results/" in argument]
        files = [path / f"metrics/{file.stem}.json" for file in inputs if file.suffix == ".json"]
        files += [path / f"losses/{file.parent.name}.csv" for file in inputs if file.suffix == ".jsonl"]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)  # it is replaced, as by cae.files.atomic
        if command in ("make", "index"):  # of a data set that is elsewhere
            images = {split: {"images": [""] * 20_000} for split in ("train", "training", "train2017")}
            about = {"root": "/nowhere", "layout": options["--layout"], "classes": [], "splits": images, "told": sys.argv[1:]}
            file.write_text(json.dumps(about))
            continue
        if "/evaluate/" in str(file):  # a cell of the tables
            file.write_text(json.dumps({"top1": 12.5, "miou": 25.0, "box_ap": 50.0, "told": sys.argv[1:]}))
            continue
        # Weights are above the size to which Snakemake compares content if not told otherwise.
        file.write_text(" ".join(sys.argv[1:]) + (file.suffix == ".safetensors") * 2_000_000 * " ")
"""


FORK = multiprocessing.get_context("fork")


def code(path: Path) -> dict[str, bytes]:
    """The modules below `path` of which a plan is made."""
    files = (file for top in ("cae", "workflow") for file in (path / top).rglob("*.py"))
    return {str(file.relative_to(path)): file.read_bytes() for file in files if file.name != "__main__.py"}


@functools.cache
def prepare() -> dict[str, bytes]:
    """What every plan begins with, done once for all forks: modules, the command line's parser, hashes of the code."""
    snakemake.cli.get_argument_parser()
    modules = code(ROOT)
    for file in modules:
        module = file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        code_hash.code_hash(module)
        if module.startswith("workflow"):
            importlib.import_module(module)
    return modules


def plan(command: tuple[str, ...], path: Path, environment: dict, out: int) -> None:
    """What `snakemake --dry-run` does in the folder `path`, with that folder's modules where the tests' are others."""
    if code(path) != prepare():
        for name in list(sys.modules):
            if name.split(".")[0] in ("cae", "workflow", "tests"):
                del sys.modules[name]
    os.chdir(path)
    os.environ.clear()
    os.environ.update(environment)
    for stream in (1, 2):
        os.dup2(out, stream)
    sys.stdout, sys.stderr = (os.fdopen(stream, "w", buffering=1, closefd=False) for stream in (1, 2))
    sys.path.insert(0, str(path))
    sys.dont_write_bytecode = True
    sys.argv = list(command)
    snakemake.cli.main()


class Tree:
    """A copy of the repository."""

    def __init__(self, path: Path):
        self.path = path

    def run(self, *command: str, status: int = 0) -> str:
        """What a command prints, on both streams; its exit status must be `status`."""
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        environment = {**os.environ, "PATH": path, "PYTHONDONTWRITEBYTECODE": "1", "DVC_NO_ANALYTICS": "1"}
        for name in ("IMAGENET_ROOT", "ADE20K_ROOT", "COCO_ROOT", "CHECKPOINTS", "SNAKEMAKE_PROFILE"):
            environment.pop(name, None)
        with tempfile.TemporaryFile("w+") as out:
            if command[0] == "snakemake" and "--dry-run" in command:
                # In a fork: a process of its own, in which nothing need be imported again.
                prepare()
                child = FORK.Process(target=plan, args=(command, self.path, environment, out.fileno()))
                child.start()
                child.join()
                returned = child.exitcode
            else:
                options = dict(cwd=self.path, env=environment, stdout=out, stderr=subprocess.STDOUT)
                returned = subprocess.run(command, **options).returncode
            out.seek(0)
            text = out.read()
        assert returned == status, text
        return text

    def dry_run(self, *arguments: str) -> dict[str, str]:
        """Planned jobs, as "rule wildcard …" without the scale: all that is printed about each."""
        text = self.run("snakemake", "--dry-run", *arguments)
        assert "\nrule " in text or "\nlocalrule " in text or "Nothing to be done" in text, text
        jobs, parts = {}, re.split(r"\n(?=(?:local)?rule \w+:\n)", text)[1:]
        for part in parts:
            rule = re.match(r"(?:local)?rule (\w+)", part)[1]
            wildcards = re.search(r"\n    wildcards: (.*)", part)
            values = re.findall(r"(?!scale=)\b\w+=([^,\n]+)", wildcards[1]) if wildcards else []
            jobs[" ".join([rule, *values])] = part
        assert len(jobs) == len(parts)  # none twice
        return jobs

    def edit(self, file: str, old: str, new: str) -> None:
        text = (self.path / file).read_text()
        assert old in text, f"{file}: {old}"
        (self.path / file).write_text(text.replace(old, new, 1))


def copy(target: Path) -> Tree:
    for part in PARTS:
        (target / part).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, target / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / part, target / part)
    (target / "cae/__main__.py").write_text(STAND_IN)
    return Tree(target)


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Tree:
    """A fresh copy, nothing made yet."""
    return copy(tmp_path_factory.mktemp("tree"))
