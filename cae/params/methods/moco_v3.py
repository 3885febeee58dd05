"""MoCo v3's params."""

from typing import ClassVar, Literal

from cae.params.models import Pretraining
from cae.params.recipes import Recipe
from cae.params.strict import Positive, Share


class MoCoV3Recipe(Recipe):
    crops: ClassVar = 2
    hidden_width: Positive
    output_width: Positive
    temperature: float
    momentum: Share


class MoCoV3Model(Pretraining, MoCoV3Recipe):
    title: ClassVar = "MoCo v3"
    contrasts_one_pass: ClassVar = True
    has_releases: ClassVar = True

    method: Literal["moco_v3"]


recipe, model = MoCoV3Recipe, MoCoV3Model
