"""Snakemake's command line: mistakes end in a line that names the remedy, and the working directory may be another folder."""

import os
import re
import subprocess
import sys

import pytest

BEHIND = "targets go behind `--`, as in `snakemake "


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--config", "imagenet=/data", "table1"], [f"--config: 'table1' is not NAME=VALUE; {BEHIND}"]),
        (["--config", "seed=1", "x=2"], ["--config: 'x=2' is not NAME=VALUE; a NAME begins with a letter"]),
        (["--configfile", "params/small.yaml", "table1"], [f"--configfile: table1: no such params file; {BEHIND}"]),
        (["--configfile", "params/smal.yaml"], ["params/smal.yaml: no such params file; did you mean params/small.yaml?"]),
        (["--configfile", "small"], ["small: no such params file; did you mean params/small.yaml?"]),
        (["--configfile", "x.yaml"], ["x.yaml: no such params file; there are params/demo-all.yaml, params/demo.yaml, "]),
        (["--configfile", "profiles"], ["profiles: no such params file; "]),
        (["--configfile", "params/wrong.yaml"], ["params/wrong.yaml: line 2: seed is there twice, first in line 1"]),
        (["--configfile", "params/wrong.yaml", "figure1", "--config", "figure2"],
         ["params/wrong.yaml: line 2", "figure1: no such params file", "'figure2' is not NAME=VALUE"]),
    ],
)  # fmt: skip
def test_a_mistake_is_told_before_snakemake_ends_in_a_traceback(tree, options, told):
    (tree.path / "params/wrong.yaml").write_text("seed: 1\nseed: 2\n")
    text = tree.run("snakemake", "--dry-run", *options, status=1)
    (tree.path / "params/wrong.yaml").unlink()
    assert all(line in text for line in told) and "Traceback" not in text and len(text.splitlines()) == 1 + len(told)


def test_values_of_config_are_read_as_those_of_params_files(tree):
    """Snakemake makes texts of numbers in lists and mappings, and of true and null."""
    values = ["seeds=[0, 1]", "only=null", "compile=true", "models={cae-b-300: {lr: 1e-3, epochs: 7}}"]
    jobs = tree.dry_run("--config", *values, "--", "results/demo/pretrain/cae-b-300/model.safetensors")
    told = jobs["pretrain_model cae-b-300"]
    assert '"lr": 0.001' in told and '"epochs": 7' in told and '"compile": true' in told
    text = tree.run("snakemake", "--dry-run", "--config", "probes={epochs: many}", status=1)
    assert "--config: probes.epochs: Input should be a valid integer (found 'many')" in text


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    return tmp_path_factory.mktemp("elsewhere")


def test_params_are_found_beside_the_snakefile(tree, elsewhere):
    """With --directory, and with --snakefile from another folder: outputs are there, all else is read where the Snakefile is."""
    (tree.path / "params/mine.yaml").write_text("base: demo.yaml\nonly: [random-b, cae-b-1600]\n")
    mine = ("--configfile", "params/mine.yaml", "--", "report")
    here = tree.dry_run(*mine)
    there = tree.dry_run("--directory", str(elsewhere), *mine)
    (tree.path / "params/mine.yaml").unlink()
    assert here.keys() == there.keys() and "probe cae-b-1600" in here and "probe cae-b-300" not in here
    for job in ("page", "rulegraph"):
        (given,) = re.findall(r"\n    input: (.*)", there[job])
        read = [file for file in given.split(", ") if not file.startswith(("data/", "results/", "reports/"))]
        assert len(read) >= 2 and all(
            (elsewhere / file).samefile(tree.path / file.split("../")[-1].partition("/")[2]) for file in read
        )


def test_a_run_from_another_folder_makes_its_files_there_by_the_code_beside_the_snakefile(tree, elsewhere):
    def run(*options):
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(tree.path / "Snakefile"), *options]
        path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"PATH": path}
        return subprocess.run(command, cwd=elsewhere, env=environment, capture_output=True, text=True)

    before = sorted(tree.path.rglob("*"))
    done = run("--cores", "1", "--", "figure1", "dag")
    assert done.returncode == 0, done.stderr
    assert (
        (elsewhere / "reports/demo/figures/figure1.png").read_text().startswith("figure --name figure1")
    )  # the stand-in
    assert "digraph" in (elsewhere / "reports/demo/figures/dag.dot").read_text()
    assert [file for file in sorted(tree.path.rglob("*")) if "__pycache__" not in file.parts] == [
        file for file in before if "__pycache__" not in file.parts
    ]
    wrong = run("--dry-run", "--configfile", "params/small.yaml")
    beside = os.path.relpath(tree.path / "params/small.yaml", elsewhere)
    assert wrong.returncode and wrong.stderr.splitlines()[-1] == (
        f"--configfile: params/small.yaml: no such params file; did you mean {beside}, beside the Snakefile?"
    )
    assert run("--dry-run", "--configfile", beside, "--", "figure8").returncode == 0
