"""The last lines of a run that made all that was asked for: where it is, its most important numbers, and where to read on."""

from pathlib import Path
from statistics import mean, stdev

from tabulate import tabulate

from cae.files import read_json
from cae.params.tables import PRIMARY
from workflow.plan import Plan

OURS, RIVAL = (
    "CAE",
    "MAE",
)  # titles of methods: the longest of one is compared with random weights and the longest of the other
LISTED = 5  # files, where a run was asked for others than the page


def print_if_done(workflow, plan: Plan) -> None:
    """Print the ending, called as the process ends: nothing after a dry run, nor where jobs failed or were stopped."""
    ran = workflow.executor_plugin and not workflow.dryrun and not workflow.touch
    if ran and workflow.dag is not None and not any(workflow.dag.needrun_jobs()):
        page = f"reports/{plan.params.scale}/index.html"
        if any(page in job.output for job in workflow.dag.jobs):
            print("\n", "\n".join([*headline(plan), *further(plan), f"The report: {page}"]), sep="", flush=True)
        else:
            made = asked_files(workflow.dag)
            more = [f"and {len(made) - LISTED} more"] if len(made) > LISTED else []
            print("\n".join(made[:LISTED] + more), flush=True)


def asked_files(dag) -> list[str]:
    """Return the files that the command line asked for, by their names or as a rule's."""
    of_rules = {str(file) for job in dag.targetjobs if not job.output for file in job.input}
    return sorted({*map(str, dag.targetfiles), *of_rules})


def headline(plan: Plan) -> list[str]:
    """Return a table in lines: the longest CAE, random weights and the longest MAE of the same size, by each protocol of CAE."""
    ours = longest(plan, OURS)
    if not ours:
        return []
    size = plan.recipes[ours].width, plan.recipes[ours].depth
    rival = longest(plan, RIVAL, size)
    untrained = [name for name in _shown(plan) if not plan.recipes[name].epochs and size == _size(plan, name)]
    models = [name for name in (ours, *untrained[:1], rival) if name]
    protocols = list(dict.fromkeys(protocol for protocol, model in plan.cells if model == ours))
    heads = ["", "epochs", *(f"{protocol}\n{PRIMARY.get(protocol, 'top1')}, %" for protocol in protocols)]
    rows = [
        [name, plan.recipes[name].epochs, *(cell(plan, protocol, name) for protocol in protocols)] for name in models
    ]
    return [*tabulate(rows, heads, disable_numparse=True, stralign="right", colalign=["left"]).splitlines(), ""]


def longest(plan: Plan, title: str, size: tuple[int, int] | None = None) -> str | None:
    """Return the model of a method that is trained for most epochs, the first in the tables of several; None where none is."""
    found = [name for name in _shown(plan) if plan.recipes[name].title == title and plan.recipes[name].epochs]
    found = [name for name in found if size in (None, _size(plan, name))]
    return max(found, key=lambda name: plan.recipes[name].epochs, default=None)


def _shown(plan: Plan) -> list[str]:
    """Return the models, those of several seeds once, by the name of the first."""
    return [name for name in plan.models if "@" not in name]


def _size(plan: Plan, name: str) -> tuple[int, int]:
    return plan.recipes[name].width, plan.recipes[name].depth


def cell(plan: Plan, protocol: str, model: str) -> str:
    """Return a model's first metric by a protocol; of several seeds its mean, sample standard deviation and their number."""
    metric = PRIMARY.get(protocol, "top1")
    files = [Path(f"results/{plan.params.scale}/evaluate/{protocol}/{each}.json") for each in plan.params.seeded(model)]
    numbers = [read_json(file)[metric] for file in files if file.exists()]
    if len(numbers) < 2:
        return f"{numbers[0]:.1f}" if numbers else "–"
    return f"{mean(numbers):.1f} ± {stdev(numbers):.1f} (n = {len(numbers)})"


def further(plan: Plan) -> list[str]:
    """Return lines that tell how to look closer."""
    reports, work = f"reports/{plan.params.scale}", f"work/{plan.params.scale}"
    return [
        f"What the paper claims, and whether it holds here: {reports}/tables/claims.md",
        f"All numbers: {reports}/tables/*.csv; figures: {reports}/figures/; each job's log: {work}/logs/",
    ]
