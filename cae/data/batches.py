"""Micro-batches for pretraining: views, masks, cached tokens or augmentations of the images a step asks for."""

import signal
from collections.abc import Callable, Iterator

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from cae.data.datasets import Images
from cae.data.masks import draw_masks, split_ids
from cae.data.rng import permutation, seeded
from cae.data.schedule import Schedule
from cae.data.views import BICUBIC, centre_crop, crop_boxes, jitter, render
from cae.params import Crop, Pretraining, View

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
        images = [self.images.pixels(i) for i in indices]
        heights, widths = np.array([image.shape[:2] for image in images]).T
        boxes, flips = crop_boxes(self.recipe, self.seed, indices, view, widths, heights)
        if isinstance(self.recipe, View):
            images = [jitter(image, self.recipe, self.seed, i, view) for image, i in zip(images, indices)]
        return np.stack([render(*crop, self.size, self.resample) for crop in zip(images, boxes, flips)])


class Pixels(Dataset):
    """A micro-batch of bare views for (epoch, indices)."""

    def __init__(self, views: Views):
        self.views = views

    def __getitem__(self, key: tuple[int, np.ndarray]) -> dict[str, torch.Tensor]:
        epoch, indices = key
        return {"pixels": torch.from_numpy(self.views(indices, epoch % self.views.views))}


class CentreCrops(Dataset):
    """Validation images, as `Pixels` gives training images."""

    def __init__(self, images: Images, size: int):
        self.images, self.size = images, size

    def __getitem__(self, key: tuple[int, np.ndarray]) -> dict[str, torch.Tensor]:
        _, indices = key
        return {"pixels": torch.from_numpy(np.stack([centre_crop(self.images[i], self.size) for i in indices]))}


class MaskedViews(Dataset):
    """A micro-batch for (epoch, indices): the epoch picks view and mask, so that nothing depends on who loads it."""

    def __init__(self, images: Images, params: Pretraining, tokens: np.ndarray | None = None):
        """`tokens` uint16 [images, views, grid, grid], or None where the targets are pixels."""
        self.views = Views(images, params.view, params.view.views, params.image.size, params.seed)
        self.mask, self.grid, self.tokens = params.mask, params.image.grid, tokens

    def __getitem__(self, key: tuple[int, np.ndarray]) -> dict[str, torch.Tensor]:
        epoch, indices = key
        view = epoch % self.views.views
        visible, masked = split_ids(draw_masks(self.mask, indices, seed=self.views.seed, epoch=epoch, grid=self.grid))
        batch = {"pixels": self.views(indices, view), "visible": visible, "masked": masked}
        if self.tokens is not None:
            batch["tokens"] = self.tokens[indices, view].reshape(len(indices), -1).astype(np.int64)
        return {name: torch.from_numpy(value) for name, value in batch.items()}


class Augmented(Dataset):
    """A micro-batch for (draws, indices): what `augment` makes of each image, by libraries' random transforms.

    A pure function of (seed, draw, image). The draw is the epoch, or a number for each image where an epoch shows it
    more than once.
    """

    def __init__(self, images: Images, augment: Callable[[Image.Image], list[Image.Image]], seed: int):
        self.images, self.augment, self.seed = images, augment, seed

    def __getitem__(self, key: tuple[int | np.ndarray, np.ndarray]) -> dict:
        """views: a list of uint8 [B, S, S, 3], each view with its own S; labels int64 [B]."""
        draws, indices = key
        images = [self._views(int(i), int(draw)) for i, draw in np.broadcast(indices, draws)]
        batch = {"views": [torch.from_numpy(np.stack(view)) for view in zip(*images)]}
        return batch | ({} if self.images.labels is None else {"labels": torch.from_numpy(self.images.labels[indices])})

    def _views(self, index: int, draw: int) -> list[np.ndarray]:
        with seeded(self.seed, "augment", draw, index):
            return [np.asarray(view) for view in self.augment(self.images[index])]


def micro_batches(
    schedule: Schedule, seed: int, step: int, rank: int = 0, repeats: int = 1
) -> Iterator[tuple[int | np.ndarray, np.ndarray]]:
    """(epoch, indices) of each micro-batch of one device from `step` on: each epoch is a fresh permutation.

    With `repeats` (repeated augmentation, Hoffer et al. 2020) an epoch is as long, shows a part of the images so many
    times each, and the first of the pair is an array [micro_batch] that numbers an image's showings.
    """
    while step < schedule.steps:
        epoch, within = divmod(step, schedule.steps_per_epoch)
        used = schedule.steps_per_epoch * schedule.batch_size
        order = permutation(schedule.images, seed, "order", epoch)
        draws = epoch * repeats + np.tile(np.arange(repeats), len(order))[:used]
        shape = -1, schedule.accumulate, schedule.devices, schedule.micro_batch
        mine = [part.reshape(shape)[within:, :, rank] for part in (order.repeat(repeats)[:used], draws)]
        for indices, draw in zip(*(part.reshape(-1, schedule.micro_batch) for part in mine)):
            yield (draw if repeats > 1 else epoch), indices
        step = (epoch + 1) * schedule.steps_per_epoch


def loader(dataset: Dataset, keys: Iterator, workers: int) -> DataLoader:
    """Loads one whole micro-batch a key, in order, whatever the number of workers."""
    return DataLoader(
        dataset,
        batch_size=None,
        sampler=keys,
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=_ignore_signals,
        multiprocessing_context="fork" if workers else None,  # a memory-mapped cache would be pickled whole otherwise
    )


def _ignore_signals(_) -> None:
    """Leave SIGINT and SIGTERM, which every process gets, to the training itself: until it has saved it needs its workers."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)


def workers(threads: int, gpus: int, device: str) -> int:
    """Loader processes beside each GPU's process. On a CPU the work itself uses the cores."""
    return threads // gpus if device == "cuda" else 0
