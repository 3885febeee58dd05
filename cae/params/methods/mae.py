"""MAE's params."""

from typing import ClassVar, Literal

from pydantic import model_validator

from cae.params.models import MaskedPretraining
from cae.params.recipes import MaskedRecipe
from cae.params.strict import Positive, refusal


class MAERecipe(MaskedRecipe):
    decoder_width: Positive
    decoder_depth: Positive
    decoder_heads: Positive
    normalise_targets: bool


class MAEModel(MaskedPretraining, MAERecipe):
    title: ClassVar = "MAE"
    has_releases: ClassVar = True

    method: Literal["mae"]

    @model_validator(mode="after")
    def decoder_fits(self):
        if self.decoder_width % self.decoder_heads or self.decoder_width % 4:
            raise refusal(
                f"decoder_width {self.decoder_width} is not a multiple of 4 and of decoder_heads {self.decoder_heads}"
            )
        return self


recipe, model = MAERecipe, MAEModel
