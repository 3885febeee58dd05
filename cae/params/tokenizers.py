"""`tokenizers`: trained here, or released."""

from typing import Annotated, Literal

from pydantic import Field

from cae.params.strict import SHA256, NonNegative, Pair, Positive, Strict


class DVAE(Strict):
    """A discrete VAE trained by the DAG."""

    kind: Literal["dvae"]
    source: Literal["built"]
    input_size: Positive
    vocabulary: Annotated[int, Field(ge=2, le=65536)]
    shards: Positive = 1
    width: Positive
    codebook_dim: Positive
    layers: NonNegative
    blocks: NonNegative
    epochs: Positive
    batch_size: Positive
    lr: float
    temperature: Pair  # Gumbel-softmax: from, to
    usage_weight: float

    def gives(self, grid: int) -> bool:
        """Whether `grid` tokens a side."""
        return self.input_size % (grid * 2**self.layers) == 0


class ReleasedTokenizer(Strict):
    """A published tokenizer, from the file of its weights. 8 pixels a side become one token."""

    source: Literal["released"]
    file: str
    sha256: SHA256 | None = None
    input_size: Positive
    vocabulary: Annotated[int, Field(ge=2, le=65536)]
    shards: Positive = 1

    def gives(self, grid: int) -> bool:
        return self.input_size == 8 * grid


class DALLE(ReleasedTokenizer):
    kind: Literal["dalle"]


class VQGAN(ReleasedTokenizer):
    kind: Literal["vqgan"]


Tokenizer = Annotated[DVAE | DALLE | VQGAN, Field(discriminator="kind")]
