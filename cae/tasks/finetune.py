"""Fine-tuning of one pretrained encoder, on ImageNet (Table 1, FT; Appendix A), on a share of its labels, or on another
labelled set (Table 6).

The recipe is BEiT's, as the public code has it, layer-wise decay of learning rates included; like ours its warm-up starts
from 0 (its option `--warmup_lr` never reaches the schedule). The classifier stays beside its metrics, in timm's form, to be
used or evaluated again.
"""

import torch

from cae.data import few_labels
from cae.data.batches import loader, micro_batches, workers
from cae.data.datasets import Images
from cae.data.schedule import Schedule
from cae.files import revision, text_hash, write_json
from cae.models.classifier import classifier
from cae.models.encoders import load_encoder, save_model
from cae.models.supervised import Supervised, augmented
from cae.options import Data, Encoder, Metrics, OutputFolder, Protocol, fields_of, params_of
from cae.params import FineTune, Job
from cae.tasks.classify import accuracy
from cae.training.devices import start
from cae.training.loop import train
from cae.training.optim import Optimisation, adamw_by_layer, warmup_cosine
from cae.training.run import Runtime, Settings


class FineTuneJob(FineTune, Job):
    pass


def main(
    *, data: Data, encoder: Encoder, protocol: Protocol, params: params_of(FineTuneJob), runtime: fields_of(Runtime),
    metrics: Metrics, output: OutputFolder,
) -> None:  # fmt: skip
    """Fine-tune an encoder as a classifier.

    Writes the classifier and its accuracy on the validation images.
    """
    p = params
    fabric = start(runtime.threads, runtime.gpus, p.precision)
    images, val = Images(data, 0), Images(data, 1)
    if p.labels < 1:
        few_labels.keep(images, p.labels)
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
    processes = workers(runtime.threads, runtime.gpus, fabric.device.type)
    warmup = p.warmup_epochs * schedule.steps_per_epoch
    run = train(
        fabric, Supervised(network, p, classes),
        lambda step: loader(batches, micro_batches(schedule, p.seed, step, fabric.global_rank), processes),
        schedule, Settings(runtime, p.seed, params_hash, f"{protocol} {encoder.name}"),
        Optimisation(optimizer, lambda step: warmup_cosine(step, steps=schedule.steps, warmup=warmup, lr=p.lr, min_lr=p.min_lr)),
    )  # fmt: skip
    if not fabric.is_global_zero:
        return
    about = {"model": encoder.name, "params_hash": params_hash, "classes": classes, "revision": revision()}
    save_model(output, network, architecture, arguments, {
        "protocol": protocol, "params": p.model_dump(), "epochs": p.epochs, "images": schedule.steps * p.batch_size,
        "encoder": config["params_hash"], "dataset": images.fingerprint, **about,
    })  # fmt: skip
    run.copy_metrics(output)

    saved, _ = load_encoder(output)  # what is told is of what is kept
    result = accuracy(saved, val, p.micro_batch, fabric.device.type, p.precision, processes, f"evaluate {encoder.name}")
    account = run.account(len(val), result.pop("seconds"))
    write_json(metrics, {
        "protocol": protocol, **about, **result, "train_images": len(images), "epochs": p.epochs, **account,
    })  # fmt: skip
    run.path.unlink()
