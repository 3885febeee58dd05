"""What the last run of the DAG did with its time: `python benchmarks/dag.py [SCALE] [--cores N]`, when it is done.

Read from Snakemake's benchmark files, which it writes as each job ends: seconds a rule, how many of the cores jobs had, and
when they had fewer. Earlier runs, with more than a minute of nothing behind them, are left out.
"""

import argparse
import os
from pathlib import Path

import pandas as pd

PAUSE = 60  # seconds without any job, by which runs are told apart


def read_jobs(folder: Path) -> pd.DataFrame:
    """Of each job of the last run: rule, job, began, ended, seconds, cpu (seconds)."""
    jobs = []
    for path in folder.rglob("*.tsv"):
        line, ended = pd.read_csv(path, sep="\t", na_values="-").iloc[-1], path.stat().st_mtime
        rule, *job = path.relative_to(folder).with_suffix("").parts
        jobs.append([rule, "/".join(job), ended - line["s"], ended, line["s"], line["cpu_time"]])
    jobs = pd.DataFrame(jobs, columns=["rule", "job", "began", "ended", "seconds", "cpu"]).sort_values("began")
    idle = jobs["began"] - jobs["ended"].cummax().shift()
    return jobs[(idle > PAUSE).cumsum().eq((idle > PAUSE).sum())]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("scale", nargs="?", default="demo")
    options.add_argument("--cores", type=int, default=len(os.sched_getaffinity(0)))
    o = options.parse_args()
    jobs = read_jobs(Path("work", o.scale, "benchmarks"))
    began, wall = jobs["began"].min(), jobs["ended"].max() - jobs["began"].min()
    rules = jobs.groupby("rule").agg(
        jobs=("job", "size"), seconds=("seconds", "sum"), cpu=("cpu", "sum"), longest=("seconds", "max"),
        first=("began", lambda times: times.min() - began), last=("ended", lambda times: times.max() - began),
    )  # fmt: skip
    print(rules.sort_values("seconds", ascending=False).to_string(float_format="{:.0f}".format))
    shares = ", ".join(f"{kind} {jobs[kind].sum() / wall / o.cores:.0%}" for kind in ("seconds", "cpu"))
    print(f"\n{len(jobs)} jobs in {wall:.0f} s; of {o.cores} cores: {shares} (of jobs with one thread each)")
    changes = pd.concat([pd.Series(1, jobs["began"]), pd.Series(-1, jobs["ended"])]).sort_index().cumsum()
    lasted = changes.index.to_series().diff().shift(-1)
    for at, (count, seconds) in enumerate(zip(changes, lasted)):
        if count < o.cores and seconds > 2:
            start = changes.index[at]
            alone = jobs[(jobs["began"] <= start) & (jobs["ended"] > start)]
            print(
                f"from {start - began:.0f} s for {seconds:.0f} s: {', '.join(alone['rule'] + ' ' + alone['job']) or 'nothing'}"
            )


if __name__ == "__main__":
    main()
