"""`sizes`, and what the params of all pretrained models have. Each method's own model is in `cae/params/methods/`."""

from collections.abc import Callable
from typing import Any, ClassVar, Literal

from pydantic import model_serializer, model_validator

from cae.params.data import Crop, Image, Mask, View
from cae.params.strict import SHA256, NonNegative, Positive, Precision, Seed, Strict, refusal


class Size(Strict):
    width: Positive
    depth: Positive
    heads: Positive
    layer_scale: float


class Pretraining(Size):
    """One model, complete: size, recipe, schedule, and the crops it sees; or the file it was released in.

    Class attributes are facts about its method. Code outside of the method's files asks for these, never for its name.
    """

    title: ClassVar[str]  # for readers
    timm_class: ClassVar[str] = "VisionTransformer"  # of its encoder; or "Beit", whose blocks share relative positions
    learns_labels: ClassVar[bool] = False  # and so its encoder has a classifier
    contrasts_one_pass: ClassVar[bool] = False  # an image with the others of its pass, so that a batch is one pass
    has_releases: ClassVar[bool] = False  # whether `cae/released/` imports its official checkpoints
    usual_target: ClassVar[str | None] = None  # what it predicts in its paper, where params choose
    # Keys of its recipe that shape its encoder's first weights; None: all may, but those that every recipe has.
    first_weights: ClassVar[tuple[str, ...] | None] = None
    # Keys that are younger than trained models, with the value that these have of them. JSON leaves them out at that value, so
    # that a job is told what it was told before, and runs no model again.
    later: ClassVar[dict[str, Any]] = {}

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
        predicts = self.is_trained and getattr(self, "target", "tokens") == "tokens"
        return getattr(self, "tokenizer", None) if predicts else None

    def choices(self, vocabulary: int, classes: int) -> int | None:
        """How many tokens or classes it chooses from; None where it predicts something else."""
        return vocabulary if self.target_tokenizer else classes if self.learns_labels else None

    @property
    def is_trained(self) -> bool:
        """Whether it is trained here, and not left as initialised or imported."""
        return self.source == "built" and self.epochs > 0

    @property
    def draws_images(self) -> bool:
        """Whether its decoder makes pixels of its encoder's latents (Figure 4)."""
        return False

    @model_serializer(mode="wrap")
    def without_later_keys(self, serialise: Callable) -> dict[str, Any]:
        return {key: value for key, value in serialise(self).items() if self.later.get(key, ...) != value}

    @model_validator(mode="after")
    def consistent(self):
        if (self.source == "released") != bool(self.file):
            raise refusal("a released model names its `file`, a built one has none")
        if self.source == "released" and not self.has_releases:
            raise refusal(f"no official checkpoint of {self.title} can be imported; set `source: built`", "source")
        if self.width % self.heads:
            raise refusal(f"width {self.width} is not a multiple of heads {self.heads}")
        if self.is_trained:
            self.trainable()
        return self

    def trainable(self) -> None:
        if self.batch_size % self.micro_batch:
            raise refusal(f"batch_size {self.batch_size} is not a multiple of micro_batch {self.micro_batch}")
        if self.warmup_epochs >= self.epochs:
            raise refusal(f"warmup_epochs {self.warmup_epochs} leaves none of the {self.epochs} epochs")


class MaskedPretraining(Pretraining):
    """A model that sees some patches of numbered views, and predicts others."""

    view: View
    mask: Mask

    def trainable(self) -> None:
        super().trainable()
        if self.mask.count >= (patches := self.image.grid**2):
            raise refusal(f"{self.mask.count} masked of {patches} patches leave none visible", "mask", "count")
