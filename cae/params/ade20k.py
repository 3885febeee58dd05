"""`ade20k`: semantic segmentation."""

from typing import Annotated

from pydantic import Field, model_validator

from cae.params.downstream import Downstream
from cae.params.strict import Name, NonNegative, Pair, Positive, Rate, Share, Strict, refusal


class SegmentationOfSize(Strict):
    layer_decay: Annotated[float, Field(gt=0, le=1)]
    drop_path: Annotated[float, Field(ge=0, lt=1)]
    channels: Positive  # of UperNet


class SegmentationSize(SegmentationOfSize):
    """What segmentation gives each size of encoder by itself."""

    lrs: Annotated[list[Rate], Field(min_length=1)]  # the best of them counts


class SegmentationShared(Downstream):
    step = "segment"

    steps: Positive
    warmup_steps: NonNegative
    micro_batch: Annotated[int, Field(ge=2)]  # the mean of a single image has no variance for its batch norm
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
    sizes: dict[Name, SegmentationSize]

    @model_validator(mode="after")
    def trainable(self):
        if self.warmup_steps >= self.steps:
            raise refusal(f"warmup_steps {self.warmup_steps} leaves none of the {self.steps} steps")
        if self.stride > self.crop:
            raise refusal(f"stride {self.stride} is above crop {self.crop}: windows would leave gaps")
        if self.scale[0] < self.scale[1]:
            raise refusal(f"scale {self.scale} is not the long side and then the short one")
        return self
