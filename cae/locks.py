"""Locks on files, so that no two processes write one state: the system frees them when a process ends, killed or not."""

import errno
import fcntl
import os
import socket
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import TextIO

from cae.errors import UserError

PATIENCE = 120  # seconds; NFS frees the locks of a machine that went down after 90
HELD = errno.EACCES, errno.EAGAIN
NO_LOCKS = errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL


class Held(UserError):
    """Another process has the lock: `holder` tells which, since when, on which host."""

    def __init__(self, path: Path, holder: str):
        self.holder = holder
        super().__init__(
            f"{holder} works in {path.parent} ({path}), and two would write the same files. Wait until it has ended, or stop "
            "it; then run the same command again. If there is no such process any more, delete that file"
        )


def lock(path: Path) -> TextIO:
    """Lock the file `path` for as long as the returned file is open: at the longest until this process ends.

    By POSIX's locks, which NFS, Lustre (mounted with `flock`) and GPFS keep for all hosts, and which no child inherits. The file
    names the process that holds it. Held is raised at once where that is one of this host, which is alive; another host may
    have gone down, so that its lock is waited for first. A file system without locks is worth a warning and no more.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    host, job, start = socket.gethostname(), os.environ.get("SLURM_JOB_ID"), os.environ.get("SLURM_RESTART_COUNT", "0")
    began, warned = time.monotonic(), False
    while True:
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+")
        holder = file.read().strip() or "another process"
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except OSError as error:
            if error.errno in NO_LOCKS:
                _warn(
                    f"{path}: this file system has no locks (`mount -o flock` gives them to Lustre). See to it that no other "
                    f"process works in {path.parent}; the last was {holder}"
                )
                break
            if error.errno not in HELD:
                raise
        if job and f"Slurm's job {job}, start " in holder and not holder.endswith(f", start {start}"):
            path.unlink(missing_ok=True)  # left by an earlier start of this very job, which Slurm has seen end
            continue
        if f" on host {host} " in holder or time.monotonic() - began > PATIENCE:
            raise Held(path, holder)
        if not warned:
            _warn(f"{path}: {holder} works here; waiting up to {PATIENCE} seconds for its end")
            warned = True
        time.sleep(1)
    file.seek(0)
    file.truncate()
    file.write(f"process {os.getpid()} on host {host} since {datetime.now():%Y-%m-%d %H:%M:%S}")
    file.write(f", Slurm's job {job}, start {start}\n" if job else "\n")
    file.flush()
    os.fsync(file.fileno())  # for readers on other hosts
    return file


def _warn(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
