"""The command line: one subcommand a step of the DAG, with explicit inputs and outputs.

Params travel as one JSON text. `snakemake -n -p` prints the exact command of any step, ready to paste.
"""

import argparse
import errno
import sys
from importlib import import_module
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from cae.errors import UserError
from cae.options import BY_HAND, OPTIONAL, OPTIONS, RUNTIME
from cae.params import Params, describe


def runtime(a):
    from cae.training.run import Runtime

    return Runtime(a.threads, a.gpus, a.work, a.code, a.checkpoint_minutes, a.recompute)


def make(a):
    from cae.data.demo import write_demo

    write_demo(a.layout, Path(a.root), a.seed, a.scenes)
    index(a)


def index(a):
    from cae.data.few_labels import check
    from cae.data.manifests import index

    batches = parse(dict[str, int], a, "batches")
    index(a.layout, a.root, a.output, a.threads, a.classes, batches, a.unreadable)
    check({a.output: batches})


def train_tokenizer(a):
    from cae.tasks.train_tokenizer import TokenizerJob, main

    main(a.data, parse(TokenizerJob, a), runtime(a), a.output)


def import_tokenizer(a):
    from cae.tasks.import_tokenizer import ImportJob, main

    main(parse(ImportJob, a), a.output)


def tokenize(a):
    from cae.tasks.list_tokens import TokensJob
    from cae.tasks.tokenize import main

    main(a.data, a.tokenizer, parse(TokensJob, a), a.shard, a.threads, a.gpus, a.work, a.output)


def list_tokens(a):
    from cae.tasks.list_tokens import TokensJob, main

    main(a.data, a.tokenizer, parse(TokensJob, a), a.inputs, a.output)


def pretrain(a):
    from cae.params import Model
    from cae.tasks.pretrain import main

    main(a.data, a.tokenizer, a.tokens, parse(Model, a), runtime(a), a.output)


def import_model(a):
    from cae.params import Release
    from cae.tasks.import_model import main

    main(parse(Release, a), a.output)


def probe(a):
    from cae.tasks.probe import ProbeJob, main

    main(a.data, a.encoder, parse(ProbeJob, a), runtime(a), [a.linear, a.attentive], a.weights)


def classify(a):
    from cae.tasks.classify import ClassifyJob, main

    main(a.data, a.encoder, parse(ClassifyJob, a), a.threads, a.gpus, a.output)


def finetune(a):
    from cae.tasks.finetune import FineTuneJob, main

    main(a.data, a.encoder, a.protocol, parse(FineTuneJob, a), runtime(a), a.metrics, a.output)


def segment(a):
    from cae.tasks.segment import SegmentJob, main

    main(a.data, a.encoder, parse(SegmentJob, a), runtime(a), a.output)


def choose(a):
    from cae.tasks.choose import main

    main(a.inputs, a.metrics, a.output)


def detect(a):
    from cae.tasks.detect import DetectJob, main

    main(a.data, a.encoder, a.protocol, parse(DetectJob, a), runtime(a), a.metrics, a.output)


def masks_and_crops(a):
    from cae.analysis.masks_and_crops import MasksAndCropsJob, main

    main(a.data, parse(MasksAndCropsJob, a), a.output)


def reconstruct(a):
    from cae.analysis.reconstruction import ReconstructionJob, main

    main(a.data, a.models, parse(ReconstructionJob, a), a.output)


def tsne(a):
    from cae.analysis.tsne import TSNEJob, main

    main(a.data, a.models, parse(TSNEJob, a), a.threads, a.gpus, a.output)


def attention(a):
    from cae.analysis.attention import AttentionJob, main

    main(a.data, a.objects, a.models, a.probes, parse(AttentionJob, a), a.threads, a.gpus, a.output)


def table(a):
    from cae.reporting.tables import main

    main(a.tables, a.name, a.scale, parse(dict[str, dict], a, "facts"), a.inputs, a.output)


def claims(a):
    from cae.reporting.claims import main

    main(a.claims, a.tables, parse(dict[str, list[str]], a, "figures"), a.inputs, a.scale, a.output)


def figure(a):
    from cae.reporting.figures import main

    main(a.name, a.scale, a.inputs, a.output)


def models(a):
    from cae.reporting.models import main

    main(a.scale, a.inputs, a.output)


def metrics(a):
    from cae.reporting.metrics import main

    main(parse(dict[str, list[str]], a), a.inputs, a.output)


def page(a):
    from cae.reporting.page import main

    parse(Params, a)  # mistakes in it are told; the page shows what it was told, as it was told
    main(a.scale, parse(dict, a), a.inputs, a.output)


def cost(a):
    workflow("cost.report").main(a.params, a.config, a.rates, a.flops, a.float32_flops, a.utilisation)


def plan(a):
    print("cae plan is now called `cae cost`", file=sys.stderr)
    cost(a)


def stages(a):
    workflow("stages").main(a.params, a.output)


def workflow(module: str):
    """Import a module of the workflow, which knows the DAG and lies beside the Snakefile, in the working directory."""
    sys.path.insert(0, "")
    try:
        return import_module(f"workflow.{module}")
    except ModuleNotFoundError as error:
        if error.name.partition(".")[0] != "workflow":
            raise
        raise UserError(f"no workflow in {Path.cwd()}: call it in the folder of the Snakefile") from None


def publish(a):
    from cae.reporting.publication import main

    main(a.scale, a.inputs, a.output)


COST = "params config rates flops float32-flops utilisation"
COMMANDS = {  # command: (function, its options; a trailing "inputs" takes any number of files)
    "make": (make, "layout root seed scenes classes unreadable batches threads output"),
    "index": (index, "layout root classes unreadable batches threads output"),
    "train-tokenizer": (train_tokenizer, f"data params {RUNTIME} output"),
    "import-tokenizer": (import_tokenizer, "params output"),
    "tokenize": (tokenize, "data tokenizer params shard threads gpus work output"),
    "list-tokens": (list_tokens, "data tokenizer params output inputs"),
    "pretrain": (pretrain, f"data tokenizer tokens params {RUNTIME} output"),
    "import": (import_model, "params output"),
    "probe": (probe, f"data encoder params {RUNTIME} linear attentive weights"),
    "classify": (classify, "data encoder params threads gpus output"),
    "finetune": (finetune, f"data encoder protocol params {RUNTIME} metrics output"),
    "segment": (segment, f"data encoder params {RUNTIME} output"),
    "choose": (choose, "metrics output inputs"),
    "detect": (detect, f"data encoder protocol params {RUNTIME} metrics output"),
    "masks-and-crops": (masks_and_crops, "data params output"),
    "reconstruct": (reconstruct, "data models params output"),
    "tsne": (tsne, "data models params threads gpus output"),
    "attention": (attention, "data objects models probes params threads gpus output"),
    "table": (table, "tables name scale facts output inputs"),
    "claims": (claims, "claims tables figures scale output inputs"),
    "figure": (figure, "name scale output inputs"),
    "models": (models, "scale output inputs"),
    "metrics": (metrics, "params output inputs"),
    "page": (page, "scale params output inputs"),
    "publish": (publish, "scale output inputs"),
    "cost": (cost, COST),
    "plan": (plan, COST),  # as it was called earlier
    "stages": (stages, "params output"),
}


def parse(model, a, option="params"):
    """Return what an option's JSON text stands for, as a `model`; UserError names the option and the key."""
    try:
        return TypeAdapter(model).validate_json(getattr(a, option))
    except ValidationError as error:
        errors = error.errors()
    if errors[0]["type"] == "json_invalid":
        wrong = errors[0]["ctx"]["error"]
        raise UserError(f"--{option}: not JSON ({wrong}); `snakemake -n -p <target>` prints whole commands")
    missing = [error for error in errors if error["type"] == "missing"]
    lines = [describe(error) for error in errors if error["type"] != "missing"]
    if len(missing) > 2:
        lines.append(f"missing: {', '.join('.'.join(map(str, error['loc'])) for error in missing)}")
    else:
        lines += map(describe, missing)
    raise UserError("\n".join(f"--{option}: {line}" for line in lines))


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser("cae", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True, metavar="command")
    for command, (run, options) in COMMANDS.items():
        sub = commands.add_parser(command)
        sub.set_defaults(run=run)
        for option in options.split():
            if command in ("cost", "plan", "stages"):
                sub.add_argument(f"--{option}", **BY_HAND[option])
            elif option == "inputs":
                sub.add_argument("inputs", type=Path, nargs="*")
            else:
                sub.add_argument(f"--{option}", required=option not in OPTIONAL, **OPTIONS[option])
    return top


def main(argv: list[str] | None = None) -> None:
    arguments = parser().parse_args(argv)
    try:
        arguments.run(arguments)
    except UserError as error:
        sys.exit(f"cae {arguments.command}: {error}")
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        sys.exit(
            f"cae {arguments.command}: {error.filename or 'writing'}: the disk is full; make room and run it again"
        )
