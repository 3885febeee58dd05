"""What a run that fails leaves behind."""

import re
import shutil
from pathlib import Path

import pytest

MODELS = ("cae-b-300-pixels", "mae-b-1600")
TARGETS = [f"results/demo/pretrain/{model}/model.safetensors" for model in MODELS]
# A learning rate of 9 fails, after as much talk as a training run's.
FAILS = r"""
if any('"lr": 9.0' in word for word in sys.argv):
    print(*(f"line {i}" for i in range(40)), "bar 10%\rbar 20%\rbar 30%", "", sep="\n", flush=True)
    sys.exit("cae: the loss is not a number; lower the learning rate")
"""


@pytest.fixture(scope="module")
def trained(tree):
    """A tree with two models, trained."""
    tree.edit("cae/__main__.py", "\ncommand, ", f"{FAILS}\ncommand, ")
    assert "Failed: " not in tree.run("snakemake", "--cores", "2", "--", *TARGETS)
    return tree


def change(tree, model: str, new: bool) -> None:
    old, changed = f"  {model}: {{", f"  {model}: {{lr: 9.0, "
    tree.edit("params/demo.yaml", *((old, changed) if new else (changed, old)))


def contents(folder) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_a_failed_run_keeps_what_it_was_to_replace_and_says_why_last(trained):
    results, previous = trained.path / "results", trained.path / "work/demo/previous/results"
    before = contents(results)
    assert len(before) == 12
    for model in MODELS:
        change(trained, model, True)
    text = trained.run("snakemake", "--cores", "2", "--keep-going", "--", *TARGETS, status=1)

    # While jobs run the terminal shows neither them nor their commands and output; Snakemake's log tells all.
    (log,) = re.findall(r"Complete log\(s\): (\S+)", text)
    for told in ("rule pretrain_model:", "Shell command: python -m cae pretrain", "Error in rule pretrain_model:"):
        assert told not in text and told in Path(log).read_text()

    last = text.split("At least one job did not complete successfully.")[1]
    reason = "    bar 30%\n    cae: the loss is not a number; lower the learning rate\n"
    for model in MODELS:
        log = f"work/demo/logs/pretrain_model/{model}.log"
        start = f"Failed: pretrain_model {model}; the end of {log}:\n    line 27\n"
        assert last.count(start) == last.count(f"is in work/demo/previous/results/demo/pretrain/{model}\n") == 1
    assert last.count(reason) == 2 and "bar 10%" not in last and len(last.splitlines()) == 2 + 2 * (1 + 15 + 1) + 1

    # Nothing passes for the result of other params; the models are there, byte for byte.
    assert contents(results) == {} and contents(previous) == before
    assert {f"pretrain_model {model}" for model in MODELS} == trained.dry_run(*TARGETS).keys()

    # They stay through another failure; one that succeeds takes their place.
    change(trained, MODELS[1], False)
    trained.run("snakemake", "--cores", "2", "--keep-going", "--", *TARGETS, status=1)
    assert {file.split("/")[2] for file in contents(previous)} == {MODELS[0]}

    # And back: params as they were, files as they were.
    change(trained, MODELS[0], False)
    shutil.copytree(previous, results, dirs_exist_ok=True)
    trained.run("snakemake", "--cores", "1", "--touch", "--", TARGETS[0])
    assert contents(results) == before and trained.dry_run(*TARGETS) == {}
