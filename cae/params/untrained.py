"""A model of no epochs: what its first weights depend on, and nothing else."""

from typing import Annotated, ClassVar, Literal, Union

from pydantic import Field, create_model

from cae.params.data import Image
from cae.params.methods import FILES, METHODS
from cae.params.models import Pretraining, Size
from cae.params.recipes import MaskedRecipe
from cae.params.strict import Seed

TRAINING = {*MaskedRecipe.model_fields, "tokenizer"} - {"layer_scale"}  # keys of recipes that shape no weights


class UntrainedModel(Size):
    """An encoder as its method initialises it."""

    source: Literal["built"] = "built"
    image: Image
    epochs: Literal[0] = 0
    seed: Seed
    drop_path: ClassVar[float] = 0.0  # which methods ask for


def _of(method: str) -> type[UntrainedModel]:
    """Return the untrained model of a method, with those keys of its recipe that shape the encoder's first weights."""
    model, recipe = METHODS[method], FILES[method].recipe
    named = model.first_weights
    keys = [key for key in recipe.model_fields if key not in TRAINING] if named is None else named
    own = {key: (model.model_fields[key].annotation, model.model_fields[key]) for key in keys}
    own["method"] = Literal[method], ...
    return create_model(f"Untrained{model.__name__}", __base__=UntrainedModel, __module__=__name__, **own)


_UNTRAINED = {method: _of(method) for method in METHODS}
Untrained = Annotated[Union[tuple(_UNTRAINED.values())], Field(discriminator="method")]  # noqa: UP007


def untrained(params: Pretraining) -> UntrainedModel:
    """Return what the first weights of a model of no epochs depend on."""
    kind = _UNTRAINED[params.method]
    return kind(**{key: getattr(params, key) for key in kind.model_fields})
