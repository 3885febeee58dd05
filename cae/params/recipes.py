"""`recipes`: how each method pretrains."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator

from cae.params.data import Crop, Masking, Supervision, View
from cae.params.strict import Areas, NonNegative, Pair, Positive, Rate, Share, Strict, refusal, unknown

# First weights: the public code's (a method's patch embedding or all of it is drawn from a narrow normal distribution, whatever
# its width), or those of all linear layers and of the patch embedding by Xavier. Models from before it was asked are public.
Init = Literal["public", "xavier"]
RELATIVE = ("beit", "simmim", "data2vec")  # methods whose encoder is timm's Beit, with relative positions


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


class CAERecipe(MaskedRecipe):
    target: Literal["tokens", "pixels"]
    tokenizer: str
    regressor_depth: Positive
    decoder_depth: NonNegative
    alignment_weight: Annotated[float, Field(ge=0)]
    alignment_momentum: Share  # 0: targets of the encoder itself; above: of its moving average
    init: Init = "public"


class BEiTRecipe(MaskedRecipe):
    tokenizer: str
    init: Init = "public"


class MAERecipe(MaskedRecipe):
    decoder_width: Positive
    decoder_depth: Positive
    decoder_heads: Positive
    normalise_targets: bool


class SimMIMRecipe(MaskedRecipe):
    square: Positive  # patches a side of what a random mask is made of
    init: Init = "public"


class Data2VecRecipe(MaskedRecipe):
    target_blocks: Positive  # of the teacher, the last so many, or all; their outputs' mean is the target
    beta: Rate  # from where smooth L1 is linear
    momentum: Share
    attention_drop: Share  # dropout of attention weights
    init: Init = "public"


class MoCoV3Recipe(Recipe):
    crops: ClassVar = 2
    hidden_width: Positive
    output_width: Positive
    temperature: float
    momentum: Share


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


class DeiTRecipe(Recipe, Supervision):
    crops: ClassVar = None
    repeats: Positive
    ema: Share


class Recipes(Strict):
    cae: CAERecipe
    beit: BEiTRecipe
    mae: MAERecipe
    simmim: SimMIMRecipe
    data2vec: Data2VecRecipe
    moco_v3: MoCoV3Recipe
    dino: DINORecipe
    deit: DeiTRecipe
