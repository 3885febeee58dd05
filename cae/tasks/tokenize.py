"""Fill the token cache: one shard of the training images at a time."""

import numpy as np
import torch
from torch.utils.data import Dataset

from cae.data.batches import loader, workers
from cae.data.datasets import Images
from cae.data.views import LANCZOS, crop_boxes, jitter, render
from cae.errors import Interrupted, UserError
from cae.files import read_json, write_json
from cae.locks import lock
from cae.options import Data, GPUs, OutputFile, Shard, Threads, Tokenizer, Work, params_of
from cae.progress import progress
from cae.tasks.list_tokens import TokensJob
from cae.tokenizers import cache, store
from cae.training.devices import pick_device
from cae.training.signals import noted

CHUNK = 4096  # views rendered together
BATCH = 256  # views tokenised together
SAVE_EVERY = 16  # chunks


class Chunks(Dataset):
    """All views of a few images; each image is decoded once."""

    def __init__(self, images: Images, params: TokensJob, size: int):
        self.images, self.params, self.size = images, params, size

    def __getitem__(self, indices: range) -> torch.Tensor:
        return torch.from_numpy(np.stack([self.views(index) for index in indices]))

    def views(self, index: int) -> np.ndarray:
        """Pixels uint8 [views, S, S, 3] of one image."""
        image, view = self.images.pixels(index), self.params.view
        k = np.arange(view.views)
        height, width = (np.full(len(k), side) for side in image.shape[:2])
        boxes, flips = crop_boxes(view, self.params.seed, np.full(len(k), index), k, width, height)
        images = (jitter(image, view, self.params.seed, index, i) for i in k)
        return np.stack([render(*crop, self.size, LANCZOS) for crop in zip(images, boxes, flips)])


def shard_range(images: int, shard: int, shards: int) -> range:
    """The images of shard `shard` (from 0): contiguous, sizes equal to within one."""
    return range(images * shard // shards, images * (shard + 1) // shards)


@torch.inference_mode()
def main(
    *, data: Data, tokenizer: Tokenizer, params: params_of(TokensJob), shard: Shard, threads: Threads = 1, gpus: GPUs = 0,
    work: Work, output: OutputFile,
) -> None:  # fmt: skip
    """Write the tokens of one part of the images.

    In each of their views: uint16 [images, views, grid, grid]. It goes on where a stopped job left off. Tokens are always
    computed in float32: lower precisions flip a few argmaxes.
    """
    k, n = (int(part) for part in shard.split("/"))
    torch.backends.cudnn.allow_tf32 = False
    device = pick_device(threads, gpus)
    model, about = store.load(tokenizer)
    model.to(device)
    images = Images(data, 0)
    mine = shard_range(len(images), k - 1, n)
    shape = (len(mine), params.view.views, params.image.grid, params.image.grid)
    belongs = cache.identity(images.fingerprint, about, params.seed, params.view)

    partial, saved = work / f"{k}-of-{n}.npy", work / f"{k}-of-{n}.json"
    held = lock(work / f"{k}-of-{n}.lock")
    done = 0
    if saved.exists() and partial.exists() and (state := read_json(saved))["belongs"] == belongs:
        done, tokens = state["done"], np.load(partial, mmap_mode="r+")
    else:
        tokens = cache.create(partial, shape)

    size = max(1, CHUNK // params.view.views)
    ranges = [range(i, min(i + size, len(mine))) for i in range(done, len(mine), size)]
    chunks = Chunks(images, params, about["params"]["input_size"])
    keys = (mine[rows.start : rows.stop] for rows in ranges)
    batches = loader(chunks, keys, workers(threads, gpus, device))
    title = f"tokens {shard}"
    with progress(title, len(mine), initial=done) as bar, noted() as signals:
        for i, (rows, pixels) in enumerate(zip(ranges, batches), 1):
            flat = torch.cat([model.tokens(part.to(device)).cpu() for part in pixels.flatten(0, 1).split(BATCH)])
            tokens[rows.start : rows.stop] = flat.reshape(len(rows), *shape[1:]).numpy().astype(cache.DTYPE)
            bar.update(len(rows))
            if signals or i % SAVE_EVERY == 0 or i == len(ranges):
                tokens.flush()
                write_json(saved, {"done": rows.stop, "belongs": belongs})
            if signals:
                raise Interrupted(f"{title}: saved at image {rows.stop} of {len(mine)}; run the same command to go on")
    output.parent.mkdir(parents=True, exist_ok=True)
    del tokens
    try:
        partial.replace(output)
    except OSError as error:
        raise UserError(
            f"{output}: cannot move {partial} there ({error}); work/ and results/ must be on one file system"
        ) from None
    saved.unlink()
    held.close()
