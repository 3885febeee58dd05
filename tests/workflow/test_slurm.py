"""What the Slurm profile would submit; no cluster needed."""

import re
from types import SimpleNamespace

import pytest
from snakemake_executor_plugin_slurm.submit_string import get_submit_command
from snakemake_executor_plugin_slurm.utils import set_gres_string


class Resources(dict):
    __getattr__ = dict.__getitem__


@pytest.fixture(scope="module")
def submitted(tree):
    """submitted(job): the sbatch command of a job of the paper."""
    jobs = tree.dry_run("--profile", "slurm", "--cores", "1000", "--configfile", "params/paper.yaml")

    def submitted(name: str) -> str:
        pairs = re.search(r"\n    resources: (.*)", jobs[name])[1].split(", ")
        values = {key: int(value) if value.isdigit() else value for key, value in (pair.split("=") for pair in pairs)}
        threads = re.search(r"\n    threads: (\d+)", jobs[name])
        job = SimpleNamespace(resources=Resources(values), threads=int(threads[1]) if threads else 1)
        about = dict(run_uuid="u", slurm_logfile="l", comment_str="c", account="", partition="", workdir=".")
        return get_submit_command(job, about) + set_gres_string(job)

    return submitted


@pytest.mark.parametrize(
    ("job", "gpus", "cpus", "memory", "minutes"),
    [
        ("pretrain_model cae-b-1600", 8, 64, 400000, 2880),
        ("probe cae-b-1600", 1, 64, 400000, 1440),
        ("finetune finetune cae-l-1600", 8, 64, 400000, 2880),
        ("segment cae-b-1600 0.0003", 8, 64, 400000, 2880),
        ("detect coco-mask cae-l-1600", 8, 64, 400000, 2880),
        ("tokenize dalle 7 64", 1, 16, 32000, 1440),
        ("index_data imagenet", 0, 16, 8000, 240),
        ("merge_tokens dalle", 0, 1, 32000, 1440),
        ("classify deit-b-300", 1, 64, 400000, 1440),
        ("import_model mae-b-1600", 0, 1, 32000, 120),
    ],
)
def test_a_job_asks_for_its_machine(submitted, job, gpus, cpus, memory, minutes):
    command = submitted(job)
    assert f"--cpus-per-task={cpus}" in command and f"--mem {memory}" in command and f"-t {minutes}" in command
    assert re.findall(r"--gpus=(\d+)", command) == ([str(gpus)] if gpus else [])
    assert "--ntasks-per-gpu" not in command  # the program would be started once for each GPU


def test_retries_are_the_profiles_alone(tree):
    """On a rule they would multiply: the Snakemake inside each job obeys them too."""
    rules = [path.read_text() for path in (tree.path / "workflow/rules").glob("*.smk")]
    assert not re.search(r"^\s+retries:", "\n".join(rules), re.M)


def test_reports_never_queue(tree):
    text = (tree.path / "workflow/rules/report.smk").read_text()
    rules = re.split(r"^ *rule\b", text, flags=re.M)[1:]
    assert rules and all("localrule: True" in rule for rule in rules)
