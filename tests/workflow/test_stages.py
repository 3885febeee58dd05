"""dvc.yaml is what the DAG says; each other scale has its own, and data that lie elsewhere are versioned by their manifests."""

import os
import subprocess
import sys

import pytest
import yaml

from tests.workflow.conftest import ROOT, copy

MINE = """
base: demo.yaml
scale: mine
only: [mae-b-1600]
datasets: {imagenet: {root: $IMAGENET_ROOT}, ade20k: null, coco: null, food101: null, clipart: null, sketch: null}
"""
WRITE = "import sys; from cae.cli import main; main(['stages', *sys.argv[1:]])"


def test_the_committed_stages_are_those_of_the_dag(tree):
    tree.run(sys.executable, "-c", WRITE, "--output", "written.yaml")
    assert (tree.path / "written.yaml").read_text() == (ROOT / "dvc.yaml").read_text()


def test_a_cache_too_large_to_copy_is_versioned_by_its_manifest(tree):
    assert tree.run(sys.executable, "-c", WRITE, "--params", "params/paper.yaml").endswith("dvc/paper/dvc.yaml\n")
    stages = yaml.safe_load((tree.path / "dvc/paper/dvc.yaml").read_text())["stages"]
    outs = {name: [next(iter(out)) for out in stage["outs"]] for name, stage in stages.items()}
    manifest = "results/paper/tokens/dalle/manifest.json"
    assert manifest in outs["tokens"] and manifest in stages["pretrain"]["deps"]
    assert not {"results/paper/tokens", "results/paper/tokens/dalle"} & {*outs["tokens"], *stages["pretrain"]["deps"]}
    assert outs["data"] == ["data/paper"] and "results/paper/coco-cascade" in outs["evaluate"]
    assert "--configfile params/paper.yaml -- tokens" in stages["tokens"]["cmd"]


def test_another_scale_is_reproduced_beside_the_demo_and_its_images_are_versioned_by_their_manifest(tmp_path):
    tree = copy(tmp_path / "tree")
    (tree.path / "params/mine.yaml").write_text(MINE)
    tree.run(sys.executable, "-c", WRITE, "--params", "params/mine.yaml")
    assert (tree.path / "dvc.yaml").read_text() == (ROOT / "dvc.yaml").read_text()
    tree.run("git", "init", "--quiet")
    for folder in ("train", "val"):
        (tmp_path / "photos" / folder).mkdir(parents=True)  # the stand-in looks at no more
    text = tree.run("env", f"IMAGENET_ROOT={tmp_path}/photos", "dvc", "repro", "dvc/mine/dvc.yaml:pretrain")
    assert [text.count(f"Running stage 'dvc/mine/dvc.yaml:{name}'") for name in ("data", "tokens", "pretrain")] == [
        1,
        0,
        1,
    ]
    assert [path.name for path in (tree.path / "data/mine").iterdir()] == ["imagenet.json"]
    assert [path.name for path in (tree.path / "results").iterdir()] == ["mine"]
    assert not (tree.path / "dvc.lock").exists()
    locked = yaml.safe_load((tree.path / "dvc/mine/dvc.lock").read_text())["stages"]
    assert [out["path"] for stage in locked.values() for out in stage["outs"]] == ["data/mine", "results/mine/pretrain"]
    assert tree.dry_run("--configfile", "params/mine.yaml", "--", "pretrain").keys() <= {
        "pretrain"
    }  # where no image is
    assert [path.name for path in (tree.path / ".snakemake/metadata").iterdir()] == []  # the demo's records
    assert any((tree.path / ".snakemake/metadata-mine").iterdir())
    listed = tree.run("dvc", "stage", "list", "--all", "--name-only").split()
    assert {"report", "dvc/mine/dvc.yaml:report"} <= {*listed}  # no output of one is the other's


@pytest.mark.parametrize("scale", ["small", "photos-gpu"])
def test_no_two_stages_have_the_same_output(tree, scale):
    """Though a figure shows models that no table has."""
    tree.run(sys.executable, "-c", WRITE, "--params", f"params/{scale}.yaml")
    stages = yaml.safe_load((tree.path / f"dvc/{scale}/dvc.yaml").read_text())["stages"]
    outs = [next(iter(out)) for stage in stages.values() for out in stage["outs"]]
    assert len(outs) == len(set(outs)) > 10
    assert {name for name, stage in stages.items() if stage.get("always_changed")} == {"data"}


@pytest.mark.parametrize(("profile", "cores"), [("slurm", []), ("", ["--cores", "all"])])
def test_a_profile_brings_its_own_cores(tmp_path, profile, cores):
    """Snakemake would cut each job of a cluster to the cores of the machine that it is called on."""
    stub = tmp_path / "snakemake"
    stub.write_text(f'#!/bin/sh\nprintf "%s\\n" "$SNAKEMAKE_PROFILE" "$@" > {tmp_path}/told\n')
    stub.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "SNAKEMAKE_PROFILE": profile}
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    subprocess.run(["sh", "-c", stages["evaluate"]["cmd"]], env=environment, check=True)
    assert (tmp_path / "told").read_text().splitlines() == [profile, *cores, "--", "evaluate", "analyze"]
