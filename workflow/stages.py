"""`cae stages`: dvc.yaml of a scale, its stages computed from the DAG, so that there is nothing in it to keep by hand.

The demo's is ./dvc.yaml, another scale's is dvc/<scale>/dvc.yaml. A stage is one call of Snakemake for some targets. Its
outputs are the folders that those jobs write which no earlier stage runs; its dependencies those of earlier stages that they
read, the code, and the params.
"""

import os
from pathlib import Path

from cae.files import write_text
from cae.options import ScaleFiles, StagesFile
from cae.params import validate
from workflow.cost.work import Costs
from workflow.hooks.records import folder_of
from workflow.jobs import Job, all_needed, graph_of, jobs_of
from workflow.params import DEFAULT, read_params, same_params
from workflow.plan import Plan

TARGETS = {
    "data": ["data"],
    "tokens": ["tokens"],
    "pretrain": ["pretrain"],
    "evaluate": ["evaluate", "analyze"],
    "report": ["report"],
}
LARGE = 100e9  # bytes of token caches, from which on DVC has their manifests alone: it would hash and copy all
CODE = ["Snakefile", "cae", "workflow"]
CORES = '$([ "$SNAKEMAKE_PROFILE" ] || echo --cores all)'  # a profile brings its own
HEAD = """\
# Data, checkpoints and reports of the scale {scale}, versioned; of a data set that lies elsewhere, and of a token cache that
# is too large to copy, the manifest. Written by `cae stages{options}` from the DAG, so that it is stated once.
# Outputs persist, because Snakemake decides what to make again. {records} says what made each file: with it, a
# fresh clone has nothing to do after `dvc pull`. `SNAKEMAKE_PROFILE=slurm dvc repro` goes to the cluster, where the cores of
# this machine are no limit.
"""
ELSEWHERE = "# The first stage always runs: DVC does not see data sets that lie elsewhere, Snakemake compares them in seconds.\n"
METRICS = """\
# What `dvc metrics show`, `dvc plots show` and `dvc params diff` show: a file a model; the params that a scale differs in.
metrics:
  - {to_root}reports/{scale}/metrics
"""
# Where any model is trained.
PLOTS = "plots:\n  - {to_root}reports/{scale}/losses: {{x: images, y: loss, x_label: images seen}}\n"


def folder(file: str) -> str:
    """The one that a stage's output is: data/<scale>, results/<scale>/<what>, reports/<scale>."""
    parts = Path(file).parts
    return "/".join(parts[: 3 if parts[0] == "results" else 2])


def stages(files: list[Path], params: list[str], plan: Plan) -> dict[str, dict[str, list[str]]]:
    """Return `deps`, `outs` and `targets` of each stage that has anything to do.

    `files`: Snakemake's --configfile. `params`: these and the files that they are based on.
    """
    jobs = jobs_of(files, {}, tuple(sum(TARGETS.values(), [])))
    graph = graph_of(jobs)
    found, done, made, large = {}, set(), set(), _large(jobs, Costs(plan))
    for name, targets in TARGETS.items():
        mine = [job for job in all_needed(graph, [job for job in jobs if job.rule in targets]) if job not in done]
        done.update(mine)
        outs = {folder(file) for job in mine for file in job.outputs}
        outs = sorted(outs - set(map(folder, large)) | {file for file in large if folder(file) in outs})
        read = made & {part for job in mine for file in job.inputs for part in (file, folder(file))}
        said = params + ["params/tables.yaml"] * (name != "data") + ["params/claims.yaml"] * (name == "report")
        found[name] = {"targets": targets, "deps": sorted({*CODE, *said, *read}), "outs": outs}
        made |= set(outs)
    found["report"]["outs"].append(str(folder_of(plan.params.scale)))  # in the last stage: outputs may not overlap
    return {name: stage for name, stage in found.items() if stage["outs"]}


def _large(jobs: list[Job], costs: Costs) -> list[str]:
    """Of token caches that are too large to be copied, their manifests: these are versioned, and stand for them in the DAG."""
    caches = [job for job in jobs if job.rule == "list_tokens"]
    if sum(costs.of(job.rule, job.wildcards).tokens for job in caches) < LARGE:
        return []
    return [file for job in caches for file in job.outputs if file.endswith("manifest.json")]


def text(files: list[Path], output: Path) -> str:
    """Return the dvc.yaml of a scale, to be written to `output`; `files`: the scale's params, none for the demo's."""
    said = read_params(files, {})
    plan = Plan(validate(said), said=said)
    scale, params = plan.params.scale, [path for path, _ in said]
    options, configfile = same_params(files, {}, "--params"), same_params(files, {})
    root = os.path.relpath(".", output.parent)
    to_root = "" if root == "." else f"{root}/"
    head = HEAD.format(scale=scale, options=options and f" {options}", records=folder_of(scale))
    parts = [head, ELSEWHERE if plan.indexed else "", "stages:\n"]
    for name, stage in stages(files, params, plan).items():
        command = ["snakemake", CORES, *([configfile] if configfile else []), "--", *stage["targets"]]
        parts += [
            f"  {name}:\n",
            f"    wdir: {root}\n" if to_root else "",
            f"    cmd: {' '.join(command)}\n",
            "    always_changed: true\n" if name == "data" and plan.indexed else "",
            f"    deps: [{', '.join(stage['deps'])}]\n",
            "    outs:\n",
            *(f"      - {out}: {{persist: true}}\n" for out in stage["outs"]),
        ]
    parts += [
        METRICS.format(to_root=to_root, scale=scale),
        PLOTS.format(to_root=to_root, scale=scale) if plan.trained else "",
    ]
    parts += ["params:\n", *(f"  - {to_root}{path}\n" for path in params)]
    return "".join(parts)


def main(*, params: ScaleFiles | None = None, output: StagesFile | None = None) -> None:
    """Write dvc.yaml for a scale, from the DAG.

    Its path is printed: dvc.yaml for the demo, dvc/<scale>/dvc.yaml for any other, so that no scale's replaces another's.
    """
    files = params or []
    if output is None:
        scale = validate(read_params(files, {})).scale
        output = Path("dvc.yaml") if scale == Path(DEFAULT).stem else Path("dvc", scale, "dvc.yaml")
    write_text(output, text(files, output))
    print(output)
