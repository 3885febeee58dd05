"""Micro-batches for pretraining: views, masks and cached tokens of the images a step asks for."""

import signal
from collections.abc import Iterator

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from cae.data.datasets import Images
from cae.data.masks import block_masks, split_ids
from cae.data.rng import ORDER, permutation
from cae.data.views import BICUBIC, crop_boxes, render
from cae.params import Crop, Mask
from cae.training.loop import Schedule

KEEP_BYTES = 1 << 30  # rendered views are kept in memory while they fit


class Views:
    """Rendered views of a split: a pure function of (seed, image, view), kept in memory where all of them fit."""

    def __init__(self, images: Images, recipe: Crop, views: int, size: int, seed: int, resample=BICUBIC, keep=True):
        self.images, self.recipe, self.views, self.size = images, recipe, views, size
        self.seed, self.resample = seed, resample
        shape = (views, len(images), size, size, 3)
        fits = keep and np.prod(shape, dtype=np.int64) <= KEEP_BYTES
        self.kept = np.empty(shape, np.uint8) if fits else None
        self.known = np.zeros(shape[:2], bool) if self.kept is not None else None

    def __call__(self, indices: np.ndarray, view: int) -> np.ndarray:
        """Pixels uint8 [B, size, size, 3] of `indices` [B]."""
        if self.kept is None:
            return self._render(indices, view)
        missing = np.unique(indices[~self.known[view, indices]])
        if missing.size:
            self.kept[view, missing] = self._render(missing, view)
            self.known[view, missing] = True
        return self.kept[view, indices]

    def _render(self, indices, view):
        images = [self.images[i] for i in indices]
        widths, heights = np.array([image.size for image in images]).T
        boxes, flips = crop_boxes(self.recipe, self.seed, indices, view, widths, heights)
        return np.stack([render(*crop, self.size, self.resample) for crop in zip(images, boxes, flips)])


class Pixels(Dataset):
    """A micro-batch of bare views for (epoch, indices)."""

    def __init__(self, views: Views):
        self.views = views

    def __getitem__(self, key: tuple[int, np.ndarray]) -> dict[str, torch.Tensor]:
        epoch, indices = key
        return {"pixels": torch.from_numpy(self.views(indices, epoch % self.views.views))}


class MaskedViews(Dataset):
    """A micro-batch for (epoch, indices): the epoch picks view and mask, so that nothing depends on who loads it."""

    def __init__(self, views: Views, mask: Mask, grid: int, tokens: np.ndarray | None):
        """`tokens` uint16 [images, views, grid, grid], or None where the targets are pixels."""
        self.views, self.mask, self.grid, self.tokens = views, mask, grid, tokens

    def __getitem__(self, key: tuple[int, np.ndarray]) -> dict[str, torch.Tensor]:
        epoch, indices = key
        view = epoch % self.views.views
        masks = block_masks(indices, seed=self.views.seed, epoch=epoch, grid=self.grid, **self.mask.model_dump())
        visible, masked = split_ids(masks)
        batch = {"pixels": self.views(indices, view), "visible": visible, "masked": masked}
        if self.tokens is not None:
            batch["tokens"] = self.tokens[indices, view].reshape(len(indices), -1).astype(np.int64)
        return {name: torch.from_numpy(value) for name, value in batch.items()}


def micro_batches(schedule: Schedule, seed: int, step: int, rank: int = 0) -> Iterator[tuple[int, np.ndarray]]:
    """(epoch, indices) of each micro-batch of one device from `step` on: each epoch is a fresh permutation."""
    while step < schedule.steps:
        epoch, within = divmod(step, schedule.steps_per_epoch)
        order = permutation(schedule.images, seed, ORDER, epoch)[: schedule.steps_per_epoch * schedule.batch_size]
        mine = order.reshape(-1, schedule.accumulate, schedule.devices, schedule.micro_batch)[within:, :, rank]
        for indices in mine.reshape(-1, schedule.micro_batch):
            yield epoch, indices
        step = (epoch + 1) * schedule.steps_per_epoch


def loader(dataset: Dataset, keys: Iterator, workers: int) -> DataLoader:
    """Loads one whole micro-batch a key, in order, whatever the number of workers."""
    return DataLoader(
        dataset,
        batch_size=None,
        sampler=keys,
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=_ignore_sigterm,
        multiprocessing_context="fork" if workers else None,  # a memory-mapped cache would be pickled whole otherwise
    )


def _ignore_sigterm(_) -> None:
    """A batch system sends SIGTERM to every process; the training itself answers it, and needs its workers to do so."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def workers(threads: int, gpus: int, device: str) -> int:
    """Loader processes beside each GPU's process. On a CPU the work itself uses the cores."""
    return threads // gpus if device == "cuda" else 0
