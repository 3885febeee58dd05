"""data2vec's params."""

from typing import ClassVar, Literal

from cae.params.models import MaskedPretraining
from cae.params.recipes import Init, MaskedRecipe
from cae.params.strict import Positive, Rate, Share


class Data2VecRecipe(MaskedRecipe):
    target_blocks: Positive  # of the teacher, the last so many, or all; their outputs' mean is the target
    beta: Rate  # from where smooth L1 is linear
    momentum: Share
    attention_drop: Share  # dropout of attention weights
    init: Init = "public"


class Data2VecModel(MaskedPretraining, Data2VecRecipe):
    title: ClassVar = "data2vec"
    timm_class: ClassVar = "Beit"

    method: Literal["data2vec"]


recipe, model = Data2VecRecipe, Data2VecModel
