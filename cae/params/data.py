"""`datasets`, `image`, `view`, `mask`: where images lie, their patches, crops and masks; how training disturbs them."""

from typing import Annotated, Literal, get_args

from pydantic import Field

from cae.params.strict import Pair, Positive, Share, Strict

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


class Supervision(Strict):
    """How images and labels are disturbed in supervised training (DeiT's recipe, and BEiT's for fine-tuning)."""

    randaugment: str  # timm's notation
    erasing: Share  # how often
    mixup: Annotated[float, Field(ge=0)]  # of the Beta distribution; 0: none
    cutmix: Annotated[float, Field(ge=0)]
    smoothing: Share
