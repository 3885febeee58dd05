"""Every table and figure, from images on disk: one DAG.

snakemake --cores all                                     the demo scale, everything
snakemake --cores all reports/demo/figures/figure5.png    one figure, and only what it needs (or: figure5)
snakemake --configfile params/paper.yaml --profile slurm --config imagenet=/path ade20k=/path
"""

from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.utils import min_version

from cae.data.manifests import verify
from cae.errors import UserError
from workflow.code_hash import code_hash
from workflow.plan import (
    DETECTORS,
    TRANSFERS,
    Plan,
    as_json,
    load_params,
    one_of,
    option,
)

min_version("9.27")


# For `--sdm apptainer` only: an image, built by you, with requirements.lock installed. Otherwise the environment that
# runs Snakemake runs the jobs.
container: "cae.sif"


try:
    P = load_params(workflow.configfiles, workflow.config_settings.config)
    plan = Plan(P)
    if workflow.is_main_process:  # jobs of a cluster read this file again
        verify(
            {f"data/{P.scale}/{name}.json": plan.batches[name] for name in P.datasets}
        )
except UserError as error:
    raise WorkflowError(str(error)) from None


wildcard_constraints:
    scale=one_of([P.scale]),
    dataset=one_of(P.datasets),
    made=one_of(plan.made),
    indexed=one_of(plan.indexed),
    tokenizer=one_of(P.tokenizers),
    cache=one_of(plan.caches),
    model=one_of(P.models),
    table=one_of(plan.tables),
    figure=one_of(plan.analyses),


rule all:
    default_target: True
    input:
        f"reports/{P.scale}/index.html",
    localrule: True


include: "workflow/rules/data.smk"
include: "workflow/rules/tokens.smk"
include: "workflow/rules/pretrain.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/segment.smk"
include: "workflow/rules/detect.smk"
include: "workflow/rules/analyze.smk"
include: "workflow/rules/report.smk"
