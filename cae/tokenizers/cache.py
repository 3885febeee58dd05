"""The token cache: every image's tokens in each of its K views, computed once and read by every pretraining run.

It stays in the shards in which it was made, of consecutive images: uint16 [images, views, grid, grid] each, memory-mapped.
`shards.json` lists them, `manifest.json` says what they belong to, and is the same however the work was cut. Views are pure
functions of (seed, image, view), so cached tokens are those that a run would compute itself. As many views as epochs is the
paper exactly: 392 bytes a view at 14 x 14 tokens, 0.5 GB for ImageNet.
"""

import hashlib
import mmap
import os
from pathlib import Path

import numpy as np

from cae.errors import UserError
from cae.files import read_json, write_json
from cae.params import View

DTYPE = np.uint16
SAMPLE = 1000  # images whose tokens the manifest holds a hash of: the manifest stands for a file too large to hash


def identity(fingerprint: str, tokenizer: dict, seed: int, view: View) -> dict:
    """What a token depends on. `tokenizer` is its tokenizer.json."""
    return {
        "dataset": fingerprint, "tokenizer": tokenizer["sha256"], "input_size": tokenizer["params"]["input_size"],
        "seed": seed, "view": view.model_dump(),
    }  # fmt: skip


def create(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """A new memory-mapped token file. Its room is taken first: on a full disk a memory-mapped write ends without a word."""
    size = np.prod(shape, dtype=np.int64) * DTYPE().itemsize
    try:
        tokens = np.lib.format.open_memmap(path, "w+", DTYPE, shape)
        with open(path, "rb+") as file:
            os.posix_fallocate(file.fileno(), 0, int(tokens.offset + size))
    except OSError as error:
        path.unlink(missing_ok=True)
        raise UserError(
            f"{path}: no room for {size / 1e9:.1f} GB ({error.strerror}); make room, or lower view.views"
        ) from None
    return tokens


class Tokens:
    """Shards as one array: tokens[indices [B], view] is uint16 [B, grid, grid]."""

    def __init__(self, shards: list[np.ndarray]):
        self.shards = shards
        self.starts = np.cumsum([0, *map(len, shards)])
        self.shape = (int(self.starts[-1]), *shards[0].shape[1:])

    def __getitem__(self, key: tuple[np.ndarray, int]) -> np.ndarray:
        indices, view = key
        of = np.searchsorted(self.starts, indices, "right") - 1
        tokens = np.empty((len(indices), *self.shape[2:]), DTYPE)
        for shard in np.unique(of):
            mine = of == shard
            tokens[mine] = self.shards[shard][indices[mine] - self.starts[shard], view]
        return tokens


def list_shards(paths: list[Path], output: Path, shape: tuple[int, ...], belongs_to: dict) -> None:
    """Write shards.json and manifest.json of the cache in the folder `output`, once its shards, in order, make up `shape`."""
    tokens = Tokens(list(map(_open, paths)))
    if tokens.shape != shape:
        raise UserError(f"{paths[0].parent}: the shards hold {tokens.shape}, the data set has {shape}; make them again")
    sample, every = hashlib.sha256(), -(-shape[0] // SAMPLE)
    for shard, start in zip(tokens.shards, tokens.starts):
        sample.update(shard[-start % every :: every].tobytes())  # whole images: read one after the other
    write_json(output / "shards.json", [os.path.relpath(path, output) for path in paths])
    about = {"shape": list(shape), "sample": sample.hexdigest()}
    write_json(output / "manifest.json", about | belongs_to)


def open_cache(folder: Path, shape: tuple[int, ...], belongs_to: dict) -> Tokens:
    """The cache's tokens; UserError where it belongs to another data set, tokenizer, seed or view recipe, or is damaged."""
    manifest = read_json(folder / "manifest.json")
    for key, value in {"shape": list(shape), **belongs_to}.items():
        if manifest.get(key) != value:
            raise UserError(
                f"{folder / 'manifest.json'}: {key} is {manifest.get(key)}, this run has {value}; "
                f"delete {folder} and make the cache again"
            )
    tokens = Tokens([_open(folder / path) for path in read_json(folder / "shards.json")])
    if tokens.shape != shape:
        raise UserError(
            f"{folder}: the shards hold {tokens.shape}, their manifest says {shape}; delete it and make it again"
        )
    return tokens


def _open(path: Path) -> np.ndarray:
    """A shard, memory-mapped. The kernel is told that rows are read at random: else it reads up to megabytes ahead of each
    one's 392 bytes."""
    try:
        tokens = np.load(path, mmap_mode="r")
        tokens.base.madvise(mmap.MADV_RANDOM)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not a readable token cache ({error}); delete it and make it again") from None
    if tokens.dtype != DTYPE:
        raise UserError(f"{path}: {tokens.dtype} is not a token cache's {DTYPE.__name__}; delete it and make it again")
    return tokens
