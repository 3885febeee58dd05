"""One run at a time of a scale: a lock on work/<scale>/, which the system frees when the run's process ends, killed or not.

Snakemake's own locks (`.snakemake/locks`) are switched off in profiles/default: a run that ends removes those of all runs, and
those of a killed run stay. Jobs take no lock: they are started by the run that holds it.
"""

from pathlib import Path

from snakemake.exceptions import WorkflowError

from cae.locks import Held, lock

_held = []  # a lock is free when its file is closed


def lock_scale(workflow, work: Path) -> None:
    """Lock a scale's folder `work` until this process ends. WorkflowError where another run holds the lock.

    Only a run that makes files takes it: not `--touch`, and not a target that prints (`snakemake cost`).
    """
    makes_files = any(job.output for job in workflow.dag.needrun_jobs())
    if not (workflow.is_main_process and not workflow.touch and makes_files):
        return
    try:
        _held.append(lock(work / "lock"))
    except Held as held:
        raise WorkflowError(
            f"Scale {work.name} is being run already, by {held.holder} ({work / 'lock'}). Wait until that run has ended, or stop "
            "it there (Ctrl-C, or kill its process); then give the same command again. Meanwhile `--dry-run` and other "
            "scales are possible."
        ) from None
