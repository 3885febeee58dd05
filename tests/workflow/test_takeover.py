"""What a second `snakemake` does with the jobs of a first one, told by a stand-in for Slurm; tests/slurm/ has the real one."""

import json
from types import SimpleNamespace

import pytest
from snakemake.exceptions import WorkflowError
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo

from workflow.hooks.slurm import Takeover


class Executor:
    """Sends jobs as number 1, 2, …; `said` is what the scheduler hears of them."""

    logger = SimpleNamespace(info=lambda text: None)

    def __init__(self, name: str):
        self.run_uuid, self.sent, self.said, self._failed_nodes = name, [], [], set()

    def run_job_pre(self, job):
        pass

    def run_jobs(self, jobs):
        for job in jobs:
            self.sent.append(job)
            self.report_job_submission(SubmittedJobInfo(job, str(len(self.sent)), {"slurm_logfile": "log"}))

    def report_job_submission(self, sent):
        self.said.append(sent.external_jobid)

    def report_job_success(self, sent):
        pass

    def report_job_error(self, sent, msg=None):
        pass


def job(command: str, output: str = "weights"):
    return SimpleNamespace(shellcmd=command, output=[output], is_group=lambda: False, is_local=False, jobid=0)


def started(notes, wanted, monkeypatch, states=None) -> Executor:
    """The executor of a run that needs the jobs `wanted`, where Slurm knows `states`."""
    monkeypatch.setattr(Takeover, "states", lambda self: states or {})
    executor = Executor("first" if not notes.exists() else "second")
    dag = SimpleNamespace(needrun_jobs=lambda: wanted, get_job_group=lambda job: None)
    Takeover(executor, dag, notes)
    return executor


@pytest.fixture
def notes(tmp_path, monkeypatch):
    """What a run leaves that sent one job and was killed."""
    executor = started(tmp_path / "notes", [job("train")], monkeypatch)
    executor.run_jobs([job("train")])
    assert len(executor.sent) == 1
    return tmp_path / "notes"


@pytest.mark.parametrize("state", ["PENDING", "RUNNING", "SUSPENDED", "COMPLETED"])
def test_a_job_is_taken_over(notes, monkeypatch, state):
    executor = started(notes, [job("train")], monkeypatch, {"1": state})
    executor.run_jobs([job("train"), job("probe", "other")])
    assert [each.shellcmd for each in executor.sent] == ["probe"] and executor.said[0] == "1"
    assert executor.run_uuid == "first"  # the name by which Slurm is asked for all of them
    executor.run_jobs([job("train")])  # its next attempt is a new job
    assert len(executor.sent) == 2


@pytest.mark.parametrize("states", [{"1": "FAILED"}, {"1": "CANCELLED by 0"}, {"1": "TIMEOUT"}, {}])
def test_a_job_that_is_lost_is_sent_again(notes, monkeypatch, states):
    executor = started(notes, [job("train")], monkeypatch, states)
    assert not list(notes.glob("*.json"))
    executor.run_jobs([job("train")])
    assert len(executor.sent) == 1


def test_no_job_avoids_a_node_that_is_none(notes, monkeypatch):
    """sacct says "None assigned" of a job that waits again after its node failed."""
    executor = started(notes, [], monkeypatch)
    executor._failed_nodes = {"one", "None assigned"}
    executor.run_jobs([job("probe", "other")])
    assert executor._failed_nodes == {"one"}


def test_two_jobs_never_make_the_same_file(notes, monkeypatch):
    """The first is still at work when its params change."""
    with pytest.raises(WorkflowError, match="Slurm's job 1, .* makes weights with other params or code.* scancel 1"):
        started(notes, [job("train longer")], monkeypatch, {"1": "RUNNING"})
    executor = started(notes, [job("train longer")], monkeypatch, {"1": "COMPLETED"})
    executor.run_jobs([job("train longer")])
    assert len(executor.sent) == 1


def test_a_note_is_kept_until_the_end_is_heard_of(notes, monkeypatch):
    (note,) = notes.glob("*.json")
    assert json.loads(note.read_text())["output"] == ["weights"]
    executor = started(notes, [job("train")], monkeypatch, {"1": "RUNNING"})
    executor.run_jobs([job("train")])
    assert note.exists()
    executor.report_job_success(SubmittedJobInfo(job("train"), "1", {}))
    assert not note.exists()
