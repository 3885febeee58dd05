"""What the recipes of all methods have: how a method pretrains. Each method's own keys are in `cae/params/methods/`."""

from typing import Any, ClassVar, Literal

from pydantic import ValidationInfo, field_validator

from cae.params.data import Crop, Masking, View
from cae.params.strict import Pair, Positive, Rate, Share, Strict, refusal, unknown

# First weights: the public code's (a method's patch embedding or all of it is drawn from a narrow normal distribution, whatever
# its width), or those of all linear layers and of the patch embedding by Xavier. Models from before it was asked are public.
Init = Literal["public", "xavier"]


class Recipe(Strict):
    """How a method pretrains: a default for all its models, and what a model may override."""

    crops: ClassVar[int | None] = 1  # that a step compares, of each image; None where it learns labels
    drop_path: Share = 0.0
    layer_scale: float | None = None  # in place of the size's; 0: none
    view: dict = {}  # what differs from the view that all share
    batch_size: Positive
    micro_batch: Positive
    lr: Rate
    min_lr: float
    betas: Pair
    weight_decay: float
    clip: float | None = None

    @field_validator("view", "mask", check_fields=False)
    @classmethod
    def refuse_unknown_parts(cls, value: Any, info: ValidationInfo) -> Any:
        view = View if issubclass(cls, MaskedRecipe) else Crop
        valid = {"view": view, "mask": Masking}[info.field_name].model_fields
        for key in value if isinstance(value, dict) else ():  # of a model they are whole, and typed
            if key not in valid:
                raise refusal(unknown(key, valid))
        return value


class MaskedRecipe(Recipe):
    mask: dict = {}  # what differs from the mask that all share
