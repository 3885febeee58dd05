"""What the rules ask of params: a scale's params, the jobs that its tables and figures pull, each job's part of them."""

import json
import os
import re
import sys
from pathlib import Path

from pydantic import BaseModel

from cae.errors import UserError
from cae.params import Analyses, Params, layers, load_tables, merged, read, validate

DEFAULT, PAPER = "params/demo.yaml", "params/paper.yaml"

# Jobs run the Python that runs Snakemake, its environment activated or not.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])


def load_params(files: list[Path], overrides: dict) -> Params:
    """Params of `--configfile` (without a scale there: over the demo's) and, over them, of `--config`.

    `--config imagenet=/data/imagenet` sets the environment variable that the data set's root names. It is no param:
    where the images lie makes nothing rerun.
    """
    here = f"{Path.cwd()}/"
    parts = [part for file in reversed(files) for part in layers(str(file).removeprefix(here))]
    if "scale" not in merged(parts):
        parts += layers(DEFAULT)
    datasets, overrides = merged(parts).get("datasets") or {}, dict(overrides)
    for name in overrides.keys() & datasets.keys():
        root = str(datasets[name].get("root"))
        variable = re.fullmatch(r"\$\{?(\w+)\}?", root)
        if not variable:
            raise UserError(
                f"--config {name}=…: the root of this data set is {root} ({parts[0][0]}), not to be set from outside"
            )
        os.environ[variable[1]] = str(overrides.pop(name))
    return validate(([("--config", overrides)] if overrides else []) + parts)


class Plan:
    """The jobs that params/tables.yaml and the analyses ask for."""

    def __init__(self, params: Params, tables: str = "params/tables.yaml"):
        named = {**read(PAPER)["models"], **params.models}  # a scale may leave models out
        self.params, self.tables = params, load_tables(tables, named)
        made_below = f"data/{params.scale}/"  # data sets that the project writes itself; others are only read
        self.made = [name for name, data in params.datasets.items() if data.root.startswith(made_below)]
        self.indexed = [name for name in params.datasets if name not in self.made]
        self.built = [name for name, tokenizer in params.tokenizers.items() if tokenizer.source == "built"]
        self.released = [name for name in params.tokenizers if name not in self.built]

        # What is wanted, each once and in order; rows of models that this scale leaves out ask for nothing.
        analyses = params.analyses
        self.cells = list(dict.fromkeys(cell for name in self.tables for cell in self.cells_of(name)))
        models = [model for _, model in self.cells] + analyses.figure4.models + analyses.figure5.models
        self.models = list(dict.fromkeys(models))
        self.tokenizers = list(dict.fromkeys(filter(None, map(self.tokenizer_of, self.models))))
        self.trained = [model for model in self.models if params.pretraining(model).epochs]
        self.analyses = list(Analyses.model_fields)
        drawn = [f"tokenizer-{name}" for name in self.tokenizers if name in self.built]
        self.figures = [*self.analyses, *drawn, *(["training"] if self.trained else [])]

    def cells_of(self, table: str) -> list[tuple[str, str]]:
        """(protocol, model) of a table's cells: its rows name models, its columns protocols."""
        models = [row.model for row in self.tables[table].rows if row.model in self.params.models]
        return [(protocol, model) for model in models for protocol in self.tables[table].columns]

    def metrics_of(self, table: str, scale: str) -> list[str]:
        return [f"results/{scale}/evaluate/{protocol}/{model}.json" for protocol, model in self.cells_of(table)]

    def epochs_of(self, table: str) -> dict[str, int]:
        return {model: self.params.pretraining(model).epochs for _, model in self.cells_of(table)}

    def tokenizer_of(self, model: str) -> str | None:
        """The tokenizer whose tokens the model predicts; None for pixels and for an encoder left as initialised."""
        params = self.params.pretraining(model)
        return params.tokenizer if params.needs_tokens else None

    def targets_of(self, model: str, scale: str) -> list[str]:
        """Files to wait for. The token cache's manifest stands for its tokens: 0.8 TB is too much to hash."""
        name = self.tokenizer_of(model)
        files = [f"tokenizers/{name}/tokenizer.json", f"tokens/{name}/manifest.json"] if name else []
        return [f"results/{scale}/{file}" for file in files]

    def target_options(self, model: str, scale: str) -> str:
        name = self.tokenizer_of(model)
        return f"--tokenizer results/{scale}/tokenizers/{name} --tokens results/{scale}/tokens/{name}" if name else ""

    def shards_of(self, tokenizer: str, scale: str) -> list[str]:
        n = self.params.tokenizers[tokenizer].shards
        return [f"results/{scale}/tokens/{tokenizer}/shards/{k}-of-{n}.npy" for k in range(1, n + 1)]

    def machine(self, step: str) -> dict:
        """A rule's `resources`. `gpu` is the name that the Slurm plugin knows."""
        need = getattr(self.params.resources, step)
        return {"mem_mb": need.mem_mb, "runtime": need.runtime, "gpu": need.gpus}

    def json(self, *keys: str, **parts) -> str:
        """The params under `keys`, and `parts`, as one JSON text: all that a job is told, and reruns by."""
        parts |= {key: getattr(self.params, key) for key in keys}
        return json.dumps(parts, sort_keys=True, default=BaseModel.model_dump)

    def tokenizer_json(self, name: str, *keys: str) -> str:
        """`shards` is how the work is cut and left out: it changes no tokenizer (changed, it does make the tokens again)."""
        return self.json(*keys, tokenizer=self.params.tokenizers[name].model_dump(exclude={"shards"}))


def one_of(names) -> str:
    """A wildcard's constraint."""
    return "|".join(map(re.escape, names)) or "(?!)"


def option(name: str, value) -> str:
    """A command line's option, nothing where there is no value."""
    return "" if value is None else f"--{name} {value}"
