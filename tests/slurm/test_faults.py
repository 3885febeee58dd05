"""What goes wrong on a cluster, each while a model is pretrained; each ends with the bytes of an undisturbed run."""

import signal

from tests.slurm.cluster import wait
from tests.slurm.project import PRETRAINED


def assert_ended_alike(copied, undisturbed, *states: str) -> None:
    """Slurm's jobs ended so, and what they made is what no fault disturbed."""
    assert [state for state, _ in copied.submitted().values()] == list(states)
    assert copied.bytes() == undisturbed.bytes() and copied.rows() == undisturbed.rows()


def test_sigterm_saves_and_the_next_attempt_goes_on(copied, undisturbed):
    with copied.snakemake(PRETRAINED) as running:
        copied.training()
        (job,) = copied.submitted()
        copied.cluster.run("scancel", "--signal=TERM", job)
        copied.end(running)
    assert_ended_alike(copied, undisturbed, "FAILED", "COMPLETED")


def test_a_time_limit_that_strikes(copied, undisturbed):
    """Of a training that hangs, so that the minute, the least that Slurm knows, costs nothing."""
    with copied.snakemake(PRETRAINED) as running:
        training = copied.training()
        training.suspend()
        (job,) = copied.submitted()
        copied.cluster.run("scontrol", "update", f"job={job}", "TimeLimit=1")
        copied.end(running)
    assert_ended_alike(copied, undisturbed, "TIMEOUT", "COMPLETED")


def test_a_node_that_goes_down_and_comes_back(copied, undisturbed):
    """Slurm itself puts its job into the queue again."""
    with copied.snakemake(PRETRAINED) as running:
        copied.training()
        ((job, (_, node)),) = copied.submitted().items()
        copied.cluster.run("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
        wait(lambda: copied.submitted()[job][0] != "RUNNING", "the job to be taken off its node")
        wait(lambda: copied.cluster.back(node), "the node to come back")
        copied.end(running)
    assert_ended_alike(copied, undisturbed, "COMPLETED")


def test_a_snakemake_that_was_killed_goes_on_with_its_jobs(copied, undisturbed):
    with copied.snakemake(PRETRAINED) as running:
        copied.training()
        running.send_signal(signal.SIGKILL)
        running.wait()
    assert len(copied.trainings()) == 1
    copied.run(PRETRAINED)
    assert_ended_alike(copied, undisturbed, "COMPLETED")
