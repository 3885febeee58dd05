"""What the Slurm profile would submit; no cluster needed."""

import re
from collections import Counter
from math import ceil
from types import SimpleNamespace

import pytest
import yaml
from snakemake_executor_plugin_slurm.submit_string import get_submit_command
from snakemake_executor_plugin_slurm.utils import set_gres_string

from tests.workflow.conftest import ALL


class Resources(dict):
    __getattr__ = dict.__getitem__


@pytest.fixture(scope="module")
def submitted(tree):
    """submitted(job, *configfiles): the sbatch command of a job of the paper."""
    planned = {}

    def submitted(name: str, *more: str) -> str:
        if more not in planned:
            files = ["--configfile", "params/paper.yaml", *more, "--group-components", "none=1"]
            planned[more] = tree.dry_run("--profile", "slurm", "--cores", "1000", *files)
        jobs = planned[more]
        pairs = re.search(r"\n    resources: (.*)", jobs[name])[1].split(", ")
        values = {
            key: int(value) if value.isdigit() else value for key, value in (pair.split("=", 1) for pair in pairs)
        }
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
        ("list_tokens dalle", 0, 1, 32000, 1440),
        ("classify deit-b-300", 1, 64, 400000, 1440),
        ("import_model mae-b-1600", 0, 1, 32000, 10),
    ],
)
def test_a_job_asks_for_its_machine(submitted, job, gpus, cpus, memory, minutes):
    command = submitted(job)
    assert f"--cpus-per-task={cpus}" in command and f"--mem {memory}" in command and f"-t {minutes}" in command
    assert re.findall(r"--gpus=(\d+)", command) == ([str(gpus)] if gpus else [])
    assert "--ntasks-per-gpu" not in command  # the program would be started once for each GPU


@pytest.mark.parametrize("gpus, expected", [
    (8, "--nodes=4 --ntasks-per-node=8 --cpus-per-task=8 --gres=gpu:8"),
    (1, "--nodes=4 --ntasks=4 --cpus-per-task=64 --gres=gpu:1"),
])  # fmt: skip
def test_a_job_asks_for_several_nodes(submitted, tree, gpus, expected):
    """srun starts a process for each GPU; memory is a node's; the others stay on one."""
    more = f"params/nodes-{gpus}.yaml"
    (tree.path / more).write_text(f"resources: {{pretrain: {{nodes: 4, gpus: {gpus}}}}}")
    command = submitted("pretrain_model cae-b-1600", more)
    words = command.split()
    assert [word for word in words if word.startswith(("--nodes", "--ntasks", "--cpus", "--g"))] == expected.split()
    assert "--mem 400000" in command and "--nodes" not in submitted("finetune finetune cae-l-1600", more)


def test_short_jobs_of_a_rule_wait_together_and_long_ones_alone(tree):
    text = tree.run("snakemake", "--dry-run", "--profile", "slurm", *ALL)
    jobs = Counter(re.findall(r"^ *rule (\w+):", text, re.M))
    groups = Counter(re.findall(r"Group job (\w+) ", text))
    for name in ("probe", "finetune", "detect"):
        assert jobs[name] > 20 and groups[name] == ceil(jobs[name] / 20)
    assert groups["tokenize"] == groups["list_tokens"] == 1
    alone = set(re.findall(r"^rule (\w+):", text, re.M))
    assert alone & sent(tree) == {"pretrain_model"} and not alone & groups.keys()
    assert "Group job" not in tree.run("snakemake", "--dry-run", *ALL)  # on one machine nothing waits


def test_the_profile_groups_every_rule_that_it_sends(tree):
    profile = yaml.safe_load((tree.path / "slurm/config.yaml").read_text())
    assert profile["group-components"].keys() == sent(tree) - {"pretrain_model"}


def sent(tree) -> set[str]:
    """Rules whose jobs go to the cluster."""
    text = "\n".join(path.read_text() for path in (tree.path / "workflow/rules").glob("*.smk"))
    rules = re.split(r"^ *rule ", text, flags=re.M)[1:]
    return {rule.partition(":")[0] for rule in rules if "localrule: True" not in rule}


def test_retries_are_the_profiles_alone(tree):
    """On a rule they would multiply: the Snakemake inside each job obeys them too."""
    rules = [path.read_text() for path in (tree.path / "workflow/rules").glob("*.smk")]
    assert not re.search(r"^\s+retries:", "\n".join(rules), re.M)


def test_reports_never_queue(tree):
    text = (tree.path / "workflow/rules/report.smk").read_text()
    rules = re.split(r"^ *rule\b", text, flags=re.M)[1:]
    assert rules and all("localrule: True" in rule for rule in rules)
