"""`cae stages`: dvc.yaml of a scale, its stages computed from the DAG, so that there is nothing in it to keep by hand.

A stage is one call of Snakemake for some targets. Its outputs are the folders that those jobs write which no earlier stage
runs; its dependencies those of earlier stages that they read, the code, and the params.
"""

import shlex
from pathlib import Path

from cae.files import write_text
from cae.params import layers, validate
from workflow.cost.work import Costs
from workflow.jobs import Job, all_needed, jobs_of
from workflow.plan import DEFAULT, Plan, read_params

TARGETS = {
    "data": ["data"],
    "tokens": ["tokens"],
    "pretrain": ["pretrain"],
    "evaluate": ["evaluate", "analyze"],
    "report": ["report"],
}
LARGE = 100e9  # bytes of token caches, from which on DVC has their manifests alone: it would hash and copy all
CODE = ["Snakefile", "cae", "workflow"]
RECORDS = ".snakemake/metadata"  # what Snakemake knows of each file, in the last stage: outputs may not overlap
HEAD = """\
# Data, checkpoints and reports of the scale {scale}, versioned; of a data set that lies elsewhere, and of a token cache that
# is too large to copy, the manifest. Written by `cae stages{options}` from the DAG, so that it is stated once.
# Outputs persist, because Snakemake decides what to make again. {records} says what made each file: with it, a
# fresh clone has nothing to do after `dvc pull`. `SNAKEMAKE_PROFILE=slurm dvc repro` goes to the cluster, where the cores of
# this machine are no limit.
stages:
"""
TAIL = """\
# What `dvc metrics show`, `dvc plots show` and `dvc params diff` show: a file a model; the params that a scale differs in.
metrics:
  - reports/{scale}/metrics
"""
PLOTS = (
    "plots:\n  - reports/{scale}/losses: {{x: images, y: loss, x_label: images seen}}\n"  # where any model is trained
)


def folder(file: str) -> str:
    """The one that a stage's output is: data/<scale>, results/<scale>/<what>, reports/<scale>."""
    parts = Path(file).parts
    return "/".join(parts[: 3 if parts[0] == "results" else 2])


def stages(file: Path | None, plan: Plan) -> dict[str, dict[str, list[str]]]:
    """Of each stage that has anything to do `deps`, `outs` and `targets`; `file`: the scale's params, None for the demo's."""
    jobs = jobs_of([file] if file else [], {}, tuple(sum(TARGETS.values(), [])))
    params = [path for path, _ in layers(file or DEFAULT)]
    found, done, made, large = {}, set(), set(), _large(jobs, Costs(plan))
    for name, targets in TARGETS.items():
        mine = [job for job in all_needed([job for job in jobs if job.rule in targets]) if job not in done]
        done.update(mine)
        outs = {folder(file) for job in mine for file in job.outputs}
        outs = sorted(outs - set(map(folder, large)) | {file for file in large if folder(file) in outs})
        read = made & {part for job in mine for file in job.inputs for part in (file, folder(file))}
        said = params + ["params/tables.yaml"] * (name != "data") + ["params/claims.yaml"] * (name == "report")
        found[name] = {"targets": targets, "deps": sorted({*CODE, *said, *read}), "outs": outs}
        made |= set(outs)
    found["report"]["outs"].append(RECORDS)
    return {name: stage for name, stage in found.items() if stage["outs"]}


def _large(jobs: list[Job], costs: Costs) -> list[str]:
    """Of token caches that are too large to be copied, their manifests: these are versioned, and stand for them in the DAG."""
    caches = [job for job in jobs if job.rule == "list_tokens"]
    if sum(costs.of(job.rule, job.wildcards).tokens for job in caches) < LARGE:
        return []
    return [file for job in caches for file in job.outputs if file.endswith("manifest.json")]


def text(file: Path | None) -> str:
    """dvc.yaml."""
    plan = Plan(validate(read_params([file] if file else [], {})))
    scale = plan.params.scale
    configfile = f" --configfile {shlex.quote(str(file))}" if file else ""
    parts = [HEAD.format(scale=scale, options=f" --params {file}" if file else "", records=RECORDS)]
    for name, stage in stages(file, plan).items():
        parts.append(
            f"  {name}:\n"
            f'    cmd: snakemake $([ "$SNAKEMAKE_PROFILE" ] || echo --cores all){configfile} -- {" ".join(stage["targets"])}\n'
            f"    deps: [{', '.join(stage['deps'])}]\n"
            "    outs:\n" + "".join(f"      - {out}: {{persist: true}}\n" for out in stage["outs"])
        )
    parts += [TAIL.format(scale=scale), PLOTS.format(scale=scale) if plan.trained else ""]
    parts += ["params:\n", *(f"  - {path}\n" for path, _ in layers(file or DEFAULT))]
    return "".join(parts)


def main(files: list[Path], output: Path) -> None:
    write_text(output, text(*files or [None]))
