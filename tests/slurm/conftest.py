"""Real clusters, one that is asked by squeue and one that keeps accounts; both are slow, so that only `-m slurm` runs them."""

import shutil
from pathlib import Path

import pytest

from tests.slurm import cluster, project
from tests.slurm.project import PRETRAINED, Project

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items):
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.slurm)


@pytest.fixture(scope="session", params=["squeue", "sacct"])
def slurm(request, tmp_path_factory):
    """A cluster, and the options that say how it is asked."""
    accounts = request.param == "sacct"
    if reason := cluster.lacking(accounts):
        pytest.skip(reason)
    with cluster.start(tmp_path_factory.mktemp(request.param), accounts) as started:
        # Jobs are short here: asked every two seconds at first.
        options = ["--slurm-init-seconds-before-status-checks=2", "--latency-wait=10"]
        yield started, [f"--slurm-status-command={request.param}", *options]


@pytest.fixture(scope="session")
def with_data(tmp_path_factory) -> Project:
    """A project that has its data and nothing else."""
    with_data = project.make(tmp_path_factory.mktemp("with_data"))
    with_data.run("data/tiny/imagenet.json")
    return with_data


@pytest.fixture(scope="session")
def undisturbed(with_data, tmp_path_factory) -> Project:
    """A project that pretrained without a cluster and without a fault."""
    undisturbed = Project(tmp_path_factory.mktemp("undisturbed") / "project")
    shutil.copytree(with_data.path, undisturbed.path)
    undisturbed.run(PRETRAINED)
    return undisturbed


@pytest.fixture
def copied(slurm, with_data, tmp_path) -> Project:
    """A project on the cluster that has its data and nothing else."""
    started, options = slurm
    shutil.copytree(with_data.path, tmp_path / "project")
    return Project(tmp_path / "project", started, *options)
