"""Semantic segmentation on ADE20K over one pretrained encoder, at one learning rate (Tables 2, 3, 5; Appendix A).

Tested in windows at a single scale. Weights and some pictures stay beside the metrics.
"""

import time

import numpy as np
import torch
from torch import Tensor

from cae.data.batches import loader, micro_batches, workers
from cae.data.schedule import Schedule
from cae.data.segmentation import GREY, Crops, Labelled, Scenes, padded
from cae.files import atomic, text_hash, write_json
from cae.models.backbone import trainable
from cae.models.encoders import load_encoder
from cae.models.segmenter import Segmenter, enlarged
from cae.options import Data, Encoder, OutputFolder, fields_of, params_of
from cae.params import Job, Segmentation
from cae.progress import progress
from cae.tasks.confusion import confusion, summary
from cae.training.devices import autocast, start, synchronised
from cae.training.loop import train
from cae.training.optim import Optimisation, adamw_by_layer, warmup_poly
from cae.training.run import Runtime, Settings
from cae.weights import save_weights

EXAMPLES = 6  # validation images kept as pictures


class SegmentJob(Segmentation, Job):
    pass


def main(
    *, data: Data, encoder: Encoder, params: params_of(SegmentJob), runtime: fields_of(Runtime), output: OutputFolder
) -> None:
    """Train UperNet on an encoder, at one learning rate.

    Writes the segmenter, its metrics on the validation images and some pictures.
    """
    p = params
    fabric = start(runtime.threads, runtime.gpus, p.precision)
    images, val = Labelled(data, 0), Labelled(data, 1)
    names = images.images.classes
    schedule = Schedule(len(images), p.batch_size, p.micro_batch, 0, fabric.world_size, limit=p.steps)
    vit, config = load_encoder(encoder)
    params_hash = text_hash(p.model_dump_json() + config["params_hash"] + images.images.fingerprint)

    torch.manual_seed(p.seed)
    network, _, _ = trainable(
        vit, config, relative_positions=p.relative_positions, drop_path=p.drop_path, num_classes=0
    )  # fmt: skip
    network.set_input_size((p.crop, p.crop))
    segmenter = Segmenter(network, p.channels, len(names))
    segmenter = synchronised(fabric, segmenter)
    optimizer = adamw_by_layer(
        network, segmenter, lr=p.lr, betas=p.betas, weight_decay=p.weight_decay, layer_decay=p.layer_decay
    )
    crops = Crops(images, p, p.seed)
    processes = workers(runtime.threads, runtime.gpus, fabric.device.type)
    run = train(
        fabric, segmenter,
        lambda step: loader(crops, micro_batches(schedule, p.seed, step, fabric.global_rank), processes),
        schedule, Settings(runtime, p.seed, params_hash, f"ade20k {encoder.name} {p.lr}"),
        Optimisation(optimizer, lambda step: warmup_poly(step, steps=p.steps, warmup=p.warmup_steps, lr=p.lr)),
    )  # fmt: skip
    if not fabric.is_global_zero:
        return
    save_weights(output / "model.safetensors", segmenter)
    run.copy_metrics(output)

    began = time.monotonic()
    matrix, pictures = evaluate(segmenter, val, p, len(names), fabric.device, processes, f"segment {encoder.name}")
    with atomic(output / "examples.npz") as temporary:
        np.savez(temporary, names=np.array(names), **pictures)
    evaluated = time.monotonic() - began
    write_json(output / "metrics.json", {
        "model": encoder.name, "protocol": "ade20k", "lr": p.lr, **summary(matrix, names), "classes": len(names),
        "train_images": len(images), "val_images": len(val), "steps": p.steps, "params_hash": params_hash,
        **run.account(len(val), evaluated, evaluation_seconds=round(evaluated, 1)),
    })  # fmt: skip
    run.path.unlink()


@torch.inference_mode()
def evaluate(
    segmenter: Segmenter, images: Labelled, params: SegmentJob, classes: int, device: torch.device, workers: int,
    title: str,
) -> tuple[np.ndarray, dict[str, np.ndarray]]:  # fmt: skip
    """The confusion matrix over all images; and of some images image_<i> uint8 [H, W, 3], truth_<i> and prediction_<i> uint8
    [H, W]."""
    segmenter.eval()
    chosen = np.linspace(0, len(images) - 1, min(EXAMPLES, len(images))).astype(int).tolist()
    matrix, pictures = np.zeros((classes, classes), np.int64), {}
    scenes = loader(Scenes(images, params.scale), range(len(images)), workers)
    for i, scene in enumerate(progress(title, len(images), iterable=scenes)):
        with autocast(device.type, params.precision):
            logits = slide(segmenter.logits, scene["pixels"].to(device), params.crop, params.stride)
        truth = scene["labels"].numpy()
        prediction = enlarged(logits[None], truth.shape)[0].argmax(0).cpu().numpy().astype(np.uint8)
        matrix += confusion(truth, prediction, classes)
        if i in chosen:
            number = chosen.index(i)
            pixels = images[i][0].permute(1, 2, 0).numpy()
            pictures |= {f"image_{number}": pixels, f"truth_{number}": truth, f"prediction_{number}": prediction}
    return matrix, pictures


def slide(logits_of, pixels: Tensor, crop: int, stride: int) -> Tensor:
    """Logits [classes, h, w] of pixels uint8 [3, h, w], seen in windows of `crop` pixels a side, each `stride` from the last, the
    last at the edge; means where they overlap. `logits_of`: [B, crop, crop, 3] to [B, classes, crop, crop]."""
    height, width = pixels.shape[1:]
    pixels = padded(pixels, crop, GREY)
    places = [
        (top, left) for top in starts(pixels.shape[1], crop, stride) for left in starts(pixels.shape[2], crop, stride)
    ]
    windows = torch.stack([pixels[:, top : top + crop, left : left + crop] for top, left in places])
    found = logits_of(windows.permute(0, 2, 3, 1)).float()
    total = found.new_zeros(found.shape[1], *pixels.shape[1:])
    times = found.new_zeros(pixels.shape[1:])
    for (top, left), window in zip(places, found):
        total[:, top : top + crop, left : left + crop] += window
        times[top : top + crop, left : left + crop] += 1
    return (total / times)[:, :height, :width]


def starts(length: int, crop: int, stride: int) -> list[int]:
    last = length - crop
    return [*range(0, last, stride), last]
