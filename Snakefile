"""Every table and figure, from images on disk: one DAG.

snakemake --cores all                                     the demo scale, everything
snakemake --cores all reports/demo/figures/figure5.png    one figure, and only what it needs (or: figure5)
snakemake --configfile params/paper.yaml --profile slurm --config imagenet=/path ade20k=/path
"""

import atexit
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.utils import min_version

from cae.data import few_labels
from cae.data.manifests import check_batches
from cae.errors import UserError
from cae.params import validate
from cae.reporting.figures import caption_of, module_of
from workflow.hooks import (
    changed_data,
    ending,
    failures,
    interruption,
    links,
    lock,
    progress,
    records,
    roots,
    slurm,
)
from workflow.code_hash import code_hash, code_of_figure
from workflow.plan import (
    DETECTORS,
    ENCODER,
    Plan,
    as_json,
    one_of,
    option,
)
from workflow.plan.advice import advice
from workflow.params import folder_of, read_params, same_params
from workflow.hooks.targets import check_targets

min_version("9.27")


HERE = folder_of(workflow)
TABLES, CLAIMS, PAPER = (
    str(HERE / f"params/{name}.yaml") for name in ("tables", "claims", "paper")
)

here = workflow.is_main_process and workflow.resource_settings.nodes is None
CORES = workflow.resource_settings.cores if here else None

try:
    said = read_params(workflow.configfiles, workflow.config_settings.config, HERE)
    P = validate(said)
    plan = Plan(P, TABLES, CLAIMS, paper=PAPER, said=said, cores=CORES)
    records.keep(workflow, P.scale)
    links.replace_read_only()
    if workflow.is_main_process:  # jobs of a cluster read this file again
        datasets = {
            f"data/{P.scale}/{name}.json": P.datasets[name] for name in P.datasets
        }
        outdated = changed_data.outdated(datasets, records.folder_of(P.scale))
        changed_data.list_anew(workflow, outdated)
        trained_on = {
            path: plan.batches[Path(path).stem]
            for path in datasets
            if path not in outdated
        }
        check_batches(trained_on)
        few_labels.check(trained_on)
        roots.check_known(plan)
except UserError as error:
    raise WorkflowError(str(error)) from None
if workflow.is_main_process:
    for path, differences in outdated.items():
        print(changed_data.describe(path, datasets[path], differences), file=sys.stderr)
    if unset := roots.unset(plan):
        print(f"Set the roots of {', '.join(unset)} for a run", file=sys.stderr)
    if left_out := plan.left_out_in_short:
        print(f"{left_out} (`snakemake cost` tells which and why)", file=sys.stderr)
    for line in advice(plan):
        print(line, file=sys.stderr)
    atexit.register(ending.print_if_done, workflow, plan)


wildcard_constraints:
    scale=one_of([P.scale]),
    dataset=one_of(P.datasets),
    made=one_of(plan.made),
    indexed=one_of(plan.indexed),
    tokenizer=one_of(P.tokenizers),
    cache=one_of(plan.caches),
    model=one_of(plan.recipes),
    table=one_of(plan.tables),
    figure=one_of(plan.drawn_from),


# Jobs that are ready run in this order, so that no core waits at the end: first what everything waits for, then
# pretraining, by its length, then evaluations that train (1), then all else (0).
FIRST, EARLY = 10_000, 100


rule all:
    default_target: True
    input:
        f"reports/{P.scale}/index.html",
        expand("reports/{scale}/{file}", scale=P.scale, file=plan.shown_by_dvc),
    localrule: True


include: "workflow/rules/data.smk"
include: "workflow/rules/tokens.smk"
include: "workflow/rules/pretrain.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/segment.smk"
include: "workflow/rules/detect.smk"
include: "workflow/rules/analyze.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/claims.smk"
include: "workflow/rules/overview.smk"
include: "workflow/rules/publish.smk"


resource_scopes:
    short="local",  # of the jobs of a group, not of all


slurm.group_short_jobs(workflow)


try:
    check_targets(list(workflow.rules), plan)
except UserError as error:
    raise WorkflowError(str(error)) from None


PREVIOUS = Path("work", P.scale, "previous")


onstart:
    roots.check_needed(plan, workflow.dag)
    lock.lock_scale(workflow, Path("work", P.scale))
    slurm.start(workflow, Path("work", P.scale, "slurm"))
    failures.keep(workflow.dag.needrun_jobs(), PREVIOUS)
    progress.start(workflow)
    interruption.listen()


onsuccess:
    progress.end()
    failures.drop_replaced(PREVIOUS)


onerror:
    progress.end()
    failures.drop_replaced(PREVIOUS)
    failures.print_at_exit(workflow.scheduler, PREVIOUS)
