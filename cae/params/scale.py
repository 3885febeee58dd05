"""A scale as a whole: its sections, what relates them to each other, and each job's part of them."""

import functools
from typing import Annotated, Any

from pydantic import BaseModel, Field, TypeAdapter, ValidationError, model_validator

from cae.errors import UserError
from cae.params.ade20k import Segmentation, Segmentations
from cae.params.analyses import Analyses
from cae.params.coco import Detection, Detections
from cae.params.data import Crop, Datasets, Image, Mask, Masked, Masking, View
from cae.params.downstream import Downstream
from cae.params.files import depth, merge
from cae.params.finetune import FewLabels, FineTune, FineTunings, share_of_labels
from cae.params.methods import METHODS, Recipes, read_model
from cae.params.models import Pretraining, Size
from cae.params.probes import Probes
from cae.params.recipes import MaskedRecipe
from cae.params.resources import AllResources
from cae.params.strict import Name, Precision, Seed, Seeds, Strict, moved, refusal, unknown
from cae.params.tables import Protocol
from cae.params.tokenizers import Tokenizer


class Params(Strict):
    scale: Name
    seed: Seed
    seeds: Seeds | None = None  # of every model that names none; each is a run, the first as without any
    precision: Precision = "auto"
    compile: bool = False  # of pretraining, by torch.compile
    datasets: Datasets
    image: Image
    view: View
    mask: Masking
    tokenizers: dict[Name, Tokenizer]
    sizes: dict[Name, Size]
    recipes: Recipes
    models: dict[Name, dict | None]  # None: left out
    only: Annotated[list[str], Field(min_length=1)] | None = None  # all models but these are left out
    tables: list[str] = []  # those of params/tables.yaml that the paper has not and this scale shows
    cells: dict[Protocol, list[str]] = {}  # models that an evaluation is run on; all, where it is not named
    probes: Probes
    finetune: FineTunings
    ade20k: Segmentations
    coco: Detections
    transfer: dict  # what fine-tuning on other data sets than ImageNet has different
    few_labels: dict[FewLabels, dict] = {}  # what fine-tuning on a share of ImageNet's labels has different
    analyses: Analyses
    curves: list[str]  # models whose probing the report shows against their epochs
    panels: Annotated[list[str], Field(min_length=1)]  # models whose predictions the report shows
    resources: AllResources

    @model_validator(mode="before")
    @classmethod
    def leave_out(cls, data: Any) -> Any:
        only, models = (data.get("only"), data.get("models")) if isinstance(data, dict) else (None, None)
        if not isinstance(only, list) or not isinstance(models, dict):
            return data
        return data | {"models": {name: entry if name in only else None for name, entry in models.items()}}

    @model_validator(mode="after")
    def first_seeds_are_the_own(self):
        own = {("models", name): entry for name, entry in self.models.items() if entry}
        for place, part in {(): {"seed": self.seed, "seeds": self.seeds}, **own}.items():
            if part.get("seeds") is None:
                continue
            try:
                first, *_ = TypeAdapter(Seeds).validate_python(part["seeds"], strict=True)
            except ValidationError as error:
                raise moved(error, lambda key, place=place: (*place, "seeds", *key)) from None
            if first != (seed := part.get("seed", self.seed)):
                raise refusal(f"the first must be {seed}, the `seed` without further ones", *place, "seeds")
        return self

    @model_validator(mode="after")
    def names_are_known(self):
        for key, names in {
            ("only",): self.only or [],
            **{
                ("analyses", name, "models"): figure.models
                for name, figure in self.analyses
                if hasattr(figure, "models")
            },
            ("curves",): self.curves,
            ("panels",): self.panels,
            **{("cells", protocol): models for protocol, models in self.cells.items()},
        }.items():
            if wrong := [name for name in names if name not in self.models]:
                raise refusal(unknown(wrong[0], self.models), *key)
        for section, recipe in self.downstream().items():
            if wrong := recipe.sizes.keys() - self.sizes.keys():
                raise refusal(unknown(min(wrong), self.sizes), *section.split(".", 1), "sizes")
        return self

    @model_validator(mode="after")
    def models_fit(self):
        devices = self.resources.pretrain.devices
        for name, model in self.pretrainings().items():
            grid, wanted = model.image.grid, model.target_tokenizer
            if wanted and not self.tokenizers[wanted].gives(grid):
                size = self.tokenizers[wanted].input_size
                message = f"{size} does not give this tokenizer {grid} tokens a side, one for each patch"
                raise refusal(message, "tokenizers", wanted, "input_size")
            if name in self.analyses.figure4.models and not model.draws_images:
                message = f"{name} is not a CAE that is trained here to predict pixels that are not normalised"
                raise refusal(message, "analyses", "figure4", "models")
            if not model.is_trained:
                continue
            if model.batch_size % (model.micro_batch * devices):
                message = f"batch_size of {name} is not a multiple of micro_batch x {devices} GPUs"
                raise refusal(message, "resources", "pretrain", "gpus")
            if model.contrasts_one_pass and model.batch_size != model.micro_batch * devices:
                message = (
                    f"must be micro_batch x {devices} GPUs: {model.title} contrasts an image with those of one pass"
                )
                raise refusal(message, "models", name, "batch_size")
        return self

    @model_validator(mode="after")
    def downstream_fits(self):
        for section, recipe in self.downstream().items():
            devices = getattr(self.resources, recipe.step).devices
            if recipe.batch_size % (recipe.micro_batch * devices):
                message = f"batch_size {recipe.batch_size} is not a multiple of micro_batch x {devices} GPUs"
                raise refusal(f"{section}.{message}", "resources", recipe.step, "gpus")
        if self.ade20k.crop % (2 * self.image.patch):
            message = f"{self.ade20k.crop} is not a multiple of two patches of {self.image.patch} pixels"
            raise refusal(message, "ade20k", "crop")
        return self

    def pretrainings(self) -> dict[str, Pretraining]:
        """The models that are run, a model's further seeds behind it."""
        here = (name for name, entry in self.models.items() if entry is not None)
        return {each: self.pretraining(each) for name in here for each in self.seeded(name)}

    def seeded(self, name: str) -> list[str]:
        """The model `name` with each of its seeds: the plain name, and <name>@<seed> with those further ones that it lists,
        or the scale does where it names no seed of its own."""
        entry = self.models[name]
        seeds = entry.get("seeds") or (None if "seed" in entry else self.seeds) or [self.seed]
        return [name, *(f"{name}@{seed}" for seed in seeds[1:])]

    def evaluated(self, name: str, protocol: str) -> bool:
        """Whether `cells` lets a protocol evaluate the model `name`."""
        return protocol not in self.cells or name in self.cells[protocol]

    def seed_of(self, name: str) -> int:
        """The seed that a model is evaluated with."""
        _, further, seed = name.partition("@")
        return int(seed) if further else self.seed

    def entry(self, name: str) -> dict:
        """What `models` says of a model, or of one of its further seeds."""
        plain, further, seed = name.partition("@")
        entry = {key: value for key, value in self.models[plain].items() if key != "seeds"}
        return entry | ({"seed": int(seed)} if further else {})

    def pretraining(self, name: str) -> Pretraining:
        """The model `name`: what all share, its size, the method's recipe, its own entry, the later over the earlier."""
        own = ("models", name.partition("@")[0])
        entry = self.entry(name)
        size, method = entry.pop("size", None), entry.get("method")
        if size not in self.sizes:
            raise refusal(unknown(size, self.sizes), *own, "size")
        if method not in METHODS:
            raise refusal(unknown(method, METHODS), *own, "method")
        recipe = getattr(self.recipes, method)
        masked = isinstance(recipe, MaskedRecipe)
        view = self.view if masked else Crop(**self.view.model_dump(include=set(Crop.model_fields)))
        shared = {
            "seed": self.seed,
            "precision": self.precision,
            "compile": self.compile,
            "image": self.image,
            "view": view,
        } | ({"mask": self.mask} if masked else {})
        said = {(): shared, ("sizes", size): self.sizes[size], ("recipes", method): recipe, own: entry}
        said = {place: plain(part) for place, part in said.items()}
        whole = functools.reduce(merge, said.values())

        def place(key: tuple) -> tuple:
            """Where the params say it, the later before the earlier."""
            key = key[1:] if key[:1] == (method,) else key
            return next((where + key for where in reversed(said) if depth(said[where], key) == len(key)), own + key)

        try:
            if masked:
                whole["mask"] = Masked(**{key: whole.get(key) for key in Masked.model_fields}).counted.model_dump()
            model = read_model(whole)
        except ValidationError as error:
            raise moved(error, place) from None
        if model.target_tokenizer and model.tokenizer not in self.tokenizers:
            raise refusal(unknown(model.tokenizer, self.tokenizers), *place(("tokenizer",)))
        return model

    def finetuning(self, name: str, protocol: str = "finetune") -> FineTune:
        """How the model `name` is fine-tuned: what all share, and what its size has to itself."""
        shared = {"finetune": self.finetune, **self.few_labelled}.get(protocol) or self.transferring
        one = shared.model_dump(exclude={"sizes"}) | self._of_size(name, shared.sizes, "finetune")
        return FineTune(**one, labels=share_of_labels(protocol))

    def detecting(self, name: str) -> Detection:
        """How detectors are trained over the model `name`: what all share, and what its size has to itself."""
        return Detection(**self.coco.model_dump(exclude={"sizes"}), **self._of_size(name, self.coco.sizes, "coco"))

    def segmenting(self, name: str) -> dict[float, Segmentation]:
        """How segmentation is trained over the model `name`, by learning rate: what all share, and what its size has to
        itself."""
        one = self.ade20k.model_dump(exclude={"sizes"}) | self._of_size(name, self.ade20k.sizes, "ade20k")
        return {lr: Segmentation(**one, lr=lr) for lr in one.pop("lrs")}

    def _of_size(self, name: str, sizes: dict[str, Strict], section: str) -> dict:
        size = self.entry(name)["size"]
        if size not in sizes:
            raise UserError(f"{section}.sizes: no recipe for the size {size!r} of {name}; there is: {', '.join(sizes)}")
        return sizes[size].model_dump()

    def downstream(self) -> dict[str, Downstream]:
        """The sections of training over pretrained encoders."""
        few = ((f"few_labels.{protocol}", recipe) for protocol, recipe in self.few_labelled.items())
        sections = [*self, ("transfer", self.transferring), *few]
        return {name: section for name, section in sections if isinstance(section, Downstream)}

    @property
    def transferring(self) -> FineTunings:
        return self._unlike_finetune(self.transfer, "transfer")

    @property
    def few_labelled(self) -> dict[str, FineTunings]:
        """Fine-tuning on shares of the labels, by protocol."""
        return {name: self._unlike_finetune(other, "few_labels", name) for name, other in self.few_labels.items()}

    def _unlike_finetune(self, other: dict, *place: str) -> FineTunings:
        try:
            return FineTunings.model_validate(merge(self.finetune.model_dump(), other))
        except ValidationError as error:
            raise moved(error, lambda key: (*place, *key)) from None

    @property
    def shared_mask(self) -> Mask:
        return Masked(image=self.image, mask=self.mask).counted


def plain(part) -> dict:
    """A model, or a mapping of models, as plain mappings; what is not said is left out."""
    if isinstance(part, BaseModel):
        return part.model_dump(exclude_none=True)
    return {key: plain(value) if isinstance(value, BaseModel) else value for key, value in part.items()}
