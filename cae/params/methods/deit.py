"""DeiT's params."""

from typing import ClassVar, Literal

from pydantic import model_validator

from cae.params.data import Supervision
from cae.params.models import Pretraining
from cae.params.recipes import Recipe
from cae.params.strict import Positive, Share, refusal


class DeiTRecipe(Recipe, Supervision):
    crops: ClassVar = None
    repeats: Positive
    ema: Share


class DeiTModel(Pretraining, DeiTRecipe):
    title: ClassVar = "DeiT"
    learns_labels: ClassVar = True
    has_releases: ClassVar = True

    method: Literal["deit"]

    @model_validator(mode="after")
    def pairs_to_mix(self):
        if self.micro_batch % 2:
            raise refusal(f"micro_batch {self.micro_batch} is odd: images are mixed in pairs")
        return self


recipe, model = DeiTRecipe, DeiTModel
