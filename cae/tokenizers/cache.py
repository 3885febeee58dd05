"""The token cache: every image's tokens in each of its K views, computed once and read by every pretraining run.

`tokens.npy` is uint16 [images, views, grid, grid], memory-mapped; `manifest.json` says what it belongs to. Views are
pure functions of (seed, image, view), so cached tokens are those that a run would compute itself. As many views as
epochs is the paper exactly: 392 bytes a view at 14 x 14 tokens, 0.5 GB for ImageNet.
"""

import hashlib
import mmap
import os
from pathlib import Path

import numpy as np

from cae.errors import UserError
from cae.files import atomic, read_json, write_json
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


def merge(shards: list[Path], output: Path, shape: tuple[int, ...], belongs_to: dict) -> None:
    """Join the shards, in order, to the cache in the folder `output`."""
    with atomic(output / "tokens.npy") as temporary:
        tokens = create(temporary, shape)
        start = 0
        for shard in shards:
            part = np.load(shard, mmap_mode="r")
            tokens[start : start + len(part)] = part
            start += len(part)
        if start != shape[0]:
            raise UserError(
                f"{shards[0].parent}: the shards hold {start} images, the data set has {shape[0]}; make them again"
            )
        tokens.flush()
        sample = hashlib.sha256(tokens[:: -(-shape[0] // SAMPLE)].tobytes()).hexdigest()
    write_json(output / "manifest.json", {"shape": list(shape), "sample": sample, **belongs_to})


def open_cache(folder: Path, shape: tuple[int, ...], belongs_to: dict) -> np.ndarray:
    """The cache's tokens, memory-mapped; UserError where it belongs to another data set, tokenizer, seed or view recipe.

    The kernel is told that rows are read at random: else it reads up to megabytes ahead of each one's 392 bytes.
    """
    manifest = read_json(folder / "manifest.json")
    for key, value in {"shape": list(shape), **belongs_to}.items():
        if manifest.get(key) != value:
            raise UserError(
                f"{folder / 'manifest.json'}: {key} is {manifest.get(key)}, this run has {value}; "
                f"delete {folder} and make the cache again"
            )
    try:
        tokens = np.load(folder / "tokens.npy", mmap_mode="r")
        tokens.base.madvise(mmap.MADV_RANDOM)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{folder / 'tokens.npy'}: not a readable token cache ({error}); delete {folder} and make it again"
        ) from None
    if list(tokens.shape) != manifest["shape"] or tokens.dtype != DTYPE:
        raise UserError(
            f"{folder / 'tokens.npy'}: {tokens.dtype} {tokens.shape}, its manifest says {manifest['shape']}; make it again"
        )
    return tokens
