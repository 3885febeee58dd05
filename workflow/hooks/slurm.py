"""Jobs on a Slurm cluster outlive the `snakemake` that sent them; the next one takes them over, and sends none of them twice.

Snakemake's executor for Slurm forgets its jobs when it is killed: their outputs count as incomplete, and it would send them
again while they run. So each is noted in work/<scale>/slurm/ from the moment it is sent until its end is heard of, with a
hash of its command: with other params or other code since then it is another job.
"""

import json
import subprocess
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo

from cae.files import text_hash

ENDED_BADLY = {"BOOT_FAIL", "CANCELLED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "TIMEOUT"}


def start(workflow, notes: Path) -> None:
    """To be called before the first job is sent; nothing happens where jobs do not go to Slurm."""
    executor = workflow.scheduler._executor
    if type(executor).__module__ == "snakemake_executor_plugin_slurm":
        Takeover(executor, workflow.dag, notes)


def group_short_jobs(workflow) -> None:
    """Where the profile says of a rule how many of its short jobs are sent at a time (`group-components`), so that they wait
    once. None of them waits for another: groups of several rules could wait for each other for ever."""
    for each in workflow.rules:
        if "short" in each.resources:
            # Asked for each job: the profile is not known yet.
            each.group = lambda w, name=each.name: name if name in workflow.group_settings.group_components else None


class Takeover:
    """Stands between the scheduler and its executor."""

    def __init__(self, executor, dag, notes: Path):
        self.executor, self.notes = executor, notes
        notes.mkdir(parents=True, exist_ok=True)
        name = notes / "name"  # of the jobs of all runs: by it Slurm is asked what became of them
        if not name.exists():
            name.write_text(executor.run_uuid)
        executor.run_uuid = name.read_text()
        self.earlier = self.still_known()
        self.refuse_others(dag)
        self.send, executor.run_jobs = executor.run_jobs, self.run_jobs
        self.sent, executor.report_job_submission = executor.report_job_submission, self.note
        for end in ("report_job_success", "report_job_error"):
            setattr(executor, end, self.forgetting(getattr(executor, end)))

    def still_known(self) -> dict[str, dict]:
        """Notes of jobs that wait, run, or ended well while nobody listened, by their commands; the others are dropped."""
        notes = [json.loads(path.read_text()) for path in self.notes.glob("*.json")]
        states = self.states() if notes else {}
        found = {}
        for note in notes:
            note["state"] = states.get(note["id"], "FAILED").split()[0]  # of "CANCELLED by 0", say
            if note["state"] in ENDED_BADLY:
                self.path(note["id"]).unlink()
            else:
                found[note["command"]] = note
        return found

    def states(self) -> dict[str, str]:
        """States of jobs by id: of sacct's those of the last two days; squeue has all that have not ended."""
        from snakemake_executor_plugin_slurm.job_status_query import query_job_status_sacct, query_job_status_squeue

        name = self.executor.run_uuid
        accounts = self.executor.get_status_command() == "sacct"
        commands = [query_job_status_sacct(name)] * accounts + [query_job_status_squeue(name)]
        states = {}
        for command in commands:
            try:
                done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True, timeout=60)
            except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
                raise WorkflowError(
                    f"Slurm does not say what became of jobs that an earlier run sent ({error}). Try again later; "
                    f"if they are gone for certain, delete {self.notes}"
                ) from None
            states |= dict(line.split("|") for line in done.stdout.splitlines())
        return states

    def refuse_others(self, dag) -> None:
        """Never two jobs at a time that write the same files."""
        if at_work := [note for note in self.earlier.values() if note["state"] != "COMPLETED"]:
            sent = [dag.get_job_group(job) or job for job in dag.needrun_jobs()]
            wanted = {str(file): told(job) for job in sent if not job.is_local for file in job.output}
            for note in at_work:
                if files := [file for file in note["output"] if wanted.get(file, note["command"]) != note["command"]]:
                    raise WorkflowError(
                        f"Slurm's job {note['id']}, which an earlier run sent, still makes {files[0]} with other params or code. "
                        f"Wait until it has ended, or stop it: scancel {note['id']}"
                    )

    def run_jobs(self, jobs) -> None:
        new = []
        for job in jobs:
            if note := self.earlier.pop(told(job), None):
                self.executor.run_job_pre(job)
                self.executor.logger.info(f"An earlier run sent this job: Slurm's {note['id']} (log: {note['log']}).")
                self.sent(SubmittedJobInfo(job, note["id"], {"slurm_logfile": Path(note["log"])}))
            else:
                new.append(job)
        # What sacct names as the failed node of a job that waits again; sbatch would refuse to exclude it.
        self.executor._failed_nodes.discard("None assigned")
        self.send(new)

    def note(self, sent: SubmittedJobInfo, *arguments, **options) -> None:
        about = {"id": sent.external_jobid, "log": str(sent.aux["slurm_logfile"]), "command": told(sent.job),
                 "output": [str(file) for file in sent.job.output]}  # fmt: skip
        self.path(sent.external_jobid).write_text(json.dumps(about))
        self.sent(sent, *arguments, **options)

    def forgetting(self, report):
        def reported(sent: SubmittedJobInfo, *arguments, **options) -> None:
            if sent.external_jobid:  # without, sbatch failed
                self.path(sent.external_jobid).unlink(missing_ok=True)
            report(sent, *arguments, **options)

        return reported

    def path(self, id: str) -> Path:
        return self.notes / f"{id}.json"


def told(job) -> str:
    """A hash of all that a job, or the jobs of a group, are told."""
    return text_hash("\n".join(sorted(part.shellcmd for part in (job.jobs if job.is_group() else [job]))))
