"""Locks: who is kept out, and who is not because the lock's owner is dead."""

import errno
import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
import time

import pytest

from cae import locks
from cae.errors import UserError
from cae.locks import lock
from tests.conftest import ROOT

HOLD = """
import os, socket, sys, time
from pathlib import Path
from cae.locks import lock
path, host, seconds = sys.argv[1:]
if host:
    socket.gethostname = lambda: host
file = lock(Path(path))
child = os.fork()  # a loader's process, say
if child == 0:
    os.setsid()
    time.sleep(60)
print(child, flush=True)
time.sleep(float(seconds))
"""


@pytest.fixture
def holder(tmp_path):
    """A function (host, seconds, environment): a process that holds the lock `tmp_path / "lock"` and has forked another."""
    children = []

    def hold(host="", seconds=60, **environment):
        words = [sys.executable, "-c", HOLD, str(tmp_path / "lock"), host, str(seconds)]
        environment = {key: value for key, value in os.environ.items() if "SLURM" not in key} | environment
        process = subprocess.Popen(words, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
        children.append(int(process.stdout.readline()))
        return process

    yield hold
    for child in children:
        os.kill(child, signal.SIGKILL)


@pytest.fixture(autouse=True)
def no_slurm(monkeypatch):
    for name in ("SLURM_JOB_ID", "SLURM_RESTART_COUNT"):
        monkeypatch.delenv(name, raising=False)


def test_a_process_of_this_machine_is_named_at_once_and_its_death_frees_the_lock(tmp_path, holder):
    process, began = holder(), time.monotonic()
    name = f"process {process.pid} on host {socket.gethostname()} since 20.* works in {tmp_path} .{tmp_path}/lock."
    with pytest.raises(UserError, match=f"^{name}.* run the same command again"):
        lock(tmp_path / "lock")
    assert time.monotonic() - began < 1
    process.kill()  # what it forked lives on
    process.wait()
    with lock(tmp_path / "lock"):
        assert (tmp_path / "lock").read_text().startswith(f"process {os.getpid()} on host ")


def test_a_process_of_another_machine_is_waited_for(tmp_path, holder, capsys):
    process = holder(host="elsewhere", seconds=2, SLURM_JOB_ID="7")
    lock(tmp_path / "lock").close()
    who = f"process {process.pid} on host elsewhere since 20.*, Slurm's job 7, start 0"
    assert re.fullmatch(
        f"{tmp_path}/lock: {who} works here; waiting up to 120 seconds for its end\n", capsys.readouterr().err
    )


def test_a_process_of_another_machine_that_lives_on_is_refused_in_the_end(tmp_path, holder, monkeypatch):
    monkeypatch.setattr(locks, "PATIENCE", 1)
    process = holder(host="elsewhere")
    with pytest.raises(UserError, match=f"process {process.pid} on host elsewhere"):
        lock(tmp_path / "lock")
    process.kill()


def test_a_job_that_slurm_put_back_into_the_queue_is_not_kept_out_by_its_earlier_start(tmp_path, holder, monkeypatch):
    """The machine went down, and the file system holds its lock for a while or for ever."""
    process, began = holder(host="elsewhere", SLURM_JOB_ID="7"), time.monotonic()
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    with lock(tmp_path / "lock"):
        assert time.monotonic() - began < 1
    process.kill()


def test_a_file_system_without_locks_is_worth_a_warning(tmp_path, monkeypatch, capsys):
    (tmp_path / "lock").write_text("process 12 on host abc since 2026-01-02 03:04:05\n")

    def refuse(number):
        def lockf(*_):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(fcntl, "lockf", lockf)

    refuse(errno.ENOSYS)
    lock(tmp_path / "lock").close()
    text = capsys.readouterr().err
    assert "has no locks" in text and "process 12 on host abc" in text
    refuse(errno.EACCES)  # as POSIX allows beside EAGAIN
    with pytest.raises(UserError, match=f"process {os.getpid()} on host"):
        lock(tmp_path / "lock")
    refuse(errno.EIO)
    with pytest.raises(OSError, match="Input/output"):
        lock(tmp_path / "lock")
