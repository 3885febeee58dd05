"""Ctrl-C: running jobs save and end, and the last lines on the terminal tell from where each goes on."""

import os
import re
import signal
from pathlib import Path

from workflow.hooks.describe import last_lines, short_name

STOPPING = b"\nStopping. Running jobs save what they have first; Ctrl-\\ ends them at once, unsaved.\n"
SAVED = re.compile(
    r"saved at \w+ \d+ of \d+"
)  # the last line of a training's log, by cae.training.run and cae.tasks.tokenize
noted: list[int] = []  # Ctrl-C, once it was pressed


def listen() -> None:
    """Note Ctrl-C and pass it on to Snakemake, the first time; who presses it again waits for the same end.

    On the terminal it reaches the jobs of this machine, too; those of a cluster Snakemake cancels.
    """
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as of a job in the background
        signal.signal(signal.SIGINT, _note)


def _note(number: int, _) -> None:
    if not noted:
        noted.append(number)
        os.write(2, STOPPING)  # `print` may be what was interrupted
        raise KeyboardInterrupt


def where_it_stands(job) -> str | None:
    """Return what a job that was stopped kept; None where its log does not tell."""
    found = SAVED.search("\n".join(last_lines(job)[-1:]))
    return found and found[0]


def goes_on(job) -> str:
    """Return in one line from where the next run goes on with a job that this one stopped."""
    folder = re.search(r" --work (\S+)", job.shellcmd or "")
    kept = folder and Path(folder[1], "state.ckpt").exists()
    return f"{short_name(job)}: {where_it_stands(job) or ('goes on from its last save' if kept else 'begins again')}"
