"""What Snakemake plans, in a copy of the repository where nothing has been made."""

import re
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from cae.params import read

ROOT = Path(__file__).parents[2]


def test_style(tree):
    assert "in a good condition" in tree.run("snakemake", "--lint")
    tree.run("snakefmt", "--check", "Snakefile", "workflow")


def test_the_paper_is_planned_without_its_data(tree):
    jobs = tree.dry_run("--configfile", "params/paper.yaml", "--config", "imagenet=/nowhere", "ade20k=/nowhere").keys()
    models = yaml.safe_load((tree.path / "params/paper.yaml").read_text())["models"]
    assert {job for job in jobs if job.startswith("pretrain_model")} == {f"pretrain_model {name}" for name in models}
    assert len([job for job in jobs if job.startswith("tokenize dalle")]) == 64
    assert {"index_data imagenet", "import_tokenizer dalle", "figure figure5", "table table2", "page"} <= jobs
    assert not [job for job in jobs if job.startswith(("make_data", "train_tokenizer"))]  # no model wants another


def test_one_figure_asks_for_what_it_needs(tree):
    jobs = tree.dry_run("reports/demo/figures/figure3.png").keys()
    assert jobs == {"figure figure3", "masks_and_crops", "make_data imagenet"}
    figure4 = read(tree.path / "params/demo.yaml")["analyses"]["figure4"]["models"]
    jobs = tree.dry_run("figure4").keys()  # pixels are the targets: no tokens
    assert jobs == {
        "figure4",
        "figure figure4",
        "reconstruct",
        "make_data imagenet",
        *(f"pretrain_model {m}" for m in figure4),
    }


@pytest.mark.parametrize(
    "scale", [path.stem for path in (ROOT / "params").glob("*.yaml") if path.stem not in ("tables", "paper")]
)
def test_every_command_is_one_that_the_library_knows(tree, scale, monkeypatch):
    """Each planned command is read by the real command line, its params by the step's own types; no work is done."""
    from cae import cli

    done = []
    for name in ("data.demo:write_demo", "data.datasets:index", "tasks.train_tokenizer:main", "tasks.tokenize:main",
                 "tasks.tokenize:merge", "tasks.import_tokenizer:main", "tasks.pretrain:main", "tasks.probe:main",
                 "analysis.masks_and_crops:main", "analysis.reconstruction:main", "analysis.tsne:main",
                 "reporting.tables:main", "reporting.figures:main", "reporting.page:main"):  # fmt: skip
        module, function = name.split(":")
        monkeypatch.setattr(import_module(f"cae.{module}"), function, lambda *_, name=name: done.append(name))
    jobs = tree.dry_run("--configfile", f"params/{scale}.yaml")
    commands = [re.search(r"Shell command: (.*?) 2>&1 \| ", job) for job in jobs.values()]
    for command in filter(None, commands):
        python, *words = shlex.split(command[1])
        assert (python, words[:2]) == ("python", ["-m", "cae"])
        cli.main(words[2:])
    assert {name.split(":")[0] for name in done} >= {
        "tasks.pretrain",
        "tasks.probe",
        "tasks.tokenize",
        "reporting.page",
    }


@pytest.mark.parametrize(
    ("old", "new", "arguments", "message"),
    [
        ("warmup_epochs: 1", "warm_epochs: 1", [], "params/demo.yaml: .*key 'warm_epochs'; did you mean 'warmup_epochs'?"),
        ("scale: demo", "scale: demo", ["--config", "sede=1"], "--config: unknown key 'sede'; did you mean 'seed'?"),
        ("scale: demo", "scale: demo", ["--config", "imagenet=/x"], "imagenet.*data/demo/imagenet"),
        ("base: paper.yaml", "base: papers.yaml", [], "params/papers.yaml: no such params file"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_in_a_line(tree, old, new, arguments, message):
    tree.edit("params/demo.yaml", old, new)
    text = tree.run("snakemake", "--dry-run", *arguments, status=1)
    tree.edit("params/demo.yaml", new, old)
    assert re.search(message.replace("?", r"\?"), text)
    assert "Traceback" not in text and len(text.splitlines()) <= 5


def test_the_path_of_a_data_set_reaches_jobs_and_is_no_param(tree):
    script = """
from pathlib import Path
import os
from workflow.plan import load_params
a = load_params([Path("params/paper.yaml")], {"imagenet": "/data/imagenet"})
assert os.environ["IMAGENET_ROOT"] == "/data/imagenet"
assert a == load_params([Path("params/paper.yaml")], {})
assert load_params([Path("params/paper.yaml")], {"seed": 3}).seed == 3
assert load_params([], {}).scale == "demo"
"""
    subprocess.run([sys.executable, "-c", script], cwd=tree.path, check=True)


def test_rows_name_models_of_the_paper():
    models = read(ROOT / "params/paper.yaml")["models"]
    for table in read(ROOT / "params/tables.yaml").values():
        assert {row["model"] for row in table["rows"] if "model" in row} <= models.keys()
