"""CAE's params (paper §2)."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from cae.params.models import MaskedPretraining
from cae.params.recipes import Init, MaskedRecipe
from cae.params.strict import NonNegative, Positive, Share


class CAERecipe(MaskedRecipe):
    target: Literal["tokens", "pixels"]
    normalise_targets: bool = False  # of pixels: each patch by its own mean and variance
    tokenizer: str
    regressor_depth: Positive
    decoder_depth: NonNegative
    alignment_weight: Annotated[float, Field(ge=0)]
    alignment_momentum: Share  # 0: targets of the encoder itself; above: of its moving average
    init: Init = "public"


class CAEModel(MaskedPretraining, CAERecipe):
    title: ClassVar = "CAE"
    has_releases: ClassVar = True
    usual_target: ClassVar = "tokens"
    first_weights: ClassVar = ("init",)
    later: ClassVar = {"normalise_targets": False}

    method: Literal["cae"]

    @property
    def draws_images(self) -> bool:
        return self.is_trained and self.target == "pixels" and not self.normalise_targets


recipe, model = CAERecipe, CAEModel
