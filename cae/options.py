"""What the subcommands may be told."""

import argparse
import re
from pathlib import Path

from cae.params import LAYOUTS


def shard(text: str) -> str:
    """Return K/N as it is; an error of the command line where it is not a K from 1 to N."""
    if not re.fullmatch(r"[0-9]+/[0-9]+", text) or not 1 <= int(text.split("/")[0]) <= int(text.split("/")[1]):
        raise argparse.ArgumentTypeError(f"{text!r} is not K/N, as in 1/64, with K from 1 to N")
    return text


OPTIONS = {
    "data": dict(type=Path, help="manifest of a data set (JSON)"),
    "params": dict(help="params of this step (JSON text)"),
    "threads": dict(type=int, default=1),
    "gpus": dict(type=int, default=0),
    "work": dict(type=Path, help="folder of the state that an interrupted run goes on from"),
    "output": dict(type=Path),
    "layout": dict(choices=LAYOUTS),
    "root": dict(help="folder of a data set; may name an environment variable"),
    "seed": dict(type=int),
    "scenes": dict(type=int, nargs=2, help="images to train on and to validate on"),
    "classes": dict(type=int, default=None),
    "unreadable": dict(choices=["stop", "skip"], default="stop", help="what to do about images that cannot be used"),
    "batches": dict(default="{}", help="sizes of the batches trained on a data set, by key of params (JSON text)"),
    "tokenizer": dict(type=Path, help="folder of a tokenizer"),
    "tokens": dict(type=Path, help="folder of a token cache"),
    "shard": dict(type=shard, help="K/N, K from 1"),
    "encoder": dict(type=Path, help="folder of a pretrained model"),
    "models": dict(type=Path, nargs="+", help="folders of pretrained models"),
    "objects": dict(type=Path, help="manifest of images with masks of objects (JSON)"),
    "probes": dict(
        type=Path, nargs="+", help="weights of the models' attentive probes: their attention, not the encoders'"
    ),
    "linear": dict(type=Path),
    "attentive": dict(type=Path),
    "weights": dict(type=Path, nargs=2, help="files of the trained probes: linear, attentive"),
    "metrics": dict(type=Path, help="file of one cell's metrics (JSON)"),
    "protocol": dict(help="name of the evaluation"),
    "tables": dict(type=Path),
    "claims": dict(type=Path),
    "figures": dict(help="of each figure, the models of its arrays (JSON text)"),
    "name": dict(),
    "scale": dict(),
    "code": dict(default="", help="a hash of the code that runs: an unfinished run of other code is refused"),
    "facts": dict(help="of each model, what the table says of the model itself (JSON text)"),
    "checkpoint-minutes": dict(type=float, default=10),
    "recompute": dict(action="store_true", help="blocks' activations are computed again instead of kept: less memory"),
}
RUNTIME = "threads gpus work code checkpoint-minutes recompute"  # of a run that may be stopped and goes on
OPTIONAL = {
    "unreadable", "batches", "code", "scenes", "classes", "tokenizer", "tokens", "objects", "probes", "threads", "gpus",
    "checkpoint-minutes", "recompute",
}  # fmt: skip
# Of those that a person calls, not a job.
BY_HAND = {
    "params": dict(type=Path, nargs="+", default=[], metavar="FILE", help="a scale's file (Snakemake's --configfile)"),
    "output": dict(type=Path, help="by rule dvc.yaml for the demo, dvc/<scale>/dvc.yaml for any other scale"),
    "config": dict(nargs="+", default=[], metavar="KEY=VALUE", help="as Snakemake's"),
    "rates": dict(type=Path, nargs="+", default=[], metavar="FILE", help="images/s, a file for each kind of GPU"),
    "flops": dict(type=float, help="FLOP/s of a GPU in bfloat16, where no images/s are given"),
    "float32-flops": dict(type=float, help="and in float32, in which tokens are made"),
    "utilisation": dict(type=float, default=1.0, help="the share of these that is reached"),
}
