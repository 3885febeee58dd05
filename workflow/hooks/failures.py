"""What a run that fails or is stopped leaves behind: the trained models that it was to replace, and the reason."""

import atexit
import os
import shutil
import sys
from pathlib import Path

from workflow.hooks import interruption
from workflow.hooks.describe import last_lines, short_name, single_jobs
from workflow.hooks.links import is_link

TRAINING = {"train_tokenizer", "pretrain_model", "finetune", "segment", "detect"}


def keep(jobs, previous: Path) -> None:
    """Link what training is to replace into the folder `previous`; Snakemake deletes outputs before a job starts.

    Its own `update()` would put them back after a failure, but with the new params written down as theirs: from then on
    they would pass for up to date.
    """
    for job in jobs:
        for file in map(Path, job.output if job.rule.name in TRAINING else []):
            if file.exists():
                kept = previous / file
                kept.parent.mkdir(parents=True, exist_ok=True)
                kept.unlink(missing_ok=True)
                if is_link(file) or not _linked(file, kept):
                    shutil.copyfile(file, kept)


def _linked(file: Path, kept: Path) -> bool:
    try:
        os.link(file, kept)
    except OSError:  # another disk
        return False
    return True


def drop_replaced(previous: Path) -> None:
    """Remove from `previous` what a new file has taken the place of."""
    for kept in previous.rglob("*"):
        if kept.is_file() and kept.relative_to(previous).exists():
            kept.unlink()


def print_at_exit(scheduler, previous: Path) -> None:
    """Print the end of each failed job's log, then from where each job goes on that was stopped, below Snakemake's last word."""
    stopped = single_jobs(scheduler.running if interruption.noted else [])
    failed = single_jobs(scheduler.failed)
    stopped += [job for job in failed if interruption.where_it_stands(job)]  # by SIGTERM, as at a cluster's time limit
    failed = [job for job in failed if job not in stopped]
    lines = [line for job in sorted(failed, key=short_name) for line in _failure(job, previous)]
    if stopped:
        lines += ["", *sorted(map(interruption.goes_on, stopped)), "Run the same command to go on."]
    atexit.register(print, "\n".join(lines), file=sys.stderr, flush=True)


def _failure(job, previous: Path) -> list[str]:
    lines = [f"    {line}" for line in last_lines(job) or ["(nothing was written)"]]
    if any((previous / file).exists() for file in job.output):
        lines.append(f"What it was to replace is in {previous / Path(job.output[0]).parent}")
    return [f"\nFailed: {short_name(job)}; the end of {job.log}:", *lines]
