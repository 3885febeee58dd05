"""A scale as a whole: its sections, what relates them to each other, and each job's part of them."""

import functools
from typing import Annotated

from pydantic import BaseModel, Field, ValidationError, model_validator

from cae.errors import UserError
from cae.params.ade20k import Segmentation, Segmentations
from cae.params.analyses import Analyses
from cae.params.coco import Detection, Detections
from cae.params.data import LAYOUTS, Crop, Dataset, Image, Mask, View
from cae.params.files import merge
from cae.params.finetune import FineTune, FineTunings
from cae.params.models import Pretraining, Size, read_model
from cae.params.probes import Probes
from cae.params.recipes import MaskedRecipe, Recipes
from cae.params.resources import AllResources
from cae.params.strict import Seed, Strict, describe, refusal, unknown
from cae.params.tokenizers import Tokenizer


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
