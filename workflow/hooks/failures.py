"""What a run that fails leaves behind: the trained models that it was to replace, and the reason, last on the terminal."""

import atexit
import os
import shutil
import sys
from pathlib import Path

TRAINING = {"train_tokenizer", "pretrain_model", "finetune", "segment", "detect"}
LINES = 15


def keep(jobs, previous: Path) -> None:
    """Links what training is to replace into the folder `previous`; Snakemake deletes outputs before a job starts.

    Its own `update()` would put them back after a failure, but with the new params written down as theirs: from then on
    they would pass for up to date.
    """
    for job in jobs:
        for file in map(Path, job.output if job.rule.name in TRAINING else []):
            if file.exists():
                kept = previous / file
                kept.parent.mkdir(parents=True, exist_ok=True)
                kept.unlink(missing_ok=True)
                try:
                    os.link(file, kept)
                except OSError:  # another disk
                    shutil.copy2(file, kept)


def drop_replaced(previous: Path) -> None:
    """Removes from `previous` what a new file has taken the place of."""
    for kept in previous.rglob("*"):
        if kept.is_file() and kept.relative_to(previous).exists():
            kept.unlink()


def tell_at_exit(jobs, previous: Path) -> None:
    """Prints the end of each failed job's log, when Snakemake has said its last word."""
    parts = []
    jobs = [part for job in jobs for part in (job.jobs if job.is_group() else [job])]
    for job in sorted(jobs, key=lambda job: list(map(str, job.log))):
        lines = [line for log in job.log if Path(log).exists() for line in _lines(Path(log))]
        parts.append(f"\nFailed: {job.rule.name} {' '.join(job.wildcards_dict.values())}; the end of {job.log}:")
        parts += [f"    {line}" for line in lines[-LINES:] or ["(nothing was written)"]]
        if any((previous / file).exists() for file in job.output):
            parts.append(f"What it was to replace is in {previous / Path(job.output[0]).parent}")
    atexit.register(print, "\n".join(parts), file=sys.stderr, flush=True)


def _lines(log: Path) -> list[str]:
    """Lines that say something; of a progress bar, drawn over itself, the last state."""
    lines = log.read_bytes().decode(errors="replace").split("\n")
    return [line for line in (line.rstrip("\r").rpartition("\r")[2].rstrip() for line in lines) if line]
