"""Typed params: load, merge, validate, in one place.

`load("params/demo.yaml")` merges a scale's differences over `base: paper.yaml` and checks every key and type.
Each job is given only the part it uses, as JSON (`Params.pretraining(model).model_dump_json()`).
"""

import difflib
import functools
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from cae.errors import UserError

Positive = Annotated[int, Field(gt=0)]
NonNegative = Annotated[int, Field(ge=0)]
Pair = Annotated[list[float], Field(min_length=2, max_length=2)]


class Strict(BaseModel):
    """No unknown keys, no silent conversions."""

    model_config = ConfigDict(strict=True, frozen=True)

    @model_validator(mode="before")
    @classmethod
    def refuse_unknown_keys(cls, data: Any) -> Any:
        for key in data if isinstance(data, dict) else ():
            if key not in cls.model_fields:
                raise refusal(unknown(key, cls.model_fields), "unknown_key")
        return data


def refusal(message: str, kind: str = "refused") -> PydanticCustomError:
    """To raise in a validator: pydantic would read braces in the message as places to fill."""
    return PydanticCustomError(kind, "{message}", {"message": message})


def unknown(key: str, valid) -> str:
    """ "unknown key 'x'", with the nearest valid name where one is near."""
    near = difflib.get_close_matches(str(key), list(valid), n=1, cutoff=0.5)
    return f"unknown key {key!r}; " + (f"did you mean {near[0]!r}?" if near else f"valid keys: {', '.join(valid)}")


class Dataset(Strict):
    layout: Literal["imagenet", "ade20k", "coco"]
    root: str
    classes: Positive | None = None  # of pixel labels; images in folders count themselves


class Image(Strict):
    size: Positive
    patch: Positive

    @property
    def grid(self) -> int:
        return self.size // self.patch


class Crop(Strict):
    scale: Pair
    ratio: Pair
    flip: float


class View(Crop):
    views: Positive


class Mask(Strict):
    count: Positive
    min_block: Positive
    min_aspect: float


class DVAE(Strict):
    """A discrete VAE trained by the DAG."""

    kind: Literal["dvae"]
    source: Literal["built"]
    input_size: Positive
    vocabulary: Annotated[int, Field(ge=2, le=65536)]
    shards: Positive = 1
    width: Positive
    codebook_dim: Positive
    layers: NonNegative
    blocks: NonNegative
    epochs: Positive
    batch_size: Positive
    lr: float
    temperature: Pair  # Gumbel-softmax: from, to
    usage_weight: float


class DALLE(Strict):
    """The DALL-E encoder, from a file of its weights."""

    kind: Literal["dalle"]
    source: Literal["released"]
    file: str
    sha256: str | None = None
    input_size: Positive
    vocabulary: Annotated[int, Field(ge=2, le=65536)]
    shards: Positive = 1


Tokenizer = Annotated[DVAE | DALLE, Field(discriminator="kind")]


class Size(Strict):
    width: Positive
    depth: Positive
    heads: Positive
    layer_scale: float


class Encoder(Size):
    """What it takes to build an encoder: a size, and the images it reads."""

    image: Image
    drop_path: float = 0.0


class CAERecipe(Strict):
    """How a CAE is pretrained: a default for all models, and what a model may override."""

    target: Literal["tokens", "pixels"]
    tokenizer: str
    regressor_depth: Positive
    decoder_depth: NonNegative
    alignment_weight: Annotated[float, Field(ge=0)]
    drop_path: float
    batch_size: Positive
    micro_batch: Positive
    lr: float
    min_lr: float
    betas: Pair
    weight_decay: float
    clip: float


class Recipes(Strict):
    cae: CAERecipe


class Pretraining(CAERecipe, Encoder):
    """One model, complete: size, recipe, schedule, and the views and masks it sees."""

    method: Literal["cae"]
    epochs: NonNegative
    warmup_epochs: NonNegative = 0
    seed: int
    view: View
    mask: Mask

    @property
    def needs_tokens(self) -> bool:
        return self.epochs > 0 and self.target == "tokens"

    @model_validator(mode="after")
    def divisible(self):
        if self.batch_size % self.micro_batch:
            raise refusal(f"batch_size {self.batch_size} is not a multiple of micro_batch {self.micro_batch}")
        return self


class Probe(Strict):
    batch_size: Positive
    lr: float
    min_lr: float


class AttentiveProbe(Probe):
    init_std: float
    validation_statistics: Literal["running", "batch"]  # of BatchNorm; batch: as the public code, a fault


class Probes(Strict):
    epochs: Positive
    warmup_epochs: NonNegative
    micro_batch: Positive
    views: Positive
    view: Crop
    linear: Probe
    attentive: AttentiveProbe

    @model_validator(mode="after")
    def divisible(self):
        for name in ("linear", "attentive"):
            if (batch := getattr(self, name).batch_size) % self.micro_batch:
                message = f"{name}.batch_size {batch} is not a multiple of micro_batch {self.micro_batch}"
                raise refusal(message)
        return self


class Figure3(Strict):
    images: Positive
    crops: Positive


class Figure4(Strict):
    models: Annotated[list[str], Field(min_length=2, max_length=2)]
    images: Positive


class Figure5(Strict):
    models: Annotated[list[str], Field(min_length=2, max_length=2)]
    images: Positive
    patches_per_class: Positive


class Analyses(Strict):
    figure3: Figure3
    figure4: Figure4
    figure5: Figure5


class Resources(Strict):
    threads: Positive
    mem_mb: Positive
    runtime: Positive  # minutes
    gpus: NonNegative = 0


class AllResources(Strict):
    index: Resources
    tokenizer: Resources
    tokens: Resources
    pretrain: Resources
    probe: Resources
    analyze: Resources
    report: Resources


class Params(Strict):
    scale: str
    seed: int
    datasets: dict[str, Dataset]
    image: Image
    view: View
    mask: Mask
    tokenizers: dict[str, Tokenizer]
    sizes: dict[str, Size]
    recipes: Recipes
    models: dict[str, dict]
    probes: Probes
    analyses: Analyses
    resources: AllResources

    @model_validator(mode="after")
    def resolvable(self):
        grid = self.image.grid
        if self.image.size % self.image.patch:
            raise refusal("image: size is not a multiple of patch")
        if self.mask.count >= grid**2:
            raise refusal("mask.count leaves no patch visible")
        models = {name: self.pretraining(name) for name in self.models}
        for name in sorted({model.tokenizer for model in models.values() if model.needs_tokens}):
            tokenizer = self.tokenizers[name]
            per_token = 8 if tokenizer.kind == "dalle" else 2**tokenizer.layers  # pixels a side, or a divisor of them
            side, rest = divmod(tokenizer.input_size, grid)
            if rest or side % per_token or (tokenizer.kind == "dalle" and side != 8):
                message = (
                    f"tokenizers.{name}.input_size {tokenizer.input_size} does not give this tokenizer {grid} tokens a side, "
                    "one for each patch"
                )
                raise refusal(message)
        devices = max(1, self.resources.pretrain.gpus)
        for name, model in models.items():
            if model.batch_size % (model.micro_batch * devices):
                message = (
                    f"resources.pretrain.gpus: batch_size of {name} is not a multiple of micro_batch x {devices} GPUs"
                )
                raise refusal(message)
        for model in {*self.analyses.figure4.models, *self.analyses.figure5.models}:
            if model not in self.models:
                raise refusal(f"analyses: {unknown(model, self.models)}")
        return self

    def pretraining(self, name: str) -> Pretraining:
        """The model `name`: the method's recipe, then its size, then its own entry, the later over the earlier."""

        def refuse(message):
            raise refusal(f"models.{name}: {message}")

        entry = dict(self.models[name])
        size = entry.pop("size", None)
        if size not in self.sizes:
            refuse(f"size: {unknown(size, self.sizes)}")
        if entry.get("method") not in Recipes.model_fields:
            refuse(f"method: {unknown(entry.get('method'), Recipes.model_fields)}")
        recipe = getattr(self.recipes, entry["method"]).model_dump()
        shared = {
            "seed": self.seed,
            "image": self.image.model_dump(),
            "view": self.view.model_dump(),
            "mask": self.mask.model_dump(),
        }
        try:
            model = Pretraining(**{**shared, **recipe, **self.sizes[size].model_dump(), **entry})
        except ValidationError as error:
            refuse("; ".join(describe(e) for e in error.errors()))
        if model.needs_tokens and model.tokenizer not in self.tokenizers:
            refuse(f"tokenizer: {unknown(model.tokenizer, self.tokenizers)}")
        return model


def describe(error: dict) -> str:
    """One pydantic error as "key.key: message"."""
    where = ".".join(str(part) for part in error["loc"])
    value = (
        ""
        if error["type"] in ("unknown_key", "missing") or isinstance(error["input"], dict)
        else f" (found {error['input']!r})"
    )
    return (f"{where}: " if where else "") + error["msg"] + value


def merge(base: dict, over: dict) -> dict:
    """`over` laid on `base`, mapping by mapping; a null removes what the base says."""
    out = dict(base)
    for key, value in over.items():
        if value is None:
            out.pop(key, None)
        elif isinstance(value, dict) and isinstance(out.get(key), dict):
            out[key] = merge(out[key], value)
        else:
            out[key] = value
    return out


def layers(path: str | Path) -> list[tuple[str, dict]]:
    """(file, its own keys) of a scale's file and of those that `base` names, the one that overrules first."""
    path = Path(path)
    try:
        raw = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise UserError(f"{path}: no such params file") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(raw, dict):
        raise UserError(f"{path}: expected a mapping of params, found {type(raw).__name__}")
    base = raw.pop("base", None)
    return [(str(path), raw), *(layers(path.parent / base) if base else [])]


def merged(parts: list[tuple[str, dict]]) -> dict:
    """Layers as one mapping."""
    return functools.reduce(merge, (raw for _, raw in reversed(parts)), {})


def read(path: str | Path) -> dict:
    """The mapping a scale's file stands for."""
    return merged(layers(path))


def validate(parts: list[tuple[str, dict]]) -> Params:
    """The params of layers; an error names the layer that the key stands in."""
    try:
        return Params(**merged(parts))
    except ValidationError as error:
        lines = (f"{_where(parts, e)}: {describe(e)}" for e in error.errors())
        raise UserError("\n".join(lines)) from None


def _where(parts: list[tuple[str, dict]], error: dict) -> str:
    """The layer that holds most of the path to an error's key, the overruling one if several do."""
    keys = [str(key) for key in error["loc"]]
    said = re.match(r"([a-z_]+(?:\.[\w-]+)+)(?:: (\w+): )?", error["msg"])  # by the validators of Params itself
    keys += [*said[1].split("."), *([said[2]] if said[2] else [])] if said else []
    keys += re.findall(r"unknown key '([^']*)'", error["msg"])

    def depth(raw) -> int:
        for i, key in enumerate(keys):
            if not isinstance(raw, dict) or key not in raw:
                return i
            raw = raw[key]
        return len(keys)

    return max(parts, key=lambda part: depth(part[1]))[0]


def load(path: str | Path, overrides: dict | None = None) -> Params:
    """The params of one scale. Raises UserError naming the file, the key and, for a misspelt one, the nearest name."""
    return validate(([("overrides", overrides)] if overrides else []) + layers(path))


class Row(Strict):
    """A row of a table. Without a model it is quoted; `paper` holds the numbers that the paper prints."""

    group: str = ""
    method: str
    model: str | None = None
    paper: dict[str, int | float] = {}


class Table(Strict):
    title: str
    note: str | None = None
    columns: dict[Literal["linear", "attentive"], str]  # evaluation: heading
    rows: list[Row]


def load_tables(path: str | Path, models) -> dict[str, Table]:
    """The tables of params/tables.yaml; UserError for an unknown key, evaluation or model (`models`: the valid names)."""
    tables = {}
    for name, raw in read(path).items():
        try:
            tables[name] = Table.model_validate(raw)
        except ValidationError as error:
            raise UserError("\n".join(f"{path}: {name}: {describe(e)}" for e in error.errors())) from None
        for row in tables[name].rows:
            if row.model and row.model not in models:
                raise UserError(f"{path}: {name}: model: {unknown(row.model, models)}")
            if bad := row.paper.keys() - {"epochs", *tables[name].columns}:
                raise UserError(
                    f"{path}: {name}: {row.method}: paper: {unknown(min(bad), ['epochs', *tables[name].columns])}"
                )
    return tables
