"""Pretrain one model and leave its encoder, its full checkpoint and its metrics."""

import importlib
import shutil
from pathlib import Path

import torch
from torch import nn

from cae.data.batches import loader, micro_batches, workers
from cae.data.datasets import Images
from cae.data.schedule import Schedule
from cae.errors import UserError
from cae.files import atomic, read_json, text_hash
from cae.models.encoders import save_encoder
from cae.options import Data, OutputFolder, Tokenizer, Tokens, fields_of, params_of
from cae.params import Model, Pretraining, Release, read_model
from cae.tokenizers import cache
from cae.training.devices import start, synchronised
from cae.training.loop import train
from cae.training.optim import Optimisation, adamw, cosine, warmup_cosine
from cae.training.run import Runtime, Settings, load_checkpoint


def build(params: Pretraining | Release, outputs: int | None = None) -> nn.Module:
    """A model, initialised. `outputs`: how many tokens or classes it chooses from; None where it does not.

    The module is named at run time, so that no method's code counts as part of another's.
    """
    method = importlib.import_module(f"cae.methods.{params.method}").build
    return method(params, outputs) if outputs else method(params)


def main(
    *, data: Data, tokenizer: Tokenizer | None = None, tokens: Tokens | None = None, params: params_of(Model),
    runtime: fields_of(Runtime), output: OutputFolder,
) -> None:  # fmt: skip
    """Pretrain a model.

    Writes its encoder with a card, the whole model (`last.ckpt`) and its losses. `tokenizer` and `tokens` are needed where the
    model predicts tokens.
    """
    p = params
    if not p.is_trained:
        raise UserError(f"{output.name}: `epochs: 0` leaves nothing to train; `cae initialise` draws its first weights")
    fabric = start(runtime.threads, runtime.gpus, p.precision)
    images = Images(data, 0)
    schedule = Schedule(len(images), p.batch_size, p.micro_batch, p.epochs, fabric.world_size)
    if p.contrasts_one_pass and schedule.accumulate > 1:
        raise UserError(
            f"{output.name}: {schedule.accumulate} passes a batch, and an image is contrasted with those of one pass alone; "
            "give it more GPUs, or set batch_size = micro_batch x GPUs in params"
        )
    belongs, targets, outputs = {"dataset": images.fingerprint}, [], None
    if p.target_tokenizer:
        if not (tokenizer and tokens):
            raise UserError(f"{output.name}: targets are tokens; name --tokenizer and --tokens")
        about = read_json(tokenizer / "tokenizer.json")
        outputs = about["params"]["vocabulary"]
        belongs = cache.identity(images.fingerprint, about, p.seed, p.view)
        targets = [cache.open_cache(tokens, (len(images), p.view.views, p.image.grid, p.image.grid), belongs)]
    elif p.learns_labels:
        outputs = len(images.classes)

    torch.manual_seed(p.seed)
    model = build(p, outputs)
    optimizer = adamw(model, lr=p.lr, betas=p.betas, weight_decay=p.weight_decay)
    batches = model.batches(images, p, *targets)
    model = synchronised(fabric, model)
    warmup = p.warmup_epochs * schedule.steps_per_epoch
    params_hash = text_hash(p.model_dump_json() + str(belongs))
    processes = workers(runtime.threads, runtime.gpus, fabric.device.type)
    repeats = getattr(p, "repeats", 1)
    last_decay = getattr(p, "final_weight_decay", p.weight_decay)
    run = train(
        fabric, model,
        lambda step: loader(batches, micro_batches(schedule, p.seed, step, fabric.global_rank, repeats), processes),
        schedule, Settings(runtime, p.seed, params_hash, output.name, p.compile),
        Optimisation(optimizer, lambda step: warmup_cosine(step, steps=schedule.steps, warmup=warmup, lr=p.lr, min_lr=p.min_lr),
                     lambda step: cosine(step / schedule.steps, p.weight_decay, last_decay), p.clip),
    )  # fmt: skip
    if fabric.is_global_zero:
        output.mkdir(parents=True, exist_ok=True)
        provenance = {"model": output.name, "epochs": p.epochs, "images": schedule.steps * p.batch_size,
                      "precision": run.precision, "outputs": outputs, "params_hash": params_hash, **belongs}  # fmt: skip
        save_encoder(output, model.encoder, p, provenance)
        run.copy_metrics(output)
        with atomic(output / "last.ckpt") as temporary:
            shutil.copy(run.path, temporary)


def load_model(folder: Path) -> nn.Module:
    """The whole pretrained model in a folder, heads and decoders included, in evaluation mode."""
    about = read_json(folder / "provenance.json")
    read = Release.model_validate if about["params"]["source"] == "released" else read_model
    model = build(read(about["params"]), about["outputs"])
    model.load_state_dict(load_checkpoint(folder / "last.ckpt")["model"])
    return model.eval().requires_grad_(False)
