"""Roots of data sets that are not listed yet: a wrong one is refused before Snakemake plans, in a dry run, too."""

import os
from pathlib import Path

from snakemake.exceptions import WorkflowError

from cae.data.datasets import expand
from cae.data.layouts import layout_of, listing
from cae.errors import UserError
from workflow.plan import Plan


def check_known(plan: Plan) -> None:
    """Raise UserError where a data set that this scale needs and has not listed yet has a root, and a wrong one.

    But not where there are results, which may have come without the data sets, to be drawn.
    """
    if Path("results", plan.params.scale).exists():
        return
    _check(plan, [name for name in _not_listed(plan) if not _is_unset(plan, name)])


def check_needed(plan: Plan, dag) -> None:
    """Raise WorkflowError where jobs that will run need a root that is not set or wrong."""
    try:
        _check(plan, [job.wildcards.indexed for job in dag.needrun_jobs() if job.rule.name == "index_data"])
    except UserError as error:
        raise WorkflowError(str(error)) from None


def unset(plan: Plan) -> list[str]:
    """Return the roots that this scale needs and that are environment variables without a value, each with its data set."""
    names = [name for name in _not_listed(plan) if _is_unset(plan, name)]
    return [f"{name} ({plan.params.datasets[name].root})" for name in names]


def _not_listed(plan: Plan) -> list[str]:
    folder = Path("data", plan.params.scale)
    return [name for name in plan.counted if name in plan.indexed and not (folder / f"{name}.json").exists()]


def _is_unset(plan: Plan, name: str) -> bool:
    return "$" in os.path.expandvars(plan.params.datasets[name].root)


def _check(plan: Plan, names: list[str]) -> None:
    wrong = []
    for name in names:
        data = plan.params.datasets[name]
        try:
            root, layout = expand(data.root), layout_of(data.layout)
            if not all((root / needed).exists() for needed in layout.NEEDED):
                listing(layout, root, data.classes)  # it fails, and describes what is expected and what is there
        except UserError as error:
            wrong.append(f"{name}: {error}")
    if wrong:
        raise UserError("\n".join(wrong))
