"""Figure 5: t-SNE of patch representations of ADE20K images, beside an encoder with random weights (Appendix B)."""

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.neighbors import NearestNeighbors
from timm.models import VisionTransformer

from cae.data.datasets import Images, annotation_of, read_labels
from cae.data.views import BICUBIC, render
from cae.errors import UserError
from cae.files import atomic
from cae.models.encoders import load_encoder
from cae.models.vit import normalise
from cae.options import Data, GPUs, Models, OutputFile, Threads, params_of
from cae.params import Figure5, Strict
from cae.training.devices import pick_device

NEIGHBOURS = 10  # of the purity that puts a number on what the eye sees
PERPLEXITY = 30  # of t-SNE, scikit-learn's
BATCH = 32


class TSNEJob(Strict):
    figure5: Figure5
    seed: int


def patch_labels(labels: np.ndarray, grid: int) -> np.ndarray:
    """Return the class that more than half of each patch's pixels have, else 0: [H, W] to [grid, grid].

    Patches are those of the image resized to a square: H and W are cut into `grid` parts each. A part less than a pixel long
    has the pixel that its middle lies in.
    """
    out = np.zeros((grid, grid), np.int64)
    rows, columns = (cuts(side, grid) for side in labels.shape)
    for y, (top, bottom) in enumerate(rows):
        for x, (left, right) in enumerate(columns):
            patch = labels[top:bottom, left:right].ravel()
            counts = np.bincount(patch)
            if 2 * counts.max() > len(patch):
                out[y, x] = counts.argmax()
    return out


def cuts(side: int, grid: int) -> list[tuple[int, int]]:
    """Return the first pixel of each of `grid` parts of a side, and the one after its last."""
    borders = np.linspace(0, side, grid + 1)
    pairs = zip(borders.round().astype(int).tolist(), borders[1:].round().astype(int).tolist())
    middles = ((borders[:-1] + borders[1:]) / 2).astype(int).tolist()
    return [(first, last) if last > first else (middle, middle + 1) for (first, last), middle in zip(pairs, middles)]


@torch.no_grad()
def patch_representations(encoder: VisionTransformer, pixels: np.ndarray, device: str) -> np.ndarray:
    """Encoder output of every patch: uint8 [B, S, S, 3] to float [B, N, D]."""
    batches = torch.from_numpy(pixels).split(BATCH)
    tokens = [encoder.forward_features(normalise(batch.to(device)))[:, 1:].cpu() for batch in batches]
    return torch.cat(tokens).numpy()


def purity(points: np.ndarray, labels: np.ndarray, *apart: np.ndarray) -> float:
    """Mean share of a point's nearest neighbours that carry its label.

    `apart`: numbers [k] of the points' images, say, or positions; neighbours are only those that differ from it in each.
    """
    passed_over = sum((np.bincount(key)[key] for key in apart), np.zeros(len(points), int)).max()  # and no more
    nearest = NearestNeighbors(n_neighbors=min(NEIGHBOURS + passed_over, len(points) - 1)).fit(points)
    neighbours = nearest.kneighbors(return_distance=False)
    taken = np.ones(neighbours.shape, bool)
    for key in apart:
        taken &= key[neighbours] != key[:, None]
    taken &= taken.cumsum(1) <= NEIGHBOURS
    return float((labels[neighbours] == labels[:, None])[taken].mean())


def main(
    *, data: Data, models: Models, params: params_of(TSNEJob), threads: Threads = 1, gpus: GPUs = 0, output: OutputFile
) -> None:
    """Place patches of two models by t-SNE (Figure 5).

    points_0, points_1 [k, 2] of the two models; labels [k]; class_names; models; purity [2] of neighbourhoods; images, how many.
    image [k] and position [k] (row by row) of each patch. purity_elsewhere [2]: purity among patches of other images and
    other positions; where the camera stands still a position alone tells much, and random weights do not hide it.
    """
    device = pick_device(threads, gpus)
    images, rng = Images(data, 1), np.random.default_rng(params.seed)
    chosen = np.sort(rng.permutation(len(images))[: params.figure5.images])
    encoders = [load_encoder(folder) for folder in models]
    arguments = encoders[0][1]["arguments"]
    size, grid = arguments["img_size"], arguments["img_size"] // arguments["patch_size"]

    pixels, labels = [], []
    for i in chosen:
        image = images[i]
        pixels.append(render(image, (0, 0, *image.size), False, size, BICUBIC))
        labels.append(patch_labels(read_labels(annotation_of(images.root / images.paths[i])), grid))
    pixels, labels = np.stack(pixels), np.stack(labels).ravel()
    keep = [
        rng.permutation(np.flatnonzero(labels == label))[: params.figure5.patches_per_class]
        for label in np.unique(labels[labels > 0])
    ]
    if (count := sum(map(len, keep))) <= PERPLEXITY:
        raise UserError(
            f"{data}: {count} patches of {len(chosen)} images belong to one class by more than half, t-SNE needs more than "
            f"{PERPLEXITY}; raise figure5.images or figure5.patches_per_class in params"
        )
    keep = np.sort(np.concatenate(keep))
    image, position = keep // grid**2, keep % grid**2
    points = []
    for encoder, _ in encoders:
        features = patch_representations(encoder.to(device), pixels, device).reshape(len(labels), -1)[keep]
        reduced = PCA(min(50, *features.shape), random_state=params.seed).fit_transform(features)
        tsne = TSNE(perplexity=PERPLEXITY, random_state=params.seed, init="pca", n_jobs=threads)
        points.append(tsne.fit_transform(reduced))
    with atomic(output) as temporary:
        np.savez(
            temporary, points_0=points[0], points_1=points[1], labels=labels[keep], class_names=["", *images.classes],
            models=[folder.name for folder in models], images=len(chosen), image=image, position=position,
            purity=[purity(p, labels[keep]) for p in points],
            purity_elsewhere=[purity(p, labels[keep], image, position) for p in points],
        )  # fmt: skip
