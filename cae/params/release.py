"""A model that was released: what its import depends on."""

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator

from cae.params.data import Image
from cae.params.methods import METHODS
from cae.params.models import Size
from cae.params.strict import SHA256, NonNegative, Share, refusal


def _with_releases(method: str) -> str:
    if method not in (known := [name for name, model in METHODS.items() if model.has_releases]):
        raise refusal(f"no official checkpoint of {method!r} can be imported; one of: {', '.join(known)}")
    return method


class Release(Size):
    """A released model's shape and its file; not how it was trained."""

    method: Annotated[str, AfterValidator(_with_releases)]
    source: Literal["released"]
    file: str
    sha256: SHA256 | None = None
    image: Image
    epochs: NonNegative
    # of a whole CAE
    target: Literal["tokens", "pixels"] = "tokens"
    regressor_depth: NonNegative = 0
    decoder_depth: NonNegative = 0
    alignment_momentum: Share = 0.0
    drop_path: ClassVar[float] = 0.0  # this and the next for the classes of models, which ask
    init: ClassVar[str] = "public"
