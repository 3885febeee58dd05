"""One run at a time of a scale: a lock on work/<scale>/, which the system frees when the run's process ends, killed or not.

Snakemake's own locks (`.snakemake/locks`) are switched off in profiles/default: a run that ends removes those of all runs, and
those of a killed run stay. Jobs take no lock: they are started by the run that holds it.
"""

import errno
import fcntl
import os
import socket
import sys
from datetime import datetime
from pathlib import Path

from snakemake.exceptions import WorkflowError

HELD = errno.EACCES, errno.EAGAIN
NO_LOCKS = errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL
_open = []  # files of locks that this process holds: to close one is to free it


def lock_scale(workflow, work: Path) -> None:
    """Lock a scale's folder `work` until this process ends. WorkflowError where another run holds the lock.

    Only a run that makes files takes it: not `--touch`, and not a target that prints (`snakemake cost`).
    """
    makes_files = any(job.output for job in workflow.dag.needrun_jobs())
    if workflow.is_main_process and not workflow.touch and makes_files:
        lock(work / "lock")


def lock(path: Path) -> None:
    """Lock the file `path` and write into it who holds it.

    By POSIX's locks, which NFS, Lustre (mounted with `flock`) and GPFS keep for all hosts, and which no child inherits.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+")
    holder = file.read().strip() or "another process"
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in HELD:
            raise WorkflowError(
                f"Scale {path.parent.name} is being run already, by {holder} ({path}). Wait until that run has ended, or stop "
                "it there (Ctrl-C, or kill its process); then give the same command again. Meanwhile `--dry-run` and other "
                "scales are possible."
            ) from None
        if error.errno not in NO_LOCKS:
            raise
        print(
            f"{path}: this file system has no locks (`mount -o flock` gives them to Lustre). See to it yourself that nobody "
            f"else runs scale {path.parent.name}; the last to run it was {holder}.",
            file=sys.stderr,
        )
    file.seek(0)
    file.truncate()
    file.write(f"process {os.getpid()} on host {socket.gethostname()} since {datetime.now():%Y-%m-%d %H:%M:%S}\n")
    file.flush()
    _open.append(file)
