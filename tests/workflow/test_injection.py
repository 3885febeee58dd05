"""What params, paths and the command line say reaches programs as words, and no shell as commands: by real runs of Snakemake."""

import json
import re

import pytest

from cae.data.layouts import coco
from cae.errors import UserError
from cae.params import load
from tests.conftest import ROOT

# As a path it is relative, so that whatever it makes is found below the tree.
HOSTILE = "a b'; touch made-1; '\"; touch made-2; \"$(touch made-3)`touch made-4` {threads} | touch made-5 & \\ #"
HOSTILE_ROOT = HOSTILE.replace("$", "").removesuffix(" #")  # a dollar sign would be an unset variable, " #" a comment
SECRET = "s3cr3t-0f-th3-t0k3n"
FILE = "params/mine $(touch made-6) 'x' `touch made-7`.yaml"
MINE = {
    "base": "demo.yaml",
    "scale": "mine",
    "only": ["mae-b-1600", "random-b"],
    "cells": {"finetune": ["mae-b-1600"], "attentive": [], "linear": [], "ade20k": [], "coco-mask": []},
    "datasets": {
        "imagenet": {"root": f"data/mine/{HOSTILE}"},
        "coco": {"root": "$COCO_ROOT"},
        **dict.fromkeys(("ade20k", "food101", "clipart", "sketch")),
    },
    "models": {"mae-b-1600": {"source": "released", "file": HOSTILE}},
    "finetune": {"randaugment": HOSTILE},
}


def test_hostile_values_reach_no_shell(tree, monkeypatch):
    """Also: what the environment holds in secret is written down nowhere."""
    monkeypatch.setenv("HF_TOKEN", SECRET)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    (tree.path / FILE).write_text(json.dumps(MINE))
    for part in coco.NEEDED:
        (tree.path / HOSTILE_ROOT / part).mkdir(parents=True)
    results = "results/mine/pretrain/mae-b-1600/model.safetensors results/mine/evaluate/finetune/mae-b-1600.json"
    text = tree.run("snakemake", "--cores", "2", "--configfile", FILE, "--config", f"coco={HOSTILE_ROOT}", "--",
                    "data", *results.split(), "reports/mine/figures/dag.png")  # fmt: skip
    assert not list(tree.path.rglob("made*")), text
    told = {
        name: json.loads((tree.path / f"data/mine/{name}.json").read_text())["told"] for name in ("imagenet", "coco")
    }
    roots = {name: words[words.index("--root") + 1] for name, words in told.items()}
    assert roots == {"imagenet": f"data/mine/{HOSTILE}", "coco": "$COCO_ROOT"}
    tuned = json.loads((tree.path / "results/mine/evaluate/finetune/mae-b-1600.json").read_text())["told"]
    assert any(json.dumps(HOSTILE) in word for word in tuned)
    assert json.dumps(HOSTILE) in (tree.path / "results/mine/pretrain/mae-b-1600/model.safetensors").read_text()
    written = [path for path in tree.path.rglob("*") if path.is_file() and SECRET in path.read_text(errors="replace")]
    assert not written and SECRET not in text


@pytest.mark.parametrize(
    "arguments",
    [
        ["--config", "scale=$(touch made-8)"],
        ["--", "results/demo/pretrain/$(touch made-8)/model.safetensors", "results/demo/evaluate/finetune/`touch made-8`.json"],
    ],
)  # fmt: skip
def test_names_that_no_scale_knows_are_refused(tree, arguments):
    text = tree.run("snakemake", "--dry-run", *arguments, status=1)
    assert re.search("not a name|did you mean", text)
    assert not list(tree.path.rglob("made*"))


def test_params_build_no_objects(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(
        f"base: {ROOT}/params/demo.yaml\nscale: !!python/object/apply:os.system [touch made]\n"
    )
    with pytest.raises(UserError, match="mine.yaml: line 2: not valid YAML"):
        load(tmp_path / "mine.yaml")
    assert not (tmp_path / "made").exists()
