"""The line on the terminal while jobs run."""

from types import SimpleNamespace

import pytest

from workflow.terminal import named, time_left


def job(rule: str, runtime: int, threads: int = 1, **wildcards):
    return SimpleNamespace(
        rule=SimpleNamespace(name=rule), resources={"runtime": runtime}, threads=threads, wildcards_dict=wildcards
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
    assert named(job("segment", 1, scale="demo", model="mae-b-300", lr="0.001")) == "segment mae-b-300 0.001"
