"""Top-1 accuracy of a supervised encoder's own classifier (Table 1: what DeiT has in the column ATT)."""

import time

import numpy as np
import torch
from timm.models import Beit, VisionTransformer

from cae.data.batches import CentreCrops, loader, workers
from cae.data.datasets import Images
from cae.errors import UserError
from cae.files import revision, text_hash, write_json
from cae.models.encoders import load_encoder
from cae.models.vit import normalise
from cae.options import Data, Encoder, GPUs, OutputFile, Threads, params_of
from cae.params import Positive, Precision, Strict
from cae.progress import progress
from cae.training.devices import arithmetic, autocast, machine, pick_device


class ClassifyJob(Strict):
    micro_batch: Positive
    precision: Precision = "auto"


@torch.inference_mode()
def accuracy(
    vit: VisionTransformer | Beit,
    images: Images,
    micro_batch: int,
    device: str,
    precision: Precision,
    workers: int,
    title: str,
) -> dict:
    """top1 and top5 (%) of a classifier on centre crops of `images`, val_images, and the seconds it took."""
    vit.to(device)
    chunks = np.array_split(np.arange(len(images)), -(-len(images) // micro_batch))
    crops = CentreCrops(images, vit.patch_embed.img_size[0])
    batches = loader(crops, ((0, indices) for indices in chunks), workers)
    right, began = np.zeros(2, int), time.monotonic()
    with progress(title, len(images)) as bar:
        for indices, batch in zip(chunks, batches):
            with autocast(device, precision):
                logits = vit(normalise(batch["pixels"].to(device))).float().cpu()
            ranks = logits.topk(min(5, logits.shape[1])).indices.numpy() == images.labels[indices, None]
            right += ranks[:, 0].sum(), ranks.any(1).sum()
            bar.update(len(indices))
    top1, top5 = (round(100 * n / len(images), 3) for n in right.tolist())
    return {"top1": top1, "top5": top5, "val_images": len(images), "seconds": time.monotonic() - began}


def main(
    *,
    data: Data,
    encoder: Encoder,
    params: params_of(ClassifyJob),
    threads: Threads = 1,
    gpus: GPUs = 0,
    output: OutputFile,
) -> None:
    """Measure the accuracy of a model that is a classifier.

    On the validation images. Raises UserError where the encoder has no classifier, or one of other classes.
    """
    device = pick_device(threads, gpus)
    vit, config = load_encoder(encoder)
    images = Images(data, 1)
    if vit.num_classes != len(images.classes):
        raise UserError(f"{encoder}: classifies {vit.num_classes} classes, the data set has {len(images.classes)}")
    processes = workers(threads, gpus, device)
    result = accuracy(vit, images, params.micro_batch, device, params.precision, processes, f"classify {encoder.name}")
    seconds = result.pop("seconds")
    write_json(output, {
        "model": encoder.name, "protocol": "supervised", **result,
        "classes": vit.num_classes, "params_hash": text_hash(config["params_hash"] + images.fingerprint),
        "seconds": round(seconds, 1), "images_per_second": round(len(images) / seconds, 1),
        "precision": arithmetic(device, params.precision), "machine": machine(device), "revision": revision(),
    })  # fmt: skip
