"""Object detection and instance segmentation on COCO over one pretrained encoder (Tables 2, 4, 5; Appendix A).

A detector is trained, tested at a single scale and scored by COCO's own evaluator. Weights, detections and some pictures stay
beside the metrics.
"""

import time

import numpy as np
import torch
from pycocotools import mask as rle
from pycocotools.cocoeval import COCOeval
from timm.models import Beit

from cae.data.batches import loader, micro_batches, workers
from cae.data.detection import Instances, Scenes, quiet
from cae.data.schedule import Schedule
from cae.errors import UserError
from cae.files import atomic, text_hash, write_json
from cae.models.backbone import trainable
from cae.models.detector import Detector
from cae.models.encoders import load_encoder
from cae.options import Data, Encoder, Metrics, OutputFolder, Protocol, fields_of, params_of
from cae.params import Detection, Job, Precision
from cae.progress import progress
from cae.training.devices import autocast, start, synchronised
from cae.training.loop import train
from cae.training.optim import Optimisation, adamw_by_layer, warmup_steps
from cae.training.run import Runtime, Settings
from cae.weights import save_weights

EXAMPLES, SHOWN = 6, 0.3  # validation images kept as pictures; score from which more than one find is on them
STATS = ("ap", "ap50", "ap75")  # the first of COCOeval's
HEADS = {
    "torchvision": "two fully connected layers, smooth L1 (torchvision)",
    "public": "4conv1fc with BatchNorm, GIoU loss (the public code)",
}


class DetectJob(Detection, Job):
    cascade: bool


def main(
    *, data: Data, encoder: Encoder, protocol: Protocol, params: params_of(DetectJob), runtime: fields_of(Runtime),
    metrics: Metrics, output: OutputFolder,
) -> None:  # fmt: skip
    """Train a detector on an encoder.

    Writes the detector, what it finds on the validation images and its average precision.
    """
    p = params
    fabric = start(runtime.threads, runtime.gpus, p.precision)
    instances, val = Instances(data, 0, labelled=True), Instances(data, 1, labelled=False)
    schedule = Schedule(len(instances), p.batch_size, p.micro_batch, p.epochs, fabric.world_size)
    if p.warmup_steps >= schedule.steps:
        raise UserError(f"coco.warmup_steps {p.warmup_steps} leaves none of the run's {schedule.steps} steps; lower it")
    vit, config = load_encoder(encoder)
    params_hash = text_hash(p.model_dump_json() + config["params_hash"] + instances.fingerprint)

    torch.manual_seed(p.seed)
    any_size = {} if isinstance(vit, Beit) else {"dynamic_img_size": True}
    network, _, _ = trainable(
        vit, config, relative_positions=False, drop_path=p.drop_path, num_classes=0, **any_size
    )  # fmt: skip
    detector = Detector(network, p, len(instances.names), p.cascade)
    detector = synchronised(fabric, detector)
    optimizer = adamw_by_layer(
        network, detector, lr=p.lr, betas=p.betas, weight_decay=p.weight_decay, layer_decay=p.layer_decay
    )
    scenes = Scenes(instances, p.flip, p.crop, p.seed, (p.short_sides, p.long_side))
    processes = workers(runtime.threads, runtime.gpus, fabric.device.type)
    milestones = [epoch * schedule.steps_per_epoch for epoch in p.milestones]
    run = train(
        fabric, detector,
        lambda step: loader(scenes, micro_batches(schedule, p.seed, step, fabric.global_rank), processes),
        schedule, Settings(runtime, p.seed, params_hash, f"{protocol} {encoder.name}"),
        Optimisation(optimizer, lambda step: warmup_steps(
            step, milestones=milestones, warmup=p.warmup_steps, ratio=p.warmup_ratio, lr=p.lr
        )),
    )  # fmt: skip
    if not fabric.is_global_zero:
        return
    save_weights(output / "model.safetensors", detector.model)
    run.copy_metrics(output)

    began = time.monotonic()
    found, pictures = detect(detector, val, fabric.device, p.precision, processes, f"detect {encoder.name}")
    write_json(output / "detections.json", found)
    with atomic(output / "examples.npz") as temporary:
        np.savez(temporary, names=np.array(val.names), **pictures)
    detected = time.monotonic()
    scores = average_precision(val, found)
    evaluated = time.monotonic()
    write_json(metrics, {
        "model": encoder.name, "protocol": protocol, **scores, "classes": len(val.names),
        "train_images": len(instances), "val_images": len(val), "epochs": p.epochs, "params_hash": params_hash,
        **run.account(len(val), evaluated - began, evaluation_seconds=round(evaluated - detected, 2)),
        "note": f"Box heads of {protocol}: {HEADS[p.heads]}; images {'cropped' if p.crop else 'not cropped'} in training.",
    })  # fmt: skip
    run.path.unlink()


@torch.inference_mode()
def detect(
    detector: Detector, instances: Instances, device: torch.device, precision: Precision, workers: int, title: str
) -> tuple[list[dict], dict[str, np.ndarray]]:
    """COCO's results of all images, and some images with their objects and detections (see `picture`).

    One image at a time: it would be padded to the size of others beside it, and a ViT attends to all that it is given.
    """
    detector.eval()
    chosen = np.linspace(0, len(instances) - 1, min(EXAMPLES, len(instances))).astype(int).tolist()
    batches = loader(Scenes(instances, 0.0, None, 0), ((0, np.array([i])) for i in range(len(instances))), workers)
    results, pictures = [], {}
    for i, batch in enumerate(progress(title, len(instances), iterable=batches)):
        (image,), (target,) = batch["images"], batch["targets"]
        with autocast(device.type, precision):
            (found,) = detector({"images": [image.to(device)]})
        found["masks"] = found["masks"][:, 0] > 0.5
        found = {name: part.cpu() for name, part in found.items()}
        results += as_results(instances, i, found)
        if i in chosen:
            pictures |= picture(chosen.index(i), image, target, found)
    return results, pictures


def as_results(instances: Instances, i: int, found: dict) -> list[dict]:
    """An image's detections in COCO's format of results, boxes and masks."""
    left_top, right_bottom = found["boxes"].float().split(2, 1)
    boxes = torch.cat([left_top, right_bottom - left_top], 1).tolist()
    masks = rle.encode(np.asfortranarray(found["masks"].numpy().astype(np.uint8).transpose(1, 2, 0)))
    return [
        {"image_id": instances.ids[i], "category_id": instances.categories[label - 1], "bbox": box, "score": score,
         "segmentation": {"size": mask["size"], "counts": mask["counts"].decode()}}
        for label, box, score, mask in zip(found["labels"].tolist(), boxes, found["scores"].tolist(), masks)
    ]  # fmt: skip


def picture(number: int, image: torch.Tensor, target: dict, found: dict) -> dict[str, np.ndarray]:
    """image_<number> uint8 [H, W, 3]; truth_<number>_… and prediction_<number>_…: boxes [n, 4], labels [n] from 0, masks
    bool [n, H, W]; scores [n] of predictions."""
    sure = found["scores"] >= min([SHOWN, *found["scores"][:1].tolist()])  # the first is the surest
    parts = {"truth": target, "prediction": {name: part[sure] for name, part in found.items()}}
    arrays = {f"image_{number}": image.permute(1, 2, 0).numpy()}
    for kind, part in parts.items():
        part = part | {"labels": part["labels"] - 1, "masks": part["masks"].bool()}
        arrays |= {f"{kind}_{number}_{name}": value.numpy() for name, value in part.items()}
    return arrays


def average_precision(instances: Instances, results: list[dict]) -> dict[str, float]:
    """Return AP, AP50 and AP75 (%) of boxes and of masks by COCO's evaluator; 0 where nothing was found.

    Raises UserError where all objects are crowds: the evaluator's result is -1 then.
    """
    if all(each["iscrowd"] for each in instances.coco.anns.values()):
        raise UserError(
            f"{instances.folder}: all objects are crowds, so there is no AP; list data that have single objects"
        )
    scores = {}
    for kind, name in ("bbox", "box"), ("segm", "mask"):
        stats = [0.0] * len(STATS)
        if results:
            with quiet():
                evaluator = COCOeval(instances.coco, instances.coco.loadRes([dict(each) for each in results]), kind)
                evaluator.evaluate()
                evaluator.accumulate()
                evaluator.summarize()
            stats = evaluator.stats
        scores |= {f"{name}_{stat}": round(100 * float(value), 3) for stat, value in zip(STATS, stats)}
    return scores
