"""Typed params: load, merge, validate, in one place.

`load("params/demo.yaml")` merges a scale's differences over `base: paper.yaml` and checks every key and type.
Each job is given only the part it uses, as JSON (`Params.pretraining(model).model_dump_json()`).
"""

import difflib
import functools
import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from cae.errors import UserError

Positive = Annotated[int, Field(gt=0)]
NonNegative = Annotated[int, Field(ge=0)]
Pair = Annotated[list[float], Field(min_length=2, max_length=2)]
Share = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(gt=0)]
Seed = Annotated[int, Field(ge=0, lt=2**20)]  # the loop packs it into one number with step and process
SHA256 = Annotated[str, Field(pattern="^[0-9a-f]{8,64}$")]  # of a file; its beginning is enough


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


Layout = Literal["imagenet", "ade20k", "coco", "food101", "clipart", "sketch"]
LAYOUTS = get_args(Layout)


class Dataset(Strict):
    layout: Layout
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
    jitter: Annotated[float, Field(ge=0)] = 0.0  # of brightness, contrast and saturation, before the crop


class Mask(Strict):
    kind: Literal["block", "random"]
    count: Positive
    min_block: Positive
    min_aspect: Annotated[float, Field(gt=0, le=1)]


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


class ReleasedTokenizer(Strict):
    """A published tokenizer, from the file of its weights. 8 pixels a side become one token."""

    source: Literal["released"]
    file: str
    sha256: SHA256 | None = None
    input_size: Positive
    vocabulary: Annotated[int, Field(ge=2, le=65536)]
    shards: Positive = 1


class DALLE(ReleasedTokenizer):
    kind: Literal["dalle"]


class VQGAN(ReleasedTokenizer):
    kind: Literal["vqgan"]


Tokenizer = Annotated[DVAE | DALLE | VQGAN, Field(discriminator="kind")]


class Size(Strict):
    width: Positive
    depth: Positive
    heads: Positive
    layer_scale: float


class Recipe(Strict):
    """How a method pretrains: a default for all its models, and what a model may override."""

    drop_path: Share = 0.0
    layer_scale: float | None = None  # in place of the size's; 0: none
    view: dict = {}  # what differs from the view that all share
    batch_size: Positive
    micro_batch: Positive
    lr: Rate
    min_lr: float
    betas: Pair
    weight_decay: float
    clip: float | None = None

    @field_validator("view", "mask", check_fields=False)
    @classmethod
    def refuse_unknown_parts(cls, value: Any, info: ValidationInfo) -> Any:
        view = View if issubclass(cls, MaskedRecipe) else Crop
        valid = {"view": view, "mask": Mask}[info.field_name].model_fields
        for key in value if isinstance(value, dict) else ():  # of a model they are whole, and typed
            if key not in valid:
                raise refusal(unknown(key, valid), "unknown_key")
        return value


class MaskedRecipe(Recipe):
    mask: dict = {}  # what differs from the mask that all share


class CAERecipe(MaskedRecipe):
    target: Literal["tokens", "pixels"]
    tokenizer: str
    regressor_depth: Positive
    decoder_depth: NonNegative
    alignment_weight: Annotated[float, Field(ge=0)]
    alignment_momentum: Share  # 0: targets of the encoder itself; above: of its moving average


class BEiTRecipe(MaskedRecipe):
    tokenizer: str


class MAERecipe(MaskedRecipe):
    decoder_width: Positive
    decoder_depth: Positive
    decoder_heads: Positive
    normalise_targets: bool


class MoCoV3Recipe(Recipe):
    hidden_width: Positive
    output_width: Positive
    temperature: float
    momentum: Share


class DINORecipe(Recipe):
    local_crops: NonNegative
    local_size: Positive
    local_scale: Pair
    hidden_width: Positive
    bottleneck: Positive
    outputs: Positive
    student_temperature: float
    teacher_temperature: Pair  # from, to
    teacher_warmup_epochs: NonNegative
    momentum: Share
    centre_momentum: Share
    clip_each: float  # gradient norm of each parameter by itself
    final_weight_decay: float
    frozen_epochs: NonNegative  # of the head's last layer


class Supervision(Strict):
    """How images and labels are disturbed in supervised training (DeiT's recipe, and BEiT's for fine-tuning)."""

    randaugment: str  # timm's notation
    erasing: Share  # how often
    mixup: Annotated[float, Field(ge=0)]  # of the Beta distribution; 0: none
    cutmix: Annotated[float, Field(ge=0)]
    smoothing: Share


class DeiTRecipe(Recipe, Supervision):
    repeats: Positive
    ema: Share


class Recipes(Strict):
    cae: CAERecipe
    beit: BEiTRecipe
    mae: MAERecipe
    moco_v3: MoCoV3Recipe
    dino: DINORecipe
    deit: DeiTRecipe


class Pretraining(Size):
    """One model, complete: size, recipe, schedule, and the crops it sees; or the file it was released in."""

    source: Literal["built", "released"] = "built"
    file: str | None = None
    sha256: SHA256 | None = None
    image: Image
    epochs: NonNegative
    warmup_epochs: NonNegative = 0
    seed: Seed
    view: Crop

    @property
    def target_tokenizer(self) -> str | None:
        """The tokenizer whose tokens it learns to predict."""
        predicts = self.source == "built" and self.epochs > 0 and getattr(self, "target", "tokens") == "tokens"
        return getattr(self, "tokenizer", None) if predicts else None

    @model_validator(mode="after")
    def consistent(self):
        if (self.source == "released") != bool(self.file):
            raise refusal("a released model names its `file`, a built one has none")
        if self.width % self.heads:
            raise refusal(f"width {self.width} is not a multiple of heads {self.heads}")
        if self.source == "built":
            self.trainable()
        return self

    def trainable(self) -> None:
        if self.batch_size % self.micro_batch:
            raise refusal(f"batch_size {self.batch_size} is not a multiple of micro_batch {self.micro_batch}")
        if self.epochs and self.warmup_epochs >= self.epochs:
            raise refusal(f"warmup_epochs {self.warmup_epochs} leaves none of the {self.epochs} epochs")


class MaskedPretraining(Pretraining):
    """A model that sees some patches of numbered views, and predicts others."""

    view: View
    mask: Mask

    def trainable(self) -> None:
        super().trainable()
        if self.mask.count >= self.image.grid**2:
            raise refusal("mask.count leaves no patch visible")


class CAEModel(MaskedPretraining, CAERecipe):
    method: Literal["cae"]


class BEiTModel(MaskedPretraining, BEiTRecipe):
    method: Literal["beit"]


class MAEModel(MaskedPretraining, MAERecipe):
    method: Literal["mae"]

    @model_validator(mode="after")
    def decoder_fits(self):
        if self.decoder_width % self.decoder_heads or self.decoder_width % 4:
            raise refusal(
                f"decoder_width {self.decoder_width} is not a multiple of 4 and of decoder_heads {self.decoder_heads}"
            )
        return self


class MoCoV3Model(Pretraining, MoCoV3Recipe):
    method: Literal["moco_v3"]


class DINOModel(Pretraining, DINORecipe):
    method: Literal["dino"]

    @model_validator(mode="after")
    def crops_of_whole_patches(self):
        if self.local_size % self.image.patch:
            raise refusal(f"local_size {self.local_size} is not a multiple of image.patch {self.image.patch}")
        return self


class DeiTModel(Pretraining, DeiTRecipe):
    method: Literal["deit"]

    @model_validator(mode="after")
    def pairs_to_mix(self):
        if self.micro_batch % 2:
            raise refusal(f"micro_batch {self.micro_batch} is odd: images are mixed in pairs")
        return self


class Release(Size):
    """A released model as its import is told of it: its shape and its file; not how it was trained."""

    method: Literal["cae", "beit", "mae", "moco_v3", "dino", "deit"]
    source: Literal["released"]
    file: str
    sha256: SHA256 | None = None
    image: Image
    epochs: NonNegative
    # of a whole CAE
    target: Literal["tokens", "pixels"] = "tokens"
    regressor_depth: NonNegative = 0
    decoder_depth: NonNegative = 0
    alignment_momentum: Share = 0.0
    drop_path: ClassVar[float] = 0.0  # for the classes of models, which ask


Model = Annotated[CAEModel | BEiTModel | MAEModel | MoCoV3Model | DINOModel | DeiTModel, Field(discriminator="method")]
read_model = TypeAdapter(Model).validate_python  # a mapping to the typed params of one model


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


class FineTuneSize(Strict):
    """What fine-tuning gives each size of encoder by itself."""

    epochs: Positive
    lr: Rate
    layer_decay: Annotated[float, Field(gt=0, le=1)]  # a layer's rate is lr times this for each layer above it
    drop_path: Annotated[float, Field(ge=0, lt=1)]


class FineTuneShared(Supervision):
    warmup_epochs: NonNegative
    batch_size: Positive
    micro_batch: Positive
    min_lr: float
    betas: Pair
    weight_decay: float
    relative_positions: bool  # biases of attention, from zero, beside the encoder's own positions
    view: Crop


class FineTune(FineTuneShared, FineTuneSize):
    """Fine-tuning of one size of encoder, complete."""


class FineTunings(FineTuneShared):
    sizes: dict[str, FineTuneSize]

    @model_validator(mode="after")
    def trainable(self):
        if self.batch_size % self.micro_batch:
            raise refusal(f"batch_size {self.batch_size} is not a multiple of micro_batch {self.micro_batch}")
        if self.micro_batch % 2:
            raise refusal(f"micro_batch {self.micro_batch} is odd: images are mixed in pairs")
        for name, size in self.sizes.items():
            if self.warmup_epochs >= size.epochs:
                raise refusal(f"warmup_epochs {self.warmup_epochs} leaves none of the {size.epochs} epochs of {name}")
        return self


class SegmentationOfSize(Strict):
    layer_decay: Annotated[float, Field(gt=0, le=1)]
    drop_path: Annotated[float, Field(ge=0, lt=1)]
    channels: Positive  # of UperNet


class SegmentationSize(SegmentationOfSize):
    """What segmentation gives each size of encoder by itself."""

    lrs: Annotated[list[Rate], Field(min_length=1)]  # the best of them counts


class SegmentationShared(Strict):
    steps: Positive
    warmup_steps: NonNegative
    batch_size: Positive
    micro_batch: Annotated[int, Field(ge=2)]  # the mean of a single image has no variance for its batch norm
    betas: Pair
    weight_decay: float
    relative_positions: bool  # as in fine-tuning
    # Long and short side that an image is to fit in.
    scale: Annotated[list[Positive], Field(min_length=2, max_length=2)]
    ratio: Pair  # in training, from and to, of that scale
    crop: Positive
    max_share: Share  # of one class in a crop; 1: any
    flip: Share
    distort: bool  # colours
    stride: Positive  # of windows, in tests


class Segmentation(SegmentationShared, SegmentationOfSize):
    """Segmentation over one size of encoder at one learning rate, complete."""

    lr: Rate


class Segmentations(SegmentationShared):
    sizes: dict[str, SegmentationSize]

    @model_validator(mode="after")
    def trainable(self):
        if self.batch_size % self.micro_batch:
            raise refusal(f"batch_size {self.batch_size} is not a multiple of micro_batch {self.micro_batch}")
        if self.warmup_steps >= self.steps:
            raise refusal(f"warmup_steps {self.warmup_steps} leaves none of the {self.steps} steps")
        if self.stride > self.crop:
            raise refusal(f"stride {self.stride} is above crop {self.crop}: windows would leave gaps")
        if self.scale[0] < self.scale[1]:
            raise refusal(f"scale {self.scale} is not the long side and then the short one")
        return self


class CropPolicy(Strict):
    """A crop that half of the images see, before they are resized (DETR's)."""

    short_sides: Annotated[list[Positive], Field(min_length=1)]  # one of them, first
    range: Annotated[list[Positive], Field(min_length=2, max_length=2)]  # of the crop's sides


class DetectionSize(Strict):
    """What the detectors give each size of encoder by itself."""

    lr: Rate
    layer_decay: Annotated[float, Field(gt=0, le=1)]
    drop_path: Annotated[float, Field(ge=0, lt=1)]


class DetectionShared(Strict):
    epochs: Positive
    milestones: list[Positive]  # epochs after which the rate is a tenth
    warmup_steps: NonNegative
    warmup_ratio: Share  # of the rate, at first
    batch_size: Positive
    micro_batch: Positive
    betas: Pair
    weight_decay: float
    heads: Literal["public", "torchvision"]
    flip: Share
    crop: CropPolicy | None = None
    short_sides: Annotated[list[Positive], Field(min_length=1)]  # in training any of them, in tests the last
    long_side: Positive  # at most
    channels: Positive  # of the feature pyramid and of the heads' convolutions
    head_width: Positive
    proposals: Positive  # of the region proposal network, an image
    regions: Positive  # sampled of them in training, an image


class Detection(DetectionShared, DetectionSize):
    """A detector over one size of encoder, complete."""


class Detections(DetectionShared):
    sizes: dict[str, DetectionSize]

    @model_validator(mode="after")
    def trainable(self):
        if self.batch_size % self.micro_batch:
            raise refusal(f"batch_size {self.batch_size} is not a multiple of micro_batch {self.micro_batch}")
        if late := [epoch for epoch in self.milestones if epoch >= self.epochs]:
            raise refusal(f"milestones: {late[0]} is not before the last of {self.epochs} epochs")
        if self.short_sides != sorted(self.short_sides) or self.short_sides[-1] > self.long_side:
            raise refusal("short_sides: not in increasing order, or above long_side")
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
    finetune: Resources
    segment: Resources
    detect: Resources
    analyze: Resources
    report: Resources


class Params(Strict):
    scale: str
    seed: Seed
    datasets: dict[str, Dataset]
    image: Image
    view: View
    mask: Mask
    tokenizers: dict[str, Tokenizer]
    sizes: dict[str, Size]
    recipes: Recipes
    models: dict[str, dict]
    probes: Probes
    finetune: FineTunings
    ade20k: Segmentations
    coco: Detections
    transfer: dict  # what fine-tuning on other data sets than ImageNet has different
    analyses: Analyses
    panels: Annotated[list[str], Field(min_length=1)]  # models whose predictions the report shows
    resources: AllResources

    @model_validator(mode="after")
    def resolvable(self):
        grid = self.image.grid
        if self.image.size % self.image.patch:
            raise refusal("image: size is not a multiple of patch")
        if self.mask.count >= grid**2:
            raise refusal("mask.count leaves no patch visible")
        models = {name: self.pretraining(name) for name in self.models}
        wanted = {(model.target_tokenizer, model.image.grid) for model in models.values() if model.target_tokenizer}
        for name, grid in sorted(wanted):
            tokenizer = self.tokenizers[name]
            released = tokenizer.source == "released"
            per_token = 8 if released else 2**tokenizer.layers  # pixels a side, or a divisor of them
            side, rest = divmod(tokenizer.input_size, grid)
            if rest or side % per_token or (released and side != 8):
                message = (
                    f"tokenizers.{name}.input_size {tokenizer.input_size} does not give this tokenizer {grid} tokens a side, "
                    "one for each patch"
                )
                raise refusal(message)
        devices = max(1, self.resources.pretrain.gpus)
        for name, model in models.items():
            if model.source == "released":
                continue
            if model.batch_size % (model.micro_batch * devices):
                message = (
                    f"resources.pretrain.gpus: batch_size of {name} is not a multiple of micro_batch x {devices} GPUs"
                )
                raise refusal(message)
            if model.method == "moco_v3" and model.batch_size != model.micro_batch * devices:
                message = (
                    f"models.{name}: batch_size must be micro_batch x {devices} GPUs: a MoCo v3 image is contrasted with "
                    "those of one pass"
                )
                raise refusal(message)
        try:
            recipes = {"finetune": self.finetune, "transfer": self.transferring}
        except ValidationError as error:
            raise refusal("; ".join(f"transfer.{describe(e)}" for e in error.errors())) from None
        if self.ade20k.crop % (2 * self.image.patch):
            raise refusal(
                f"ade20k: crop {self.ade20k.crop} is not a multiple of two patches of {self.image.patch} pixels"
            )
        steps = dict.fromkeys(recipes, "finetune") | {"ade20k": "segment", "coco": "detect"}
        for name, recipe in (recipes | {"ade20k": self.ade20k, "coco": self.coco}).items():
            step = steps[name]
            devices = max(1, getattr(self.resources, step).gpus)
            if wrong := recipe.sizes.keys() - self.sizes.keys():
                raise refusal(f"{name}.sizes: {unknown(min(wrong), self.sizes)}")
            if recipe.batch_size % (recipe.micro_batch * devices):
                raise refusal(
                    f"resources.{step}.gpus: {name}.batch_size {recipe.batch_size} is not a multiple of micro_batch x "
                    f"{devices} GPUs"
                )
        for model in [*self.analyses.figure4.models, *self.analyses.figure5.models]:
            if model not in self.models:
                raise refusal(f"analyses: {unknown(model, self.models)}")
        if wrong := set(self.panels) - self.models.keys():
            raise refusal(f"panels: {unknown(min(wrong), self.models)}")
        for name in self.analyses.figure4.models:
            model = models[name]
            if (model.method, model.source, getattr(model, "target", None)) != ("cae", "built", "pixels"):
                raise refusal(f"analyses.figure4.models: {name} is not a CAE that is trained here to predict pixels")
        for name, dataset in self.datasets.items():
            if name in LAYOUTS and dataset.layout != name:
                raise refusal(f"datasets.{name}.layout: {dataset.layout}: this data set is read in the layout {name}")
        return self

    def pretraining(self, name: str) -> Pretraining:
        """The model `name`: what all share, its size, the method's recipe, its own entry, the later over the earlier."""

        def refuse(message):
            raise refusal(f"models.{name}: {message}")

        entry = dict(self.models[name])
        size, method = entry.pop("size", None), entry.get("method")
        if size not in self.sizes:
            refuse(f"size: {unknown(size, self.sizes)}")
        if method not in Recipes.model_fields:
            refuse(f"method: {unknown(method, Recipes.model_fields)}")
        recipe = getattr(self.recipes, method)
        masked = isinstance(recipe, MaskedRecipe)
        view = self.view if masked else Crop(**self.view.model_dump(include=set(Crop.model_fields)))
        shared = {"seed": self.seed, "image": self.image, "view": view} | ({"mask": self.mask} if masked else {})
        parts = [shared, self.sizes[size], recipe, entry]
        try:
            model = read_model(functools.reduce(merge, (plain(part) for part in parts)))
        except ValidationError as error:
            refuse("; ".join(describe({**e, "loc": e["loc"][1:]}) for e in error.errors()))
        if model.target_tokenizer and model.tokenizer not in self.tokenizers:
            refuse(f"tokenizer: {unknown(model.tokenizer, self.tokenizers)}")
        return model

    def finetuning(self, name: str, protocol: str = "finetune") -> FineTune:
        """How the model `name` is fine-tuned: what all share, and what its size has to itself."""
        shared = self.finetune if protocol == "finetune" else self.transferring
        return FineTune(**shared.model_dump(exclude={"sizes"}), **self._of_size(name, shared.sizes, "finetune"))

    def detecting(self, name: str) -> Detection:
        """How detectors are trained over the model `name`: what all share, and what its size has to itself."""
        return Detection(**self.coco.model_dump(exclude={"sizes"}), **self._of_size(name, self.coco.sizes, "coco"))

    def segmenting(self, name: str) -> dict[float, Segmentation]:
        """How segmentation is trained over the model `name`, by learning rate: what all share, and what its size has to
        itself."""
        one = self.ade20k.model_dump(exclude={"sizes"}) | self._of_size(name, self.ade20k.sizes, "ade20k")
        return {lr: Segmentation(**one, lr=lr) for lr in one.pop("lrs")}

    def _of_size(self, name: str, sizes: dict[str, Strict], section: str) -> dict:
        size = self.models[name]["size"]
        if size not in sizes:
            raise UserError(f"{section}.sizes: no recipe for the size {size!r} of {name}; there is: {', '.join(sizes)}")
        return sizes[size].model_dump()

    @property
    def transferring(self) -> FineTunings:
        return FineTunings.model_validate(merge(self.finetune.model_dump(), self.transfer))


def plain(part) -> dict:
    """A model, or a mapping of models, as plain mappings; what is not said is left out."""
    if isinstance(part, BaseModel):
        return part.model_dump(exclude_none=True)
    return {key: plain(value) if isinstance(value, BaseModel) else value for key, value in part.items()}


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
    """`over` laid on `base`, mapping by mapping; a null removes what the base says, or stays to remove what a further one
    says."""
    out = dict(base)
    for key, value in over.items():
        if value is None and key in out:
            out.pop(key)
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


Protocol = Literal[
    "finetune",
    "linear",
    "attentive",
    "supervised",
    "ade20k",
    "coco-mask",
    "coco-cascade",
    "food101",
    "clipart",
    "sketch",
]


PRIMARY = {"ade20k": "miou", "coco-mask": "box_ap", "coco-cascade": "box_ap"}  # metric of a protocol; of others top1


class Row(Strict):
    """A row of a table. Without a model it is quoted; `paper` holds the numbers that the paper prints.

    `cells`: the protocol behind each column that is run, where that is not every column by its own.
    """

    group: str = ""
    method: str
    model: str | None = None
    cells: dict[str, Protocol] | None = None
    paper: dict[str, int | float] = {}


class Column(Strict):
    """A column of a table: one metric of one evaluation."""

    heading: str
    protocol: Protocol
    metric: str


class Table(Strict):
    title: str
    note: str | None = None
    facts: list[Literal["epochs", "crops", "tokenizer"]] = ["epochs"]  # columns about the model itself
    columns: dict[str, Column]
    rows: list[Row]

    @field_validator("columns", mode="before")
    @classmethod
    def expand(cls, columns: Any) -> Any:
        """`ade20k: mIoU` is a protocol and its heading; `box_ap: {heading: AP, protocol: coco-mask}` a metric of one."""

        def whole(name, column):
            column = {"heading": column} if isinstance(column, str) else column
            return {"protocol": name, "metric": name if "protocol" in column else PRIMARY.get(name, "top1")} | column

        return {name: whole(name, column) for name, column in columns.items()}

    def cells_of(self, row: Row) -> dict[str, str]:
        """Column: protocol, of the cells of a row that are run."""
        every = {name: column.protocol for name, column in self.columns.items()}
        return {} if not row.model else every if row.cells is None else row.cells


def load_tables(path: str | Path, models) -> dict[str, Table]:
    """The tables of params/tables.yaml; UserError for an unknown key, evaluation or model (`models`: the valid names)."""
    tables = {}
    for name, raw in read(path).items():
        try:
            tables[name] = table = Table.model_validate(raw)
        except ValidationError as error:
            raise UserError("\n".join(f"{path}: {name}: {describe(e)}" for e in error.errors())) from None
        for row in table.rows:
            if row.model and row.model not in models:
                raise UserError(f"{path}: {name}: model: {unknown(row.model, models)}")
            valid = ["epochs", "crops", *table.columns]
            if bad := row.paper.keys() - set(valid):
                raise UserError(f"{path}: {name}: {row.method}: paper: {unknown(min(bad), valid)}")
            if bad := (row.cells or {}).keys() - table.columns.keys():
                raise UserError(f"{path}: {name}: {row.method}: cells: {unknown(min(bad), table.columns)}")
    return tables
