"""`finetune`, and what `transfer` and `few_labels` have different: training all of an encoder with labels."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from cae.params.data import Crop, Supervision
from cae.params.downstream import Downstream
from cae.params.strict import Name, NonNegative, Positive, Rate, Strict, refusal


def share_of_labels(name: str) -> float:
    """Of a training set, what a protocol of fine-tuning is given: `finetune-10` a tenth, any other all."""
    found = re.search(r"\bfinetune-(\d+(\.\d+)?)", name)
    return float(found[1]) / 100 if found else 1.0


def of_few_labels(protocol: str) -> str:
    if not re.fullmatch(r"finetune-\d+(\.\d+)?", protocol):
        raise refusal(f"{protocol!r}: fine-tuning with 10 % of the labels is named finetune-10")
    if not 0 < share_of_labels(protocol) < 1:
        raise refusal(f"{protocol!r}: a share of the labels is above 0 % and below 100 %")
    return protocol


FewLabels = Annotated[str, AfterValidator(of_few_labels)]


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

    labels: Annotated[float, Field(gt=0, le=1)] = 1.0  # share of the training images, of each class


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
