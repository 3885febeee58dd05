"""Fine-tuning of one pretrained encoder, on ImageNet (Table 1, FT; Appendix A) or another labelled set (Table 6).

The recipe is BEiT's, as the public code has it, layer-wise decay of learning rates included. The warm-up starts from 0,
where the public code's starts from 1e-6. The classifier stays beside its metrics, in timm's form, to be used or evaluated
again.
"""

import json
import shutil
from pathlib import Path

import torch

from cae.data.batches import loader, micro_batches, workers
from cae.data.datasets import Images
from cae.data.schedule import Schedule
from cae.files import atomic, revision, text_hash, write_json
from cae.models.classifier import classifier
from cae.models.encoders import load_encoder, save_weights
from cae.models.supervised import Supervised, augmented
from cae.params import FineTune, Seed
from cae.tasks.classify import accuracy
from cae.training.loop import start, train
from cae.training.optim import adamw_by_layer, warmup_cosine


class FineTuneJob(FineTune):
    seed: Seed


def main(
    data: Path, encoder: Path, protocol: str, params: FineTuneJob, threads: int, gpus: int, work: Path, metrics: Path,
    output: Path, code: str = "", checkpoint_minutes: float = 10,
) -> None:  # fmt: skip
    """The classifier to the folder `output`, its accuracy on the validation images to the file `metrics`.

    `code`: a hash of the code that runs; an unfinished run of other code is not gone on with.
    """
    p = params
    fabric = start(threads, gpus)
    images, val = Images(data, 0), Images(data, 1)
    classes = len(images.classes)
    schedule = Schedule(len(images), p.batch_size, p.micro_batch, p.epochs, fabric.world_size)
    vit, config = load_encoder(encoder)
    size = config["arguments"]["img_size"]
    params_hash = text_hash(p.model_dump_json() + config["params_hash"] + images.fingerprint)

    torch.manual_seed(p.seed)
    network, architecture, arguments = classifier(vit, config, classes, p.relative_positions, p.drop_path)
    optimizer = adamw_by_layer(
        network, network, lr=p.lr, betas=p.betas, weight_decay=p.weight_decay, layer_decay=p.layer_decay
    )
    batches = augmented(images, size, p.view, p.randaugment, p.seed)
    processes = workers(threads, gpus, fabric.device.type)
    warmup = p.warmup_epochs * schedule.steps_per_epoch
    train(
        fabric, Supervised(network, p, classes), optimizer,
        lambda step: loader(batches, micro_batches(schedule, p.seed, step, fabric.global_rank), processes),
        schedule, lr_at=lambda step: warmup_cosine(step, steps=schedule.steps, warmup=warmup, lr=p.lr, min_lr=p.min_lr),
        clip=None, seed=p.seed, work=work, params_hash=params_hash + code, checkpoint_minutes=checkpoint_minutes,
        title=f"{protocol} {encoder.name}",
    )  # fmt: skip
    if not fabric.is_global_zero:
        return
    about = {"model": encoder.name, "params_hash": params_hash, "classes": classes, "revision": revision()}
    save_weights(output / "encoder.safetensors", network)
    write_json(output / "config.json", {
        "architecture": architecture, "arguments": arguments, "input": config["input"],
        "parameters": sum(parameter.numel() for parameter in network.parameters()), "params": p.model_dump(),
        "encoder": config["params_hash"], "dataset": images.fingerprint, **about,
    })  # fmt: skip
    with atomic(output / "metrics.jsonl") as temporary:
        shutil.copy(work / "metrics.jsonl", temporary)

    saved, _ = load_encoder(output)  # what is told is of what is kept
    result = accuracy(saved, val, p.micro_batch, fabric.device.type, processes, f"evaluate {encoder.name}")
    rows = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    seconds = rows[-1]["seconds"] + result.pop("seconds")
    write_json(metrics, {
        "protocol": protocol, **about, **result, "train_images": len(images), "epochs": p.epochs,
        "seconds": round(seconds, 1), "images_per_second": round((rows[-1]["images"] + len(val)) / seconds, 1),
        "losses": [round(row["loss"], 4) for row in rows],
    })  # fmt: skip
    (work / "state.ckpt").unlink()
