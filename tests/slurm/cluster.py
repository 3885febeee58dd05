"""A Slurm of two nodes, both this machine, in a folder of its own: real daemons, on free ports, gone with the context."""

import getpass
import os
import shutil
import socket
import subprocess
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

START = 60  # seconds that a daemon may take to answer
SLURM = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol")
ACCOUNTS = ("slurmdbd", "sacct", "sacctmgr", "mariadbd", "mariadb-install-db", "mariadb-admin")
NODES = ("one", "two")
PATH = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/usr/bin"])

SLURM_CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmUser=root
AuthType=auth/munge
# A job of a node that failed waits until its credential has expired, two minutes if not told otherwise.
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdSpoolDir={folder}/%n
SlurmdPidFile={folder}/%n.pid
SlurmdLogFile={folder}/%n.log
# What needs neither cgroups nor systemd.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=10
# squeue is asked about all jobs of a test.
MinJobAge=7200
MailProg=/bin/true
{accounts}
NodeName=one NodeHostname={host} NodeAddr=127.0.0.1 Port={one} CPUs=4 RealMemory=16000
NodeName=two NodeHostname={host} NodeAddr=127.0.0.1 Port={two} CPUs=4 RealMemory=16000
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE
"""
SLURMDBD_CONF = """
DbdHost=localhost
DbdPort={database}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={storage}
StorageUser=root
PidFile={folder}/slurmdbd.pid
LogFile={folder}/slurmdbd.log
"""
NO_ACCOUNTS = "AccountingStorageType=accounting_storage/none"
WITH_ACCOUNTS = """AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=localhost
AccountingStoragePort={database}
AccountingStoragePass={folder}/munge.socket
JobAcctGatherType=jobacct_gather/linux"""


def lacking(accounts: bool = False) -> str | None:
    """Why no cluster can be started here."""
    programs = [*SLURM, *(ACCOUNTS if accounts else ())]
    if missing := [name for name in programs if not shutil.which(name, path=PATH)]:
        packages = "slurm-wlm munge" + (" slurmdbd mariadb-server" if accounts else "")
        return f"no {', '.join(missing)} here; on Debian: apt-get install --no-install-recommends {packages}"
    if os.geteuid():
        return f"slurmd must be root to start jobs, and this is {getpass.getuser()}"
    return None


class Cluster:
    def __init__(self, folder: Path):
        self.folder = folder
        self.environment = {
            **os.environ,
            "PATH": f"{folder}/bin:{PATH}",
            "SLURM_CONF": str(folder / "slurm.conf"),
            "MASTER_ADDR": "127.0.0.1",  # where processes of one job meet; by rule the first node, but ours are no hosts' names
        }

    def run(self, *command: str, limit: float = 60) -> str:
        """What a command of Slurm prints."""
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=limit)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
        return done.stdout

    def back(self, node: str) -> bool:
        """Whether a node that was set down is up; Slurm refuses to resume one while it clears up after its job."""
        words = "scontrol", "update", f"nodename={node}", "state=resume"
        subprocess.run(words, env=self.environment, capture_output=True, timeout=60)
        return "down" not in self.run("sinfo", "--noheader", f"--nodes={node}", "--format=%T")

    def jobs(self) -> dict[str, tuple[str, str]]:
        """(state, node) of each job of the last minutes, those that ended too, by its id and in order."""
        lines = self.run("squeue", "--states=all", "--noheader", "--sort=i", "--format=%i|%T|%N").splitlines()
        return {job: (state, node) for job, state, node in (line.split("|") for line in lines)}

    def tell_log(self) -> str:
        return (self.folder / "slurmctld.log").read_text()[-3000:]


@contextmanager
def start(folder: Path, accounts: bool = False):
    """A Cluster; `accounts`: with slurmdbd and MariaDB, for sacct."""
    ports = dict(zip(("controller", "one", "two", "database", "storage"), free_ports(5)))
    cluster, host = Cluster(folder), socket.gethostname().partition(".")[0]
    names = {"folder": folder, "host": host, **ports}
    chosen = (WITH_ACCOUNTS if accounts else NO_ACCOUNTS).format(**names)
    write(folder / "slurm.conf", SLURM_CONF.format(accounts=chosen, **names))
    write(folder / "slurmdbd.conf", SLURMDBD_CONF.format(**names))
    write(folder / "munge.key", os.urandom(128).hex()[:128])
    for name in ("state", "bin", *NODES):
        (folder / name).mkdir()
    # Snakemake's jobs drop variables of Slurm before they call srun; where it is configured in /etc, none is missed.
    write(
        folder / "bin/srun",
        f'#!/bin/sh\nexec env SLURM_CONF={folder}/slurm.conf {shutil.which("srun", path=PATH)} "$@"\n',
    )
    (folder / "bin/srun").chmod(0o700)
    with ExitStack() as daemons:

        def daemon(*command: str) -> None:
            """Runs in the foreground, as our child, so that it can be waited for; the last to start is the first to stop."""
            log = daemons.enter_context(open(folder / f"{command[0]}.out", "a"))
            options = dict(env=cluster.environment, stdout=log, stderr=log, start_new_session=True, cwd=folder)
            process = subprocess.Popen(command, **options)
            daemons.callback(stop, process)

        munge = {name: f"{folder}/munge.{name}" for name in ("key", "socket", "pid", "log", "seed")}
        daemon(
            "munged", "--foreground", "--force", f"--key-file={munge['key']}", f"--socket={munge['socket']}",
            f"--pid-file={munge['pid']}", f"--log-file={munge['log']}", f"--seed-file={munge['seed']}",
        )  # fmt: skip
        wait(lambda: (folder / "munge.socket").exists(), "munged")
        if accounts:
            data, port, here = folder / "mariadb", f"--port={ports['storage']}", f"--socket={folder}/mariadb.socket"
            install = ["mariadb-install-db", "--no-defaults", f"--datadir={data}", "--user=root"]
            cluster.run(*install, "--auth-root-authentication-method=normal", "--skip-test-db", limit=120)
            daemon(
                "mariadbd", "--no-defaults", f"--datadir={data}", "--user=root", "--bind-address=127.0.0.1", port, here,
                f"--pid-file={folder}/mariadb.pid",
            )  # fmt: skip
            ping = ["mariadb-admin", "--no-defaults", "--user=root", here, "ping"]
            wait(lambda: answers(cluster, *ping), "mariadbd")
            daemon("slurmdbd", "-D")
            wait(lambda: answers(cluster, "sacctmgr", "--immediate", "add", "cluster", "test"), "slurmdbd")
        daemon("slurmctld", "-D")
        for name in NODES:
            daemon("slurmd", "-D", "-N", name)
        idle = ["sinfo", "--noheader", "--states=idle", "--format=%D"]
        wait(lambda: answers(cluster, *idle) == f"{len(NODES)}\n", "slurmd")
        daemons.callback(answers, cluster, "scancel", "--user=root", "--full", "--signal=KILL")
        yield cluster


def write(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o600)


def answers(cluster: Cluster, *command: str) -> str | None:
    """What a command prints; None where it fails."""
    try:
        return cluster.run(*command, limit=20)
    except (AssertionError, subprocess.TimeoutExpired):
        return None


def wait(condition, what: str, limit: float = START):
    """The first true answer of `condition()`; TimeoutError names `what` was waited for."""
    end = time.monotonic() + limit
    while time.monotonic() < end:
        if answer := condition():
            return answer
        time.sleep(0.1)
    raise TimeoutError(f"{what}: not within {limit:.0f} seconds")


def stop(process: subprocess.Popen) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
