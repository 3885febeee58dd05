"""BEiT's params."""

from typing import ClassVar, Literal

from cae.params.models import MaskedPretraining
from cae.params.recipes import Init, MaskedRecipe


class BEiTRecipe(MaskedRecipe):
    tokenizer: str
    init: Init = "public"


class BEiTModel(MaskedPretraining, BEiTRecipe):
    title: ClassVar = "BEiT"
    timm_class: ClassVar = "Beit"
    has_releases: ClassVar = True

    method: Literal["beit"]


recipe, model = BEiTRecipe, BEiTModel
