"""One line of progress on the terminal while the jobs run; what Snakemake says of each of them is in its own log."""

import logging
import re
import sys
import time
from collections import defaultdict
from statistics import mean
from threading import Event, Lock, Thread

from snakemake.logging import logger
from snakemake_interface_logger_plugins.common import LogEvent
from tqdm import tqdm

from workflow.hooks import interruption
from workflow.hooks.describe import notes, short_name

shown: list["Progress"] = []
SHOWN_AT_THE_END = LogEvent.JOB_ERROR, LogEvent.GROUP_ERROR  # by workflow/hooks/failures.py, without the command
FAILED_COMMAND = re.compile(r"Command '.*> (\S+) 2>&1' (.*)", re.DOTALL)  # Snakemake quotes it whole, params and all


def start(workflow) -> None:
    """Of the jobs that run here: a cluster's are told as Snakemake tells them, and so are all with `--verbose`."""
    if workflow.is_main_process and workflow.local_exec and not workflow.output_settings.verbose:
        shown.append(Progress(workflow.dag, workflow.resource_settings.cores or 1))


def end() -> None:
    while shown:
        shown.pop().close()


class Progress(logging.Handler):
    """Listens to Snakemake's own events. The line is drawn over itself every second; in a file, where lines stay, it is
    written once a minute."""

    def __init__(self, dag, cores: int):
        super().__init__()
        self.jobs = {dag.jobid(job): job for job in dag.needrun_jobs()}
        self.cores, self.guard, self.ended = cores, Lock(), Event()
        self.running: dict[int, float] = {}  # job: when it began
        self.done: dict[int, float] = {}  # job: its seconds
        terminal = sys.stderr.isatty()
        text = "{n}/{total} jobs |{bar:10}| {elapsed} gone{postfix}"
        options = dict(bar_format=text, leave=False, disable=not terminal, dynamic_ncols=True, position=0)
        self.bar = tqdm(total=len(self.jobs), **options)
        self.draw, self.seconds = (self.redraw, 1) if terminal else (self.write, 60)
        self.hushed = [handler for handler in logger.handlers if type(handler).__name__ == "ColorizingTextHandler"]
        for handler in self.hushed:
            handler.addFilter(self.lets_pass)
        logger.addHandler(self)
        Thread(target=self.keep_drawing, daemon=True).start()

    def lets_pass(self, record: logging.LogRecord) -> bool:
        """Return whether the terminal shows a record now: warnings and errors, but those that are shown at the end."""
        if interruption.noted or record.levelno < logging.WARNING or getattr(record, "event", None) in SHOWN_AT_THE_END:
            return False
        self.bar.clear()
        if command := FAILED_COMMAND.search(record.getMessage()):
            log, how = command.groups()
            print(f"{log}: its command {how}", file=sys.stderr, flush=True)
            return False
        return True

    def emit(self, record: logging.LogRecord) -> None:
        event, now = getattr(record, "event", None), time.monotonic()
        with self.guard:
            if event == LogEvent.JOB_STARTED:
                self.running |= dict.fromkeys(record.jobs, now)
            elif event == LogEvent.JOB_FINISHED:
                self.done[record.job_id] = now - self.running.pop(record.job_id, now)
                self.show_notes(self.jobs.get(record.job_id))
            elif event == LogEvent.JOB_ERROR:
                self.running.pop(record.jobid, None)

    def show_notes(self, job) -> None:
        for line in notes(job) if job else ():
            self.bar.clear()
            print(f"{short_name(job)}: {line}", file=sys.stderr, flush=True)

    def keep_drawing(self) -> None:
        while not self.ended.wait(self.seconds):
            self.draw()

    def redraw(self) -> None:
        self.bar.n = len(self.done)
        self.bar.set_postfix_str("", refresh=False)
        before = str(self.bar)
        self.bar.set_postfix_str(fitted(self.state(), (self.bar.ncols or 80) - len(f"{before}, ")))

    def write(self) -> None:
        print(f"{len(self.done)}/{len(self.jobs)} jobs, {self.state()}", file=sys.stderr, flush=True)

    def state(self) -> str:
        with self.guard:
            names = ", ".join(short_name(self.jobs[job]) for job in self.running if job in self.jobs)
            left = time_left(self.jobs, self.running, self.done, self.cores, time.monotonic())
        state = "stopping" if interruption.noted else f"{left} left"
        return f"{state}: {names}" if names else state

    def close(self) -> None:
        """End the line; from now on Snakemake's messages are shown again, unless Ctrl-C was pressed: the rest is ours."""
        self.ended.set()
        self.bar.close()
        logger.removeHandler(self)
        for handler in [] if interruption.noted else self.hushed:
            handler.removeFilter(self.lets_pass)
        super().close()


def fitted(text: str, columns: int) -> str:
    return text if len(text) <= columns else f"{text[: max(0, columns - 1)]}…"


def time_left(jobs: dict, running: dict[int, float], done: dict[int, float], cores: int, now: float) -> str:
    """An estimate: a job takes as long as those of its rule that are done did in the mean; where none is, its `runtime`
    (minutes allowed on a cluster) says how it compares with those of other rules."""
    took, runtime = defaultdict(list), {id: job.resources.get("runtime", 0) for id, job in jobs.items()}
    for id, seconds in done.items():
        if id in jobs:
            took[jobs[id].rule.name].append(seconds)
    allowed = sum(runtime[id] for id in done if id in jobs)
    if not allowed:
        return "some time"
    used = sum(done.values()) / allowed  # of a minute allowed, in seconds
    left = longest = 0.0
    for id, job in jobs.items():
        if id not in done:
            of_rule = took[job.rule.name]
            seconds = mean(of_rule) if of_rule else used * runtime[id]
            seconds = max(0.0, seconds - (now - running.get(id, now)))
            left, longest = left + seconds * min(job.threads, cores), max(longest, seconds)
    left = max(left / cores, longest)
    return f"about {left / 60:.0f} min" if left >= 90 else f"about {left:.0f} s"
