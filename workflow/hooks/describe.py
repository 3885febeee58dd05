"""What a user is shown of one of Snakemake's jobs."""

from pathlib import Path


def short_name(job) -> str:
    """Return the rule and the wildcards of a job, without the scale, which is the same for all."""
    return " ".join([job.rule.name, *(value for key, value in job.wildcards_dict.items() if key != "scale")])


def single_jobs(jobs) -> list:
    """Return all jobs, those of groups one by one."""
    return [part for job in jobs for part in (job.jobs if job.is_group() else [job])]


def last_lines(job, count: int = 15) -> list[str]:
    """Return the last lines of a job's logs that are not empty."""
    return _lines(job)[-count:]


def notes(job) -> list[str]:
    """Return what a job's logs note for the user (`cae.progress.note`)."""
    return [line.removeprefix("note: ") for line in _lines(job) if line.startswith("note: ")]


def _lines(job) -> list[str]:
    """Return the lines of a job's logs that are not empty; of a progress bar, drawn over itself, its last state."""
    text = "\n".join(Path(log).read_bytes().decode(errors="replace") for log in job.log if Path(log).exists())
    lines = (line.rstrip("\r").rpartition("\r")[2].rstrip() for line in text.split("\n"))
    return [line for line in lines if line]
