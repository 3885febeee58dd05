"""`analyses`: the figures that are computed."""

from typing import Annotated

from pydantic import Field

from cae.params.strict import Positive, Strict


class Figure3(Strict):
    images: Positive
    crops: Positive


class Figure4(Strict):
    models: Annotated[list[str], Field(min_length=2, max_length=2)]
    images: Positive


class Figure5(Strict):
    models: Annotated[list[str], Field(min_length=2, max_length=2)]
    images: Annotated[int, Field(ge=2)]  # the neighbours of a patch are also counted among other images alone
    patches_per_class: Positive


class Attention(Strict):
    models: Annotated[list[str], Field(min_length=1)]
    images: Positive  # that are shown; numbers are of all


class Analyses(Strict):
    figure3: Figure3
    figure4: Figure4
    figure5: Figure5
    figure6: Attention
    figure7: Attention
    figure9: Attention
