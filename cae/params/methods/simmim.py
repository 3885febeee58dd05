"""SimMIM's params."""

from typing import ClassVar, Literal

from cae.params.models import MaskedPretraining
from cae.params.recipes import Init, MaskedRecipe
from cae.params.strict import Positive


class SimMIMRecipe(MaskedRecipe):
    square: Positive  # patches a side of what a random mask is made of
    init: Init = "public"


class SimMIMModel(MaskedPretraining, SimMIMRecipe):
    title: ClassVar = "SimMIM"
    timm_class: ClassVar = "Beit"

    method: Literal["simmim"]


recipe, model = SimMIMRecipe, SimMIMModel
