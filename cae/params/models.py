"""`sizes` and `models`: encoders, and each model complete, as its job is told."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, TypeAdapter, model_validator

from cae.params.data import Crop, Image, Mask, View
from cae.params.recipes import (
    BEiTRecipe,
    CAERecipe,
    Data2VecRecipe,
    DeiTRecipe,
    DINORecipe,
    MAERecipe,
    MoCoV3Recipe,
    SimMIMRecipe,
)
from cae.params.strict import SHA256, NonNegative, Positive, Precision, Seed, Share, Strict, refusal


class Size(Strict):
    width: Positive
    depth: Positive
    heads: Positive
    layer_scale: float


class Pretraining(Size):
    """One model, complete: size, recipe, schedule, and the crops it sees; or the file it was released in."""

    source: Literal["built", "released"] = "built"
    file: str | None = None
    sha256: SHA256 | None = None
    image: Image
    epochs: NonNegative
    warmup_epochs: NonNegative = 0
    seed: Seed
    precision: Precision = "auto"
    compile: bool = False
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
        if self.mask.count >= (patches := self.image.grid**2):
            raise refusal(f"{self.mask.count} masked of {patches} patches leave none visible", "mask", "count")


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


class SimMIMModel(MaskedPretraining, SimMIMRecipe):
    method: Literal["simmim"]


class Data2VecModel(MaskedPretraining, Data2VecRecipe):
    method: Literal["data2vec"]


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
    drop_path: ClassVar[float] = 0.0  # this and the next for the classes of models, which ask
    init: ClassVar[str] = "public"


Model = Annotated[
    CAEModel | BEiTModel | MAEModel | SimMIMModel | Data2VecModel | MoCoV3Model | DINOModel | DeiTModel,
    Field(discriminator="method"),
]
read_model = TypeAdapter(Model).validate_python  # a mapping to the typed params of one model
