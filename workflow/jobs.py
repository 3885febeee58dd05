"""All jobs of a scale, as Snakemake plans them: its own DAG, built of the Snakefile, nothing run."""

import io
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path

import networkx as nx
from snakemake.api import SnakemakeApi
from snakemake.exceptions import WorkflowError
from snakemake.settings.types import ConfigSettings, DAGSettings, OutputSettings, Quietness, ResourceSettings

from cae.errors import UserError
from cae.files import need_no_home

FOLDER = Path(__file__).resolve().parents[1]  # of the Snakefile


@dataclass(eq=False)
class Job:
    rule: str
    wildcards: dict[str, str]
    gpus: int = 0
    left: bool = True  # to be run
    needs: list["Job"] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)


def jobs_of(files: list[Path], overrides: dict, targets: tuple[str, ...] = ("all",)) -> list[Job]:
    """All jobs of the DAG of some rules, done or not, each once; `files` and `overrides`: Snakemake's --configfile, --config."""
    need_no_home(
        Path(".snakemake/cache")
    )  # this and, for content of any size to be compared, the next: as in profiles/default
    settings = DAGSettings(targets=set(targets), max_checksum_file_size=1 << 40, print_dag_as="dot")
    try:
        with SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
            with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
                planned = api.workflow(
                    resource_settings=ResourceSettings(cores=1), snakefile=FOLDER / "Snakefile",
                    config_settings=ConfigSettings(configfiles=[file.absolute() for file in files], config=overrides),
                )  # fmt: skip
                planned.dag(settings).printdag()
            dag = planned._workflow.dag
    except WorkflowError as error:
        raise UserError(str(error)) from None
    jobs = {
        job: Job(job.rule.name, dict(job.wildcards_dict), gpus_of(job.resources), dag.needrun(job),
                 inputs=list(map(str, job.input)), outputs=list(map(str, job.output)))
        for job in dag.jobs
    }  # fmt: skip
    for job, found in jobs.items():
        found.needs = [jobs[other] for other in dag.dependencies[job]]
    return list(jobs.values())


def gpus_of(resources) -> int:
    """Of all nodes of a job together (`Plan.machine`, `Plan.machines`)."""
    return resources.get("nodes", 1) * resources.get("node_gpus", resources.get("gpu", 0))


def graph_of(jobs: list[Job]) -> nx.DiGraph:
    """Return the DAG of jobs: an edge from each to those that wait for it."""
    graph = nx.DiGraph((before, job) for job in jobs for before in job.needs)
    graph.add_nodes_from(jobs)
    return graph


def all_needed(graph: nx.DiGraph, ends: list[Job]) -> set[Job]:
    """Return `ends` and all that they wait for, directly or not."""
    return set(ends).union(*(nx.ancestors(graph, end) for end in ends))
