"""The demo's chain through `snakemake --profile slurm`."""

import shutil
import subprocess

from tests.conftest import ROOT
from tests.slurm.project import LIMIT, PRETRAINED, PROBED


def test_a_cluster_ends_with_the_bytes_of_one_machine(copied, undisturbed):
    """From images to probes' weights; two probes are sent as one job, and a second run has nothing to do."""
    undisturbed.run(*PROBED)
    copied.run(*PROBED)
    states = [state for state, _ in copied.submitted().values()]
    assert states == ["COMPLETED"] * 6  # tokenizer, tokens, their cache, two models, probes
    for file in (PRETRAINED, *PROBED):
        assert copied.bytes(file) == undisturbed.bytes(file)
    assert "Nothing to be done" in copied.run(*PROBED)


def test_dvc_repro_goes_to_the_cluster(copied):
    """`SNAKEMAKE_PROFILE=slurm dvc repro`, up to the token cache."""
    settings = copied.path / "slurm/config.yaml"
    options = dict(option.removeprefix("--").split("=") for option in copied.options)
    lines = [line for line in settings.read_text().splitlines() if line.partition(":")[0] not in options]
    settings.write_text("\n".join([*lines, *(f"{name}: {value}" for name, value in options.items())]) + "\n")
    shutil.copytree(ROOT / ".dvc", copied.path / ".dvc", ignore=lambda *_: {"cache", "tmp"})
    shutil.copy(ROOT / ".gitignore", copied.path)

    def run(*command: str) -> str:
        environment = {**copied.environment, "SNAKEMAKE_PROFILE": "slurm", "DVC_NO_ANALYTICS": "1"}
        done = subprocess.run(command, cwd=copied.path, env=environment, capture_output=True, text=True, timeout=LIMIT)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{copied.logs()}"
        return done.stdout

    run("python", "-m", "cae", "stages", "--params", "params/tiny.yaml", "--output", "dvc.yaml")
    run("git", "init", "--quiet")
    run("dvc", "repro", "tokens")
    assert [state for state, _ in copied.submitted().values()] == ["COMPLETED"] * 3  # tokenizer, tokens, their cache
    assert run("dvc", "status", "tokens").strip() == "Data and pipelines are up to date."
