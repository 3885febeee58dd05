"""What is done to Snakemake's own objects before it looks for what to run."""

from collections.abc import Callable


def when_prepared(workflow, act: Callable[[], None]) -> None:
    """Call `act` as soon as `workflow.dag` and `workflow.persistence` exist, and before any job is planned."""
    prepare = workflow._prepare_dag

    def prepare_and_act(*arguments, **options) -> None:
        prepare(*arguments, **options)
        act()

    workflow._prepare_dag = prepare_and_act
