"""demo-all cut down to one model of each method and one of each evaluation, with nothing standing in: the rules of the DAG,
the command line and what a step reads of another's files fit together."""

import csv
import json
import math
import os
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
import yaml
from PIL import Image

from cae.params import load_tables, read
from tests.workflow.conftest import ROOT, copy
from tests.workflow.preloaded import CLIENT

MODEL_OF = {  # each protocol's, so that every table has a cell
    "linear": "beit-b-300", "attentive": "beit-b-300", "supervised": "deit-b-300", "finetune": "mae-b-1600",
    "ade20k": "cae-b-800", "coco-mask": "cae-b-800", "coco-cascade": "cae-b-800", "food101": "dino-b-400",
    "clipart": "mae-b-1600", "sketch": "deit-b-300", "finetune-10": "mae-b-1600", "finetune-1": "mae-b-1600",
}  # fmt: skip
PAPER = read(ROOT / "params/paper.yaml")["models"]
FIRST = {entry["method"]: name for name, entry in reversed(PAPER.items())}
FIRST |= {PAPER[model]["method"]: model for model in MODEL_OF.values()}
MODELS = sorted({*FIRST.values(), *MODEL_OF.values()})  # of every method at least one
MINE = {
    "base": "demo-all.yaml",
    "scale": "mine",
    "only": MODELS,
    "cells": {protocol: [model] for protocol, model in MODEL_OF.items()},
    "datasets": {
        name: {"root": f"data/mine/{name}", "scenes": scenes}
        for name, scenes in {"imagenet": [96, 40], "ade20k": [16, 6], "coco": [8, 4], "food101": [80, 20],
                             "clipart": [80, 20], "sketch": [80, 20]}.items()
    },
    "models": {"mae-b-1600": {"epochs": 2, "warmup_epochs": 1}},
    "view": {"views": 2},
    "probes": {"epochs": 2, "micro_batch": 32, "linear": {"batch_size": 32}, "attentive": {"batch_size": 32}},
    "ade20k": {"steps": 4, "warmup_steps": 1},
    "coco": {"warmup_steps": 1},
}  # fmt: skip


@pytest.fixture
def whole(tmp_path):
    """A copy of the repository in which commands do their work."""
    tree, path = copy(tmp_path), tmp_path / "socket"
    (tmp_path / "cae/__main__.py").write_text(CLIENT.format(path=path.name))
    command = [sys.executable, ROOT / "tests/workflow/preloaded.py", path.name]
    server = subprocess.Popen(command, cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"})
    while not path.exists():
        assert server.poll() is None
        time.sleep(0.1)
    yield tree
    server.kill()
    server.wait()


@pytest.mark.slow
def test_every_method_and_every_evaluation_fill_their_cells(whole, tmp_path):
    (tmp_path / "params/mine.yaml").write_text(yaml.safe_dump(MINE))
    given = ("--configfile", "params/mine.yaml")
    text = whole.run("snakemake", "--cores", "2", *given)
    assert "Scale mine leaves out " in text and text.endswith("The report: reports/mine/index.html\n")

    filled, folder = set(), tmp_path / "reports/mine/tables"
    for name, table in load_tables(ROOT / "params/tables.yaml", PAPER).items():
        rows = {row["model"]: row for row in csv.DictReader((folder / f"{name}.csv").open()) if row["model"]}
        marks = (folder / f"{name}.md").read_text()
        assert "–: not run at this scale" in marks
        for row in (row for row in table.rows if row.model):
            for column, protocol in table.cells_of(row).items():
                number = rows[row.model][column]
                if MODEL_OF[protocol] == row.model:
                    assert math.isfinite(float(number)), (name, row.model, column)
                    filled.add(protocol)
                else:
                    assert number == "", (name, row.model, column)
    assert filled == MODEL_OF.keys()
    for model in MODELS:
        rows = [json.loads(line) for line in (tmp_path / f"results/mine/pretrain/{model}/metrics.jsonl").open()]
        assert all(math.isfinite(row["loss"]) for row in rows) and rows
    page = (tmp_path / "reports/mine/index.html").read_text()
    assert all(f'id="table{i}"' in page for i in range(1, 8)) and "cae-b-800" in page
    assert whole.dry_run(*given) == {}


@pytest.mark.slow
def test_the_kept_report_is_drawn_again_as_it_is(whole, tmp_path):
    """`make redraw SCALE=photos`, of what Git has: no images, no checkpoints."""
    kept = "reports/photos"
    shutil.copytree(ROOT / kept, tmp_path / kept, ignore=shutil.ignore_patterns("tables", "figures"))
    words = "make", "--dry-run", "--no-print-directory", "--old-file=.venv/ready", "redraw", "SCALE=photos"
    recipe = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    here = f"export IMAGENET_ROOT={tmp_path}\n"  # of other images, or none
    whole.run("bash", "-ec", here + recipe.replace(str(ROOT), str(tmp_path)))
    for path in (ROOT / kept / "tables").iterdir():
        assert (tmp_path / path.relative_to(ROOT)).read_bytes() == path.read_bytes(), path.name
    for path in (ROOT / kept / "figures").iterdir():  # another processor may round another way
        drawn, shown = (np.asarray(Image.open(file), float) for file in (tmp_path / path.relative_to(ROOT), path))
        assert drawn.shape == shown.shape and np.abs(drawn - shown).mean() < 1, path.name
