"""Figures 6, 7 and 9: what the class token attends to, on whole images and on random crops (§3.2, §4.2, Appendix F).

A map is the attention of the encoder's class token in its last block, or of an attentive probe's extra class token
(Figure 7), averaged over heads. The class token's own share is left out: a map's patches sum to 1. Images are squeezed whole
to a square, so that no rim is lost that may be attended; crops are drawn as for pretraining and not flipped.

A number is the mass in a region, a mean over the whole validation set, beside the region's area, which uniform attention
would give. The central half is the centred rectangle of half the area, its sides in proportion; a patch counts by the part
of it that lies in the region.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from timm.models import Beit, VisionTransformer
from torch import Tensor
from torch.utils.data import Dataset

from cae.data.batches import loader, workers
from cae.data.datasets import Images
from cae.data.detection import Instances
from cae.data.views import crop_boxes, render
from cae.errors import UserError
from cae.files import atomic
from cae.models.encoders import load_encoder
from cae.models.probes import AttentiveProbe
from cae.models.vit import normalise
from cae.options import Data, GPUs, Models, Objects, OutputFile, Probes, Threads, params_of
from cae.params import Job, Positive, Precision, View
from cae.progress import progress
from cae.training.devices import autocast, pick_device
from cae.weights import load_weights

BATCH = 64
CENTRE = 0.5 + np.array([-0.5, 0.5]) * 0.5**0.5  # of a side of length 1: both ways, half of the area


class AttentionJob(Job):
    images: Positive  # that are shown
    view: View | None = None  # of random crops (Figure 9); None: whole images


def main(
    *, data: Data, objects: Objects | None = None, models: Models, probes: Probes | None = None, params: params_of(AttentionJob),
    threads: Threads = 1, gpus: GPUs = 0, output: OutputFile,
) -> None:  # fmt: skip
    """Map what models attend to (Figures 6, 7 and 9).

    images uint8 [n, S, S, 3]; models [m]; maps float32 and half bool [m, n, grid, grid], of the images shown.

    Of the validation set, for each region: <region> [m, 2], the mass there and the standard error of its distance from the
    area, which is <region>_area.
    Regions: `outside` of the central half; for crops `outside_original`, of the whole image's; where `objects`, a manifest
    in COCO's layout, is given, `object` on its images. half_patches [m, 2]: the share of patches that hold half of the mass.
    `probes`: weights of the models' attentive probes, or None for the encoders' own attention.
    """
    device = pick_device(threads, gpus)
    encoders = [load_encoder(folder) for folder in models]
    for folder, (encoder, _) in zip(models, encoders):
        if encoder.cls_token is None:
            raise UserError(f"{folder}: the encoder has no class token, whose attention this is; name another model")
        if encoder.patch_embed.grid_size != encoders[0][0].patch_embed.grid_size:
            raise UserError(f"{folder}: another number of patches than in {models[0]}; one figure shows one")
    arguments = encoders[0][1]["arguments"]
    size, grid = arguments["img_size"], arguments["img_size"] // arguments["patch_size"]
    images, processes = Images(data, 1), workers(threads, gpus, device)
    attend = [partial(class_attention, encoder.to(device)) for encoder, _ in encoders]
    if probes:
        attend = [
            partial(probe_attention, load_probe(path, encoder, len(images.classes)).to(device), encoder)
            for path, (encoder, _) in zip(probes, encoders, strict=True)
        ]
    crops = Crops(lambda i: (images[i], None), len(images), params, size, grid)
    maps, regions = attended(attend, crops, device, params.precision, processes)
    half = half_mass(maps)
    numbers = shares(maps, regions) | {"half_patches": mean_and_error(half.mean(-1))}
    if objects:
        scenes = Instances(objects, 1, labelled=True)
        crops_of_scenes = Crops(lambda i: scene(scenes, i), len(scenes), params, size, grid)
        theirs, regions = attended(attend, crops_of_scenes, device, params.precision, processes)
        seen = regions["object"].any(-1)  # a crop may miss all objects
        numbers |= shares(theirs[:, seen], {"object": regions["object"][seen]})
    shown = np.random.default_rng(params.seed).permutation(len(images))[: params.images]
    maps, half = (array[:, shown].reshape(len(models), -1, grid, grid) for array in (maps, half))
    pixels, names = crops[shown]["pixels"].numpy(), [folder.name for folder in models]
    with atomic(output) as temporary:
        np.savez(temporary, images=pixels, models=names, maps=maps, half=half, **numbers)


def load_probe(weights: Path, encoder: VisionTransformer | Beit, classes: int) -> AttentiveProbe:
    """The attentive probe of an encoder, in evaluation mode."""
    probe = AttentiveProbe(encoder.embed_dim, encoder.blocks[-1].attn.num_heads, classes)
    load_weights(weights, probe)
    return probe.eval()


def scene(scenes: Instances, i: int) -> tuple[Image.Image, np.ndarray]:
    """An image and where its objects are, bool [H, W]; crowds are no objects."""
    pixels, target = scenes[i]
    return Image.fromarray(pixels.permute(1, 2, 0).numpy()), target["masks"].numpy().any(0)


class Crops(Dataset):
    """Whole images, or a random crop of each, as squares, with the part of each patch that lies in each region."""

    def __init__(self, read: Callable, count: int, params: AttentionJob, size: int, grid: int):
        """`read(i)`: one of `count` images, and a mask bool [H, W] of its objects or None."""
        self.read, self.count, self.params, self.size, self.grid = read, count, params, size, grid

    def __getitem__(self, indices: np.ndarray) -> dict[str, Tensor]:
        """pixels uint8 [B, S, S, 3]; each region float64 [B, N]."""
        items = [self._item(int(i)) for i in indices]
        return {name: torch.from_numpy(np.stack([item[name] for item in items])) for name in items[0]}

    def _item(self, i: int) -> dict[str, np.ndarray]:
        (image, mask), p = self.read(i), self.params
        box, item = np.array([0, 0, *image.size]), {"outside": outside_centre(np.array([0, 0, 1, 1]), self.grid)}
        if p.view:
            box = crop_boxes(p.view, p.seed, [i], 0, *np.reshape(image.size, (2, 1)))[0][0]
            item["outside_original"] = outside_centre(box / np.tile(image.size, 2), self.grid)
        if mask is not None:
            item["object"] = covered(mask, box, self.grid)
        return item | {"pixels": render(image, box, False, self.size)}


def overlaps(low: float, high: float, grid: int, borders: np.ndarray) -> np.ndarray:
    """The part of each of `grid` patches from low to high that lies between each two of `borders` [n + 1]: [grid, n]."""
    patches = np.linspace(low, high, grid + 1)[:, None]
    both = np.minimum(patches[1:], borders[1:]) - np.maximum(patches[:-1], borders[:-1])
    return both.clip(0) * grid / (high - low)


def outside_centre(box: np.ndarray, grid: int) -> np.ndarray:
    """Of each patch of a box (left, top, right, bottom) in a unit square, the part outside of its central half: [N]."""
    left, top, right, bottom = box
    return 1 - (overlaps(top, bottom, grid, CENTRE) * overlaps(left, right, grid, CENTRE).T).ravel()


def covered(mask: np.ndarray, box: np.ndarray, grid: int) -> np.ndarray:
    """Of each patch of a box in pixels, the part that the mask [H, W] covers: [N]."""
    left, top, right, bottom = box
    rows, columns = (np.arange(side + 1) for side in mask.shape)
    return (overlaps(top, bottom, grid, rows) @ mask @ overlaps(left, right, grid, columns).T).ravel()


@torch.no_grad()
def attended(
    attend: list[Callable], crops: Crops, device: str, precision: Precision, processes: int
) -> tuple[np.ndarray, dict]:
    """Maps float32 [m, n, N] that the functions in `attend` make of images, and the images' regions [n, N] by name."""
    maps, regions = [], []
    chunks = np.split(np.arange(crops.count), range(BATCH, crops.count, BATCH))
    with progress("attention", crops.count) as bar:
        for batch in loader(crops, chunks, processes):
            images = normalise(batch.pop("pixels").to(device))
            with autocast(device, precision):
                maps.append(torch.stack([one(images).float() for one in attend]).cpu())
            regions.append(batch)
            bar.update(len(images))
    maps = torch.cat(maps, 1)
    together = {name: torch.cat([region[name] for region in regions]).numpy() for name in regions[0]}
    return (maps / maps.sum(-1, keepdim=True)).numpy(), together


def class_attention(encoder: VisionTransformer | Beit, images: Tensor) -> Tensor:
    """What the class token gives to each patch in the last block, a mean over heads: images [B, 3, S, S] to [B, N]."""
    attention, weights = encoder.blocks[-1].attn, []
    attention.fused_attn = False  # the fused kernel never has the weights; without it timm drops out of them: none here
    with attention.attn_drop.register_forward_hook(lambda *call: weights.append(call[-1])):
        encoder.forward_features(images)
    return weights[0][:, :, 0, encoder.num_prefix_tokens :].mean(1)


def probe_attention(probe: AttentiveProbe, encoder: VisionTransformer | Beit, images: Tensor) -> Tensor:
    """What the probe's class token gives to each patch, a mean over heads: images [B, 3, S, S] to [B, N]."""
    return probe.attention(encoder.forward_features(images).float())[:, encoder.num_prefix_tokens :]


def half_mass(maps: np.ndarray) -> np.ndarray:
    """The smallest set of patches with half of the mass: maps [..., N] to bool [..., N]."""
    order = np.argsort(-maps, axis=-1, kind="stable")
    masses = np.take_along_axis(maps, order, -1).astype(np.float64)
    needed = masses.cumsum(-1) - masses < 0.5 - 1e-6  # those before fall short, by more than float32's rounding
    half = np.empty(maps.shape, bool)
    np.put_along_axis(half, order, needed, -1)
    return half


def shares(maps: np.ndarray, regions: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Of maps [m, n, N] and regions [n, N]: <region> [m, 2] and <region>_area, as in `main`."""
    numbers = {}
    for name, region in regions.items():
        numbers[name] = mean_and_error(np.einsum("mnp,np->mn", maps, region), region.mean(-1))
        numbers[f"{name}_area"] = region.mean()
    return numbers


def mean_and_error(values: np.ndarray, expected: np.ndarray | float = 0.0) -> np.ndarray:
    """Mean over n images, and the standard error of its distance from what is expected of each: [m, n] to [m, 2]."""
    return np.stack([values.mean(1), (values - expected).std(1, ddof=1) / values.shape[1] ** 0.5], 1)
