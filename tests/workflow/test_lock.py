"""Of one scale a single run is at work at a time."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from tests.workflow.conftest import copy
from workflow.hooks import lock

TARGET = "data/{}/imagenet.json"
# A job of the demo begins, and ends when `go` is there.
WAITS = """
import time
if "data/demo/imagenet.json" in sys.argv:
    Path("waits").touch()
    while not Path("go").exists():
        time.sleep(0.05)
"""


@pytest.fixture
def waiting(tmp_path):
    """A copy in which the demo's job waits for the file `go`."""
    tree = copy(tmp_path)
    tree.edit("cae/__main__.py", "\ncommand, ", f"{WAITS}\ncommand, ")
    return tree


@contextmanager
def at_work(tree):
    """A run of the demo whose job has begun."""
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    options = dict(
        cwd=tree.path, env={**os.environ, "PATH": path}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    with subprocess.Popen(["snakemake", "--cores", "1", "--", TARGET.format("demo")], **options) as run:
        try:
            while not (tree.path / "waits").exists():
                assert run.poll() is None
                time.sleep(0.05)
            yield run
        finally:
            (tree.path / "go").touch()


def test_a_scale_is_run_once_at_a_time_whatever_other_scales_do(waiting):
    demo, other = TARGET.format("demo"), TARGET.format("demo-all")
    run = "snakemake", "--cores", "1"
    with at_work(waiting) as first:
        waiting.run(*run, "--configfile", "params/demo-all.yaml", "--", other)
        assert (waiting.path / other).exists()
        text = waiting.run(*run, "--", demo, status=1)
        (told,) = re.findall("Scale demo is being run already, by process .*", text)
        assert f"process {first.pid} on host {socket.gethostname()} since 20" in told and "(work/demo/lock)" in told
        assert "the same command again" in told and not (waiting.path / demo).exists()

        # What makes nothing is possible all the while.
        assert waiting.dry_run(demo).keys() == {"make_data imagenet"}
        for harmless in (["--touch", "--", demo], ["--unlock"], ["--", "cost"]):
            waiting.run(*run, *harmless)
    assert first.returncode == 0 and (waiting.path / demo).exists()
    assert "Nothing to be done" in waiting.run(*run, "--", demo)


def test_a_run_that_was_killed_leaves_nothing_to_unlock(waiting):
    with at_work(waiting) as first:
        first.send_signal(signal.SIGKILL)
        first.wait()
        (waiting.path / "waits").unlink()
        with at_work(waiting) as second:
            pass
    assert second.returncode == 0 and (waiting.path / TARGET.format("demo")).exists()


@pytest.mark.parametrize(("main", "touch", "output"), [(False, False, ["a"]), (True, True, ["a"]), (True, False, [])])
def test_jobs_touch_and_what_makes_no_file_take_no_lock(tmp_path, main, touch, output):
    """Snakemake calls itself for jobs, on a cluster's node too."""
    dag = SimpleNamespace(needrun_jobs=lambda: [SimpleNamespace(output=output)])
    lock.lock_scale(SimpleNamespace(is_main_process=main, touch=touch, dag=dag), tmp_path)
    assert not list(tmp_path.iterdir())
    lock.lock_scale(SimpleNamespace(is_main_process=True, touch=False, dag=_one_job()), tmp_path)
    assert (tmp_path / "lock").read_text().startswith(f"process {os.getpid()} ")


def _one_job():
    return SimpleNamespace(needrun_jobs=lambda: [SimpleNamespace(output=["a"])])
