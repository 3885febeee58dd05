"""DINO's params."""

from typing import ClassVar, Literal

from pydantic import model_validator

from cae.params.models import Pretraining
from cae.params.recipes import Recipe
from cae.params.strict import Areas, NonNegative, Pair, Positive, Share, refusal


class DINORecipe(Recipe):
    local_crops: NonNegative
    local_size: Positive
    local_scale: Areas
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

    @property
    def crops(self) -> int:
        return 2 + self.local_crops


class DINOModel(Pretraining, DINORecipe):
    title: ClassVar = "DINO"
    has_releases: ClassVar = True

    method: Literal["dino"]

    def trainable(self) -> None:
        super().trainable()
        if self.epochs and self.frozen_epochs >= self.epochs:
            raise refusal(
                f"frozen_epochs {self.frozen_epochs} leaves the head's last layer none of {self.epochs} epochs"
            )
        if self.epochs and self.teacher_warmup_epochs > self.epochs:
            raise refusal(f"teacher_warmup_epochs {self.teacher_warmup_epochs} is above epochs {self.epochs}")

    @model_validator(mode="after")
    def crops_of_whole_patches(self):
        if self.local_size % self.image.patch:
            raise refusal(f"local_size {self.local_size} is not a multiple of image.patch {self.image.patch}")
        return self


recipe, model = DINORecipe, DINOModel
