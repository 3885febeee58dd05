"""`finetune`, and what `transfer` has different: training all of an encoder with labels."""

from typing import Annotated

from pydantic import Field, model_validator

from cae.params.data import Crop, Supervision
from cae.params.downstream import Downstream
from cae.params.strict import Name, NonNegative, Positive, Rate, Strict, refusal


class FineTuneSize(Strict):
    """What fine-tuning gives each size of encoder by itself."""

    epochs: Positive
    lr: Rate
    layer_decay: Annotated[float, Field(gt=0, le=1)]  # a layer's rate is lr times this for each layer above it
    drop_path: Annotated[float, Field(ge=0, lt=1)]


class FineTuneShared(Downstream, Supervision):
    step = "finetune"

    warmup_epochs: NonNegative
    min_lr: float
    relative_positions: bool  # biases of attention, from zero, beside the encoder's own positions
    view: Crop


class FineTune(FineTuneShared, FineTuneSize):
    """Fine-tuning of one size of encoder, complete."""


class FineTunings(FineTuneShared):
    sizes: dict[Name, FineTuneSize]

    @model_validator(mode="after")
    def trainable(self):
        if self.micro_batch % 2:
            raise refusal(f"micro_batch {self.micro_batch} is odd: images are mixed in pairs")
        for name, size in self.sizes.items():
            if self.warmup_epochs >= size.epochs:
                raise refusal(f"warmup_epochs {self.warmup_epochs} leaves none of the {size.epochs} epochs of {name}")
        return self
