"""The options of the command line, as types: each with its help and its unit.

A function whose arguments have these types is a command (`cae.cli`). They stand here, and not with the functions, so that the
words of a help text are no part of the code that a job runs.
"""

import re
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter
from pydantic import TypeAdapter, ValidationError

from cae.errors import UserError
from cae.params import Params as ScaleParams
from cae.params import describe
from cae.params.data import Layout


def option(type_: Any, text: str, **more) -> Any:
    """Return a type that has the help text of its option."""
    return Annotated[type_, Parameter(help=text, **more)]


def json_option(type_: Any, text: str, checked_as: Any = None) -> Any:
    """Return a type that is given as one JSON text; what does not fit it, or `checked_as`, raises UserError."""
    adapters = [TypeAdapter(each) for each in (checked_as, type_) if each]
    return option(type_, text, converter=partial(_from_json, adapters), accepts_keys=False, n_tokens=1, metavar="JSON")


def _from_json(adapters: list[TypeAdapter], _, tokens) -> Any:
    """Return the value of an option by the last of `adapters`; UserError names the option and the key."""
    (token,) = tokens
    try:
        return [adapter.validate_json(token.value) for adapter in adapters][-1]
    except ValidationError as error:
        errors = error.errors()
    if errors[0]["type"] == "json_invalid":
        wrong = errors[0]["ctx"]["error"]
        raise UserError(f"{token.keyword}: not JSON ({wrong}); `snakemake -n -p <target>` prints whole commands")
    missing = [error for error in errors if error["type"] == "missing"]
    lines = [describe(error) for error in errors if error["type"] != "missing"]
    if len(missing) > 2:
        lines.append(f"missing: {', '.join('.'.join(map(str, error['loc'])) for error in missing)}")
    else:
        lines += map(describe, missing)
    raise UserError("\n".join(f"{token.keyword}: {line}" for line in lines))


def _k_of_n(_, shard: str) -> None:
    if not re.fullmatch(r"[0-9]+/[0-9]+", shard) or not 1 <= int(shard.split("/")[0]) <= int(shard.split("/")[1]):
        raise ValueError(f"{shard!r} is not K/N, as in 1/64, with K from 1 to N")


def params_of(type_: Any) -> Any:
    """Return the type of a step's params."""
    return json_option(type_, "Params of this step; `snakemake -n -p` prints those of any job.")


def fields_of(type_: Any) -> Any:
    """Return the type of an argument whose fields, those of a dataclass, are options each."""
    return Annotated[type_, Parameter(name="*")]


# What is read
Data = option(Path, "Manifest of a data set: a JSON file that `cae index` writes.")
Objects = option(Path, "Manifest of images with masks of objects, in COCO's layout.")
Tokenizer = option(Path, "Folder of a tokenizer.")
Tokens = option(Path, "Folder of a token cache.")
Encoder = option(Path, "Folder of a pretrained model.")
Models = option(list[Path], "Folders of pretrained models.", consume_multiple=True)
Probes = option(
    list[Path], "Weights of the models' attentive probes: their attention, not the encoders'.", consume_multiple=True
)
Tables = option(Path, "The rows and columns of all tables: params/tables.yaml.")
Claims = option(Path, "What the paper claims: params/claims.yaml.")
Facts = json_option(dict[str, dict], "Of each model what the table shows of the model itself.")
Figures = json_option(dict[str, list[str]], "Of each figure the models of its arrays, in their order.")
Numbers = json_option(dict[str, list[str]], "Of each evaluation the metrics to show.")
WholeParams = json_option(dict, "Params of the scale.", checked_as=ScaleParams)
Inputs = option(Path, "Files to read.")
Benchmarks = option(Path, "Folder of what the steps took, a folder for each step, as Snakemake writes them.")

# What is written
OutputFile = option(Path, "File to write.")
StagesFile = option(Path, "File to write; default: dvc.yaml for the demo, dvc/<scale>/dvc.yaml for another scale.")
OutputFolder = option(Path, "Folder to write.")
Metrics = option(Path, "File to write: metrics (JSON).")
LinearMetrics = option(Path, "File to write: metrics of linear probing (JSON).")
AttentiveMetrics = option(Path, "File to write: metrics of attentive probing (JSON).")
ProbeWeights = option(tuple[Path, Path], "Two files to write: the trained probes, linear and attentive.")

# How it is computed
Threads = option(int, "Processor cores to use.")
GPUs = option(int, "GPUs to use; 0: compute on the processor.")
Work = option(Path, "Folder of the state that an interrupted run goes on from.")
Code = option(str, "Hash of the code; an unfinished run of other code is refused.")
CheckpointMinutes = option(float, "Minutes between two saves of the state.")
Recompute = option(bool, "Compute activations of blocks again instead of keeping them: less memory.")
Shard = option(str, "K/N: the K-th of N parts of the images, K from 1.", validator=_k_of_n)

# What it is about
DataLayout = option(Layout, "How the data set lies in its folder.")
Root = option(str, "Folder of the data set; may name an environment variable, as $IMAGENET_ROOT.")
Seed = option(int, "Seed of what is drawn.")
Scenes = option(tuple[int, int], "Numbers of images to train on and to validate on.")
Classes = option(int, "Number of classes of label maps.")
Unreadable = option(Literal["stop", "skip"], "What to do about images that cannot be used.")
Batches = json_option(
    dict[str, int], "Sizes of the batches that are trained on the data set, in images, by key of params."
)
Protocol = option(str, "Name of the evaluation.")
Name = option(str, "Name of the table or figure.")
Scale = option(str, "Name of the scale.")

# What a person asks of the workflow
ScaleFiles = option(list[Path], "Params files of the scale, as Snakemake's --configfile.", consume_multiple=True)
ScaleConfig = option(list[str], "KEY=VALUE, as Snakemake's --config.", consume_multiple=True)
Rates = option(list[Path], "Files of images/s, one for each kind of GPU.", consume_multiple=True)
BFloat16Rate = option(float, "FLOP/s of a GPU in bfloat16, where no images/s are given.")
Float32Rate = option(float, "FLOP/s of a GPU in float32, in which tokens are made.")
Utilisation = option(float, "Share of these FLOP/s that is reached, from 0 to 1.")
