"""What the rules ask of params: a scale's params, the jobs that its tables and figures pull, each job's part of them."""

import json
import os
import re
import sys
from pathlib import Path

from pydantic import BaseModel

from cae.errors import UserError
from cae.files import text_hash
from cae.params import (
    METHODS,
    Analyses,
    Params,
    Release,
    Row,
    depth,
    load_claims,
    load_tables,
    read,
    share_of_labels,
    unknown,
    untrained,
)
from workflow.machine import has_gpu, threads_side_by_side
from workflow.plan.figures import Figure, figures

TRANSFERS = ("food101", "clipart", "sketch")  # fine-tuning on the data sets of these names
DETECTORS = ("coco-mask", "coco-cascade")
DATA = {"ade20k": "ade20k", **dict.fromkeys(DETECTORS, "coco"), **{name: name for name in TRANSFERS}}  # else ImageNet
SEEN = ("seed", "view", "image")  # what an image's tokens depend on besides their tokenizer
# What is read of a pretrained encoder.
ENCODER = [
    f"results/{{scale}}/pretrain/{{model}}/{file}" for file in ("model.safetensors", "config.json", "provenance.json")
]
SHORT = 10  # minutes: jobs that ask for no more wait in a queue together
KINDS = {"dvae": "d-VAE", "dalle": "DALL-E", "vqgan": "VQGAN"}  # of tokenizers

# Jobs run the Python that runs Snakemake, its environment activated or not.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])


class Plan:
    """The jobs that params/tables.yaml and the analyses ask for."""

    def __init__(
        self, params: Params, tables: str | Path = "params/tables.yaml", claims: str | Path = "params/claims.yaml", *,
        paper: str | Path = "params/paper.yaml", said: list[tuple[str, dict]] = (), cores: int | None = None,
    ):  # fmt: skip
        """`said`: (file, its own keys) of the params, the one that overrules first: what leaves a model out is told by it.
        `cores`: those of this machine that jobs share; None where they run elsewhere."""
        self.cores = cores
        paper, self.said = read(paper), said
        self.params, known = params, load_tables(tables, paper["models"] | params.models)
        own = [name for name, table in known.items() if table.own]
        if wrong := [name for name in params.tables if name not in own]:
            raise UserError(f"tables{self.of_file('tables')}: {unknown(wrong[0], own)}")
        self.tables = {name: table for name, table in known.items() if not table.own or name in params.tables}
        self.finetunings = ["finetune", *params.few_labels, *TRANSFERS]
        self.recipes = params.pretrainings()
        made_below = f"data/{params.scale}/"  # data sets that the project writes itself; others are only read
        self.made = [name for name, data in params.datasets.items() if data.root.startswith(made_below)]
        self.indexed = [name for name in params.datasets if name not in self.made]
        if idle := [name for name in self.indexed if params.datasets[name].scenes]:
            raise UserError(f"datasets.{idle[0]}.scenes: its images are only read; those below {made_below} are made")
        self.built_tokenizers, self.released_tokenizers = by_source(params.tokenizers)
        self.built_models = [name for name, recipe in self.recipes.items() if recipe.is_trained]
        built, self.released_models = by_source(self.recipes)
        self.untrained_models = [name for name in built if name not in self.built_models]
        labelled = (name for name, recipe in self.recipes.items() if recipe.learns_labels)
        self.supervised = [name for name in labelled if name not in self.untrained_models]

        # A cache holds one tokenizer's tokens of one recipe of views; that of the shared views has its tokenizer's name.
        shared = self.json(*SEEN)
        self.caches = {name: (name, shared) for name in params.tokenizers}
        self.cache_of: dict[str, str] = {}
        for model, recipe in self.recipes.items():
            if name := recipe.target_tokenizer:
                job = as_json({key: getattr(recipe, key) for key in SEEN})
                cache = name if job == shared else f"{name}-{text_hash(job)[:8]}"
                self.cache_of[model], self.caches[cache] = cache, (name, job)

        wanted = figures(params)
        self.left_out = {name: why for name, figure in wanted.items() if (why := self.lacking(figure))}
        self.shown = {name: figure for name, figure in wanted.items() if name not in self.left_out}
        self.analyses = [name for name in Analyses.model_fields if name in self.shown]

        # What is wanted, each once and in order; rows of models that this scale leaves out ask for nothing.
        self.cells = unique(cell for name in self.tables for cell in self.cells_of(name))
        for protocol, model in self.cells:
            if share_of_labels(protocol) < 1 and protocol not in params.few_labels:
                raise UserError(
                    f"{tables}: {protocol}: `few_labels` of the params says nothing; say how, or `cells: {{{protocol}: []}}`"
                )
            if protocol in self.finetunings:
                params.finetuning(model, protocol)  # a size without a recipe is told before any work is done
            if protocol == "ade20k":
                params.segmenting(model)
            if protocol in DETECTORS:
                params.detecting(model)
            if protocol == "supervised" and model not in self.supervised:
                having = ", ".join(method.title for method in METHODS.values() if method.learns_labels)
                raise UserError(
                    f"{tables}: {model}: cells: supervised: it has no classifier of its own; models of {having} have"
                )
        needed = {"imagenet", *(self.data_of(protocol) for protocol, _ in self.cells)}
        self.counted = [name for name in params.datasets if name in needed]  # whose images the page tells
        analysed = [model for name in self.analyses for model in self.shown[name].models]
        named = self.recipes if params.only else []
        self.models = unique([*(model for _, model in self.cells), *analysed, *named])
        if "imagenet" not in params.datasets and (here := [name for name in self.models if name in self.built_models]):
            raise UserError(f"datasets.imagenet: null, but {here[0]} is pretrained here, on it; leave it out, too")
        self.wanted_caches = unique(self.cache_of[model] for model in self.models if model in self.cache_of)
        self.tokenizers = unique(self.caches[cache][0] for cache in self.wanted_caches)
        self.trained = [model for model in self.models if model in self.built_models]
        inspected = (name for name in unique(self.tokenizers + self.built_tokenizers) if name in self.built_tokenizers)
        tokenizers = {f"tokenizer-{name}": name for name in inspected}
        self.drawn_from = {name: figure.files for name, figure in self.shown.items()}
        self.drawn_from |= {name: [f"tokenizers/{tokenizer}/report.npz"] for name, tokenizer in tokenizers.items()}
        self.drawn_from["training"] = [
            f"pretrain/{model}/{file}"
            for file in ("metrics.jsonl", "provenance.json")
            for model in self.trained
            if "@" not in model  # figures show the first of several seeds
        ]
        idle = {name for name, tokenizer in tokenizers.items() if tokenizer not in self.tokenizers}
        idle |= set() if self.trained else {"training"}
        self.figures = [name for name in self.drawn_from if name not in idle]  # the others if asked for
        # On what it depends which rules lead to the page.
        sources = [
            self.made,
            self.indexed,
            self.built_tokenizers,
            self.released_tokenizers,
            self.trained,
            self.untrained_models,
            self.released_models,
        ]
        self.rules_from = [*unique(protocol for protocol, _ in self.cells), *self.figures, *map(bool, sources)]

        measured = unique(model for _, model in self.cells)
        self.shown_by_dvc = [f"metrics/{model}.json" for model in measured] + [
            f"losses/{model}.csv" for model in self.trained
        ]

        # Figures' models are the paper's, and this scale's where it shows others.
        printed, own = paper["analyses"], params.analyses.model_dump()
        shown = {name: [*printed[name]["models"], *own[name]["models"]] for name in own if "models" in own[name]}
        self.claims = load_claims(claims, self.tables, shown)
        claimed = set().union(*(claim.figures for claim in self.claims.values()))
        self.claimed = {name: own[name]["models"] for name in self.analyses if name in claimed}

    def lacking(self, figure: Figure) -> str | None:
        """What a figure needs and this scale leaves out."""
        if figure.dataset not in (None, *self.params.datasets):
            return f"it needs the data set {figure.dataset}, which is null"
        for model in figure.models:
            if why := self.absent(model):
                return f"it needs the model {model}, which is {why}"
        protocol = figure.protocol
        if protocol and not any(self.params.evaluated(model, protocol) for model in figure.models):
            return f"none of its models is in `cells.{protocol}`{self.of_file('cells', protocol)}"
        return None

    def absent(self, model: str) -> str | None:
        """Why the scale does not run a model that its params know, and where to change that."""
        if model in self.recipes or model not in self.params.models:
            return None
        if self.params.only and model not in self.params.only:
            return f"not in `only`{self.of_file('only')}"
        return f"null in `models`{self.of_file('models', model)}"

    def of_file(self, *keys: str) -> str:
        """The file that says what is under `keys`, in words."""
        return next((f" of {file}" for file, raw in self.said if depth(raw, keys) == len(keys)), "")

    @property
    def batches(self) -> dict[str, dict[str, int]]:
        """The sizes of all batches that are trained on each data set, by their keys in params; and, by the key of a warm-up in
        steps, how many images it takes for any step to be left."""
        p, sizes = self.params, {name: {} for name in self.params.datasets}
        for name in self.models:
            if name in self.built_models:
                owner = f"models.{name}" if "batch_size" in p.entry(name) else f"recipes.{self.recipes[name].method}"
                sizes["imagenet"][f"{owner}.batch_size"] = self.recipes[name].batch_size
        for name in self.tokenizers:
            if name in self.built_tokenizers:
                sizes["imagenet"][f"tokenizers.{name}.batch_size"] = p.tokenizers[name].batch_size
        probing = {"probes.linear": p.probes.linear, "probes.attentive": p.probes.attentive}  # side by side
        recipes = {"linear": probing, "attentive": probing, "finetune": {"finetune": p.finetune}, "ade20k": {"ade20k": p.ade20k},
                   **{name: {"coco": p.coco} for name in DETECTORS},
                   **{name: {"transfer": p.transferring} for name in TRANSFERS},
                   **{name: {f"few_labels.{name}": recipe} for name, recipe in p.few_labelled.items()}}  # fmt: skip
        for protocol, _ in self.cells:
            for key, recipe in recipes.get(protocol, {}).items():
                sizes[self.data_of(protocol)][f"{key}.batch_size"] = recipe.batch_size
            if protocol in DETECTORS:
                sizes["coco"]["coco.warmup_steps"] = p.coco.batch_size * (p.coco.warmup_steps // p.coco.epochs + 1)
        return sizes

    @property
    def rows_left_out(self) -> dict[str, list[str]]:
        """Models that rows name and the scale does not run, by the reason."""
        found: dict[str, list] = {}
        for model in unique(row.model for table in self.tables.values() for row in table.rows if row.model):
            if why := self.absent(model):
                found.setdefault(why, []).append(model)
        return found

    @property
    def left_out_in_short(self) -> str:
        """A line that counts the rows and figures that the scale leaves out; empty where it leaves out none."""
        counts = {"rows": sum(map(len, self.rows_left_out.values())), "figures": len(self.left_out)}
        parts = [f"{count} {kind if count > 1 else kind[:-1]}" for kind, count in counts.items() if count]
        return f"Scale {self.params.scale} leaves out {' and '.join(parts)}" if parts else ""

    def rows_of(self, table: str) -> list[Row]:
        return [row for row in self.tables[table].rows if row.model in self.recipes]

    def cells_of(self, table: str) -> list[tuple[str, str]]:
        """(protocol, model) of a table's cells, those on data sets that this scale leaves out aside; one evaluation may fill
        several columns. A released classifier is the same with every seed."""
        cells = (
            (protocol, model)
            for row in self.rows_of(table)
            for protocol in self.tables[table].cells_of(row).values()
            if self.params.evaluated(row.model, protocol)
            for model in self.params.seeded(row.model)
        )
        same = {("supervised", model) for model in self.released_models if "@" in model}
        return unique(cell for cell in cells if self.data_of(cell[0]) in self.params.datasets and cell not in same)

    @property
    def numbers(self) -> dict[str, list[str]]:
        """Metrics that the tables show of each protocol."""
        found: dict[str, list] = {}
        for table in self.tables.values():
            for protocol, metrics in table.metrics.items():
                found[protocol] = unique([*found.get(protocol, []), *metrics])
        return found

    def data_of(self, protocol: str) -> str:
        """The data set that a protocol evaluates on."""
        return DATA.get(protocol, "imagenet")

    def metrics_of(self, table: str, scale: str) -> list[str]:
        return [f"results/{scale}/evaluate/{protocol}/{model}.json" for protocol, model in self.cells_of(table)]

    def drawn_and_told(self, scale: str) -> list[str]:
        """All that tables, figures and page are made of: metrics, arrays, manifests; no checkpoints, no images."""
        files = [f"evaluate/{protocol}/{model}.json" for protocol, model in self.cells]
        files += [f"pretrain/{model}/provenance.json" for model in self.models]
        files += [f"pretrain/{model}/metrics.jsonl" for model in self.trained]
        files += [file for figure in self.figures for file in self.drawn_from[figure]]
        return unique(f"results/{scale}/{file}" for file in files) + [
            f"data/{scale}/{name}.json" for name in self.params.datasets
        ]

    def searched(self, model: str, scale: str) -> list[str]:
        """Metrics of a model's segmentation at each learning rate that is searched."""
        folder = f"results/{scale}/ade20k/{model}"
        return [f"{folder}/{lr}/metrics.json" for lr in self.params.segmenting(model)]

    def facts_of(self, table: str) -> dict[str, dict]:
        """Of each model, what a table's columns about the model itself say; None where nothing applies."""
        facts = self.tables[table].facts
        return {row.model: {fact: self.about(row.model)[fact] for fact in facts} for row in self.rows_of(table)}

    def about(self, model: str) -> dict:
        recipe = self.recipes[model]
        tokenizer = None
        if name := recipe.target_tokenizer:
            kind, vocabulary = self.params.tokenizers[name].kind, self.params.tokenizers[name].vocabulary
            tokenizer = f"{name} ({KINDS[kind]}, {vocabulary} codes)"
        crops = recipe.crops if recipe.epochs else None
        return {"epochs": recipe.epochs, "crops": crops, "tokenizer": tokenizer}

    def targets_of(self, model: str, scale: str) -> list[str]:
        """Files to wait for. The token cache's manifest stands for its tokens: 0.8 TB is too much to hash."""
        if cache := self.cache_of.get(model):
            tokenizer = self.tokenizer_folder(cache, scale)
            return [f"{tokenizer}/tokenizer.json", f"results/{scale}/tokens/{cache}/manifest.json"]
        return []

    def target_options(self, model: str, scale: str) -> str:
        if cache := self.cache_of.get(model):
            return f"--tokenizer {self.tokenizer_folder(cache, scale)} --tokens results/{scale}/tokens/{cache}"
        return ""

    def tokenizer_folder(self, cache: str, scale: str) -> str:
        return f"results/{scale}/tokenizers/{self.caches[cache][0]}"

    def tokenizer_files(self, cache: str, scale: str) -> list[str]:
        return [f"{self.tokenizer_folder(cache, scale)}/{name}" for name in ("model.safetensors", "tokenizer.json")]

    def tokenizer_module(self, name: str) -> str:
        return f"cae.tokenizers.{self.params.tokenizers[name].kind}"

    def shards_of(self, cache: str, scale: str) -> list[str]:
        n = self.params.tokenizers[self.caches[cache][0]].shards
        return [f"results/{scale}/tokens/{cache}/shards/{k}-of-{n}.npy" for k in range(1, n + 1)]

    def views_of(self, cache: str) -> int:
        """Of each image, whose tokens a cache holds."""
        return json.loads(self.caches[cache][1])["view"]["views"]

    def probes_of(self, figure: str, scale: str) -> list[str]:
        """Weights of the attentive probes whose attention a figure shows: Figure 7, of all its models."""
        models = self.shown[figure].models if figure == "figure7" else []
        return [f"results/{scale}/attentive/{model}/model.safetensors" for model in models]

    def attention_json(self, figure: str) -> str:
        """What an analysis of attention is told; Figure 9 is of random crops."""
        crops = ["view"] if figure == "figure9" else []
        return self.json("seed", "precision", *crops, images=getattr(self.params.analyses, figure).images)

    def threads(self, step: str) -> int:
        """Return the threads of a step's jobs: what params ask for, on GPUs and on a cluster; else what fills the cores here.

        No job runs again for other threads, though on a processor its sums are then added up in another order.
        """
        need = getattr(self.params.resources, step)
        elsewhere = self.cores is None or (need.gpus and has_gpu())
        return need.threads if elsewhere else threads_side_by_side(need.threads, self.cores)

    def machine(self, step: str) -> dict:
        """A rule's `resources`. `gpu` is the name that the Slurm plugin knows; `short` that of what is sent in groups."""
        need = getattr(self.params.resources, step)
        short = {"short": 1} if need.runtime <= SHORT else {}
        return {"mem_mb": need.mem_mb, "runtime": need.runtime, "gpu": need.gpus} | short

    def machines(self, step: str) -> dict:
        """The same of a step that trains, perhaps on several nodes: there srun starts a process for each GPU. Resources are
        never a reason to run again, so that another number of nodes trains nothing anew."""
        need = getattr(self.params.resources, step)
        resources = {"mem_mb": need.mem_mb, "runtime": need.runtime, "node_gpus": need.gpus}
        resources["recompute"] = "--recompute" if getattr(need, "recompute", False) else ""
        if need.nodes == 1:
            return self.machine(step) | resources | {"launcher": ""}
        each = max(1, need.threads // need.processes)
        started = f"--nodes={need.nodes} --ntasks-per-node={need.processes} --cpus-per-task={each} --kill-on-bad-exit=1"
        resources |= {"nodes": need.nodes, "cpus_per_task": each, "mpi": "srun", "launcher": f"srun {started} "}
        if need.gpus:
            resources["gres"] = f"gpu:{need.gpus}"  # of each node
        # The Slurm plugin refuses to be told of one task a node.
        return resources | ({"tasks_per_node": need.gpus} if need.gpus > 1 else {"tasks": need.nodes})

    def json(self, *keys: str, **parts) -> str:
        """The params under `keys`, and `parts`, as one JSON text: all that a job is told, and reruns by."""
        return as_json(parts | {key: getattr(self.params, key) for key in keys})

    def evaluation_json(self, model: str, **parts) -> str:
        """The params of an evaluation of `model`, its seed and precision."""
        return as_json(parts | {"seed": self.params.seed_of(model), "precision": self.params.precision})

    def untrained_json(self, model: str) -> str:
        """What shapes the first weights of a model of no epochs: no recipe, whose change draws nothing again."""
        return as_json(untrained(self.recipes[model]).model_dump())

    def initialising_code(self, model: str) -> str:
        """What draws the first weights, as `code_hash` takes it."""
        method = self.recipes[model].method
        return f"cae.methods.{method}" + (".build_encoder" if METHODS[method].first_weights is not None else "")

    def release_json(self, model: str) -> str:
        """What matters to the import of a released model: no recipe, whose change imports nothing again."""
        return as_json(self.recipes[model].model_dump(include=set(Release.model_fields)))

    def tokenizer_json(self, name: str, *keys: str) -> str:
        """`shards` is how the work is cut and left out: it changes no tokenizer (changed, it does make the tokens again)."""
        return self.json(*keys, tokenizer=self.params.tokenizers[name].model_dump(exclude={"shards"}))


def as_json(parts: dict) -> str:
    return json.dumps(parts, sort_keys=True, default=BaseModel.model_dump)


def unique(items) -> list:
    """Each once, in order."""
    return list(dict.fromkeys(items))


def by_source(things: dict) -> tuple[list[str], list[str]]:
    """Names of what is built here, and of what was released."""
    built, released = ([name for name in things if things[name].source == source] for source in ("built", "released"))
    return built, released


def one_of(names) -> str:
    """A wildcard's constraint."""
    return "|".join(map(re.escape, names)) or "(?!)"


def option(name: str, value) -> str:
    """A command line's option, nothing where there is no value."""
    return "" if value is None else f"--{name} {value}"
