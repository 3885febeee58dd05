"""The methods that can be pretrained: a line each, which names a method's files here and in `cae/methods/`."""

from importlib import import_module
from typing import Annotated, Union

from pydantic import Field, TypeAdapter, create_model

from cae.params.models import Pretraining
from cae.params.strict import Strict

NAMES = (  # in the order in which reports list them
    "cae",
    "beit",
    "mae",
    "simmim",
    "data2vec",
    "moco_v3",
    "dino",
    "deit",
)
FILES = {name: import_module(f"{__name__}.{name}") for name in NAMES}
METHODS: dict[str, type[Pretraining]] = {name: file.model for name, file in FILES.items()}

# `recipes`: how each method pretrains.
Recipes = create_model(
    "Recipes", __base__=Strict, __module__=__name__, **{name: file.recipe for name, file in FILES.items()}
)

Model = Annotated[Union[tuple(METHODS.values())], Field(discriminator="method")]  # noqa: UP007
read_model = TypeAdapter(Model).validate_python  # a mapping to the typed params of one model
