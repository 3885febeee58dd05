"""The token cache's shards, checked and listed."""

from pathlib import Path

from cae.data.datasets import Images
from cae.files import read_json
from cae.params import Image, Strict, View
from cae.tokenizers import cache


class TokensJob(Strict):
    seed: int
    view: View
    image: Image


def main(data: Path, tokenizer: Path, params: TokensJob, shards: list[Path], output: Path) -> None:
    images = Images(data, 0)
    about = read_json(tokenizer / "tokenizer.json")
    shape = (len(images), params.view.views, params.image.grid, params.image.grid)
    cache.list_shards(shards, output, shape, cache.identity(images.fingerprint, about, params.seed, params.view))
