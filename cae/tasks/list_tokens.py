"""The token cache's shards, checked and listed."""

from cae.data.datasets import Images
from cae.files import read_json
from cae.options import Data, Inputs, OutputFile, Tokenizer, params_of
from cae.params import Image, Strict, View
from cae.tokenizers import cache


class TokensJob(Strict):
    seed: int
    view: View
    image: Image


def main(*inputs: Inputs, data: Data, tokenizer: Tokenizer, params: params_of(TokensJob), output: OutputFile) -> None:
    """List the parts of a token cache in its manifest."""
    images = Images(data, 0)
    about = read_json(tokenizer / "tokenizer.json")
    shape = (len(images), params.view.views, params.image.grid, params.image.grid)
    cache.list_shards(list(inputs), output, shape, cache.identity(images.fingerprint, about, params.seed, params.view))
