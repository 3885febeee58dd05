"""The line on the terminal while jobs run."""

import contextlib
import io
import os
import sys
import termios
from logging import makeLogRecord
from types import SimpleNamespace

import pytest
from snakemake_interface_logger_plugins.common import LogEvent
from tqdm import tqdm

from workflow.hooks.describe import short_name
from workflow.hooks.progress import Progress, time_left


def job(rule: str, runtime: int, threads: int = 1, log=(), **wildcards):
    return SimpleNamespace(
        rule=SimpleNamespace(name=rule),
        resources={"runtime": runtime},
        threads=threads,
        wildcards_dict=wildcards,
        log=log,
    )


JOBS = {
    **{i: job("probe", 10) for i in range(4)},
    **{i: job("pretrain", 30) for i in range(4, 6)},
    6: job("all", 0),
}


@pytest.mark.parametrize(
    ("running", "done", "cores", "left"),
    [
        ({0: 0.0}, {}, 1, "some time"),
        ({}, {0: 10.0}, 1, "about 90 s"),  # three probes of 10 s; two of a rule with thrice the runtime
        ({}, {0: 10.0}, 2, "about 45 s"),
        ({4: 60.0, 1: 98.0}, {0: 10.0}, 1, "about 58 s"),  # at 100 s: one is overdue, one is 2 s old
        (
            {5: 100.0},
            {0: 10.0, 1: 20.0, 4: 300.0, 2: 0.0, 3: 0.0},
            2,
            "about 5 min",
        ),  # of its own rule; one job, one core
    ],
)
def test_time_left_is_judged_by_jobs_of_the_rule_and_by_runtimes(running, done, cores, left):
    assert time_left(JOBS, running, done, cores, 100.0) == left.replace("90 s", "2 min")


def test_a_job_is_named_without_its_scale():
    assert short_name(job("segment", 1, scale="demo", model="mae-b-300", lr="0.001")) == "segment mae-b-300 0.001"


@pytest.fixture
def show(monkeypatch):
    """A function that shows on a stream a run in which one job is done and two run."""

    def show(stream, log=()):
        monkeypatch.setattr(sys, "stderr", stream)
        jobs = {0: job("make_data", 5, log=log, scale="demo", made="imagenet")}
        jobs |= {i: job("pretrain_model", 30, scale="demo", model=f"cae-b-{i}") for i in (1, 2)}
        dag = SimpleNamespace(needrun_jobs=jobs.values, jobid=lambda job: [id for id in jobs if jobs[id] is job][0])
        line = Progress(dag, 2)
        for event in (
            {"event": LogEvent.JOB_STARTED, "jobs": [0]},
            {"event": LogEvent.JOB_FINISHED, "job_id": 0},
            {"event": LogEvent.JOB_STARTED, "jobs": [1, 2]},
        ):
            line.emit(makeLogRecord(event))
        line.draw()
        line.close()

    return show


@pytest.mark.parametrize("columns", [40, 60, 80, 120])
def test_on_a_terminal_one_line_is_drawn_over_itself_and_cut_where_it_ends(show, columns):
    master, slave = os.openpty()
    termios.tcsetwinsize(slave, (24, columns))
    with (
        os.fdopen(slave, "w") as terminal,
        tqdm(total=1, file=io.StringIO()),
    ):  # another's bar moves it to no second line
        show(terminal)
    text = ""
    with contextlib.suppress(OSError):  # all is read, and nobody writes any more
        while True:
            text += os.read(master, 10_000).decode()
    os.close(master)
    states = [state.strip() for state in text.split("\r") if state.strip()]
    end = "left: pretrain_model cae-b-1, pretrain_model cae-b-2" if columns > 100 else "…"
    assert "\n" not in text and states[-1].startswith("1/3 jobs |") and states[-1].endswith(end)
    assert max(map(len, states)) <= columns


def test_in_a_file_each_state_is_a_line(show):
    file = io.StringIO()
    show(file)
    assert file.getvalue() == "1/3 jobs, about 0 s left: pretrain_model cae-b-1, pretrain_model cae-b-2\n"


def test_what_a_job_noted_in_its_log_is_shown_when_it_is_done(show, tmp_path):
    (tmp_path / "log").write_text(
        "checking:  50%\rchecking: 100%\nnote: 3 files are left out\nnote: 1 of 2 in both\ndone\n"
    )
    file = io.StringIO()
    show(file, [tmp_path / "log"])
    assert file.getvalue().splitlines()[:2] == [
        "make_data imagenet: 3 files are left out",
        "make_data imagenet: 1 of 2 in both",
    ]
