"""Roots of data sets that are elsewhere are checked before anything is planned or run."""

import json

import pytest

from tests.workflow.conftest import copy

SMALL = "--configfile", "params/small.yaml"
NAMES = "imagenet", "ade20k", "coco", "food101", "clipart", "sketch"


@pytest.fixture
def tree(tmp_path):
    return copy(tmp_path)


def test_wrong_roots_are_refused_together_in_a_dry_run_too(tree, tmp_path):
    (tmp_path / "photos/training/cat").mkdir(parents=True)
    for mode in (("--dry-run",), ("--cores", "1")):
        text = tree.run(
            "snakemake", *mode, *SMALL, "--config", "imagenet=photos", "ade20k=/nowhere", "--", "table1", status=1
        )
        assert "imagenet: photos/train: no such folder" in text and "training/ looks like the split train" in text
        assert "ade20k: data root $ADE20K_ROOT: no such folder: /nowhere" in text
        assert "coco" not in text and "Building DAG" not in text and "Traceback" not in text


def test_a_root_that_is_not_set_is_no_obstacle_to_a_plan_and_stops_a_run_before_its_first_job(tree):
    text = tree.run("snakemake", "--dry-run", *SMALL, "--", "table1")
    (line,) = [line for line in text.splitlines() if line.startswith("Set the roots of ")]
    assert all(f"{name} (${name.upper()}_ROOT)" in line for name in NAMES)
    text = tree.run("snakemake", "--cores", "1", *SMALL, "--", "table1", status=1)
    assert "imagenet: data root $IMAGENET_ROOT: the environment variable is not set" in text and "coco: " not in text
    assert not (tree.path / "work/small").exists()
    tree.run("snakemake", "--cores", "1", *SMALL, "--", "figure8")  # which needs no data


def test_a_data_set_that_is_listed_may_be_away(tree):
    for name in NAMES:
        manifest = tree.path / f"data/small/{name}.json"
        manifest.parent.mkdir(parents=True, exist_ok=True)
        splits = {split: {"images": ["a"] * 1000} for split in ("train", "val")}
        about = {"root": "$NO_SUCH_VARIABLE", "layout": "imagenet", "classes": [], "splits": splits}
        manifest.write_text(json.dumps(about))
    text = tree.run("snakemake", "--dry-run", *SMALL, "--config", "coco=/nowhere", "--", "figure8")
    assert "no such folder" not in text and "Set the roots" not in text
