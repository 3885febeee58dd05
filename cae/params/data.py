"""`datasets`, `image`, `view`, `mask`: where images lie, their patches, crops and masks; how training disturbs them."""

from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, Field, model_validator

from cae.params.strict import Areas, Name, Pair, Positive, Share, Strict, refusal

Layout = Literal["imagenet", "ade20k", "coco", "food101", "clipart", "sketch"]
LAYOUTS = get_args(Layout)


def of_eight_bits(classes: int) -> int:
    if classes > 255:
        raise refusal(
            f"{classes} is above 255, the most that label maps of 8 bits have; merge classes in the label maps"
        )
    return classes


class Dataset(Strict):
    layout: Layout
    root: str
    classes: Annotated[Positive, AfterValidator(of_eight_bits)] | None = (
        None  # of pixel labels; images in folders count themselves
    )
    # Of data that the project makes: how many images to train on and to validate on, if not as many as it would.
    scenes: Annotated[list[Positive], Field(min_length=2, max_length=2)] | None = None
    unreadable: Literal["stop", "skip"] = "stop"  # at an image that cannot be used; skip: it is left out, and recorded

    @model_validator(mode="after")
    def skips_what_it_lists(self):
        if self.layout == "coco" and self.unreadable == "skip":
            raise refusal("COCO's images are those of its annotations: take one out of both", "unreadable")
        return self


def _in_their_layouts(datasets: dict[str, Dataset]) -> dict[str, Dataset]:
    for name, dataset in datasets.items():
        if name in LAYOUTS and dataset.layout != name:
            raise refusal(f"{dataset.layout}: this data set is read in the layout {name}", name, "layout")
    return datasets


Datasets = Annotated[dict[Name, Dataset], AfterValidator(_in_their_layouts)]


class Image(Strict):
    size: Positive
    patch: Positive

    @model_validator(mode="after")
    def of_whole_patches(self):
        if self.size % self.patch:
            raise refusal(f"size {self.size} is not a multiple of patch {self.patch}")
        return self

    @property
    def grid(self) -> int:
        return self.size // self.patch


class Crop(Strict):
    scale: Areas
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


class Masking(Mask):
    """A mask as params say it: how many patches, or which share of them."""

    count: Positive | None = None
    share: Annotated[float, Field(gt=0, lt=1)] | None = None

    @model_validator(mode="after")
    def count_or_share(self):
        if (self.count is None) == (self.share is None):
            raise refusal("needs either `count` or `share`")
        return self


class Masked(Strict):
    """A mask, and the image that its share is of."""

    image: Image
    mask: Masking

    @property
    def counted(self) -> Mask:
        """What jobs are told; of a share at least one patch is masked, and one visible."""
        patches = self.image.grid**2
        count = self.mask.count or min(max(1, round(self.mask.share * patches)), patches - 1)
        return Mask(**self.mask.model_dump(exclude={"count", "share"}), count=count)


class Supervision(Strict):
    """How images and labels are disturbed in supervised training (DeiT's recipe, and BEiT's for fine-tuning)."""

    randaugment: str  # timm's notation
    erasing: Share  # how often
    mixup: Annotated[float, Field(ge=0)]  # of the Beta distribution; 0: none
    cutmix: Annotated[float, Field(ge=0)]
    smoothing: Share
