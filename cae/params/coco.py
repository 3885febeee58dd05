"""`coco`: object detection and instance segmentation."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from cae.params.downstream import Downstream
from cae.params.strict import Name, NonNegative, Positive, Rate, Share, Strict, refusal


class CropPolicy(Strict):
    """A crop that half of the images see, before they are resized (DETR's)."""

    short_sides: Annotated[list[Positive], Field(min_length=1)]  # one of them, first
    range: Annotated[list[Positive], Field(min_length=2, max_length=2)]  # of the crop's sides


class DetectionSize(Strict):
    """What the detectors give each size of encoder by itself."""

    lr: Rate
    layer_decay: Annotated[float, Field(gt=0, le=1)]
    drop_path: Annotated[float, Field(ge=0, lt=1)]


class DetectionShared(Downstream):
    step = "detect"

    epochs: Positive
    milestones: list[Positive]  # epochs after which the rate is a tenth
    warmup_steps: NonNegative
    warmup_ratio: Share  # of the rate, at first
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
    sizes: dict[Name, DetectionSize]

    @model_validator(mode="after")
    def trainable(self):
        if late := [epoch for epoch in self.milestones if epoch >= self.epochs]:
            raise refusal(f"milestones: {late[0]} is not before the last of {self.epochs} epochs")
        if self.milestones != sorted(set(self.milestones)):
            raise refusal("milestones: not in increasing order, each once")
        if self.short_sides != sorted(self.short_sides) or self.short_sides[-1] > self.long_side:
            raise refusal("short_sides: not in increasing order, or above long_side")
        return self
