"""Pretrain one model and leave its encoder, its full checkpoint and its metrics."""

import shutil
from pathlib import Path

import torch

from cae.data.batches import MaskedViews, Views, loader, micro_batches, workers
from cae.data.datasets import Images
from cae.errors import UserError
from cae.files import atomic, read_json, text_hash
from cae.models.cae import CAE
from cae.models.encoders import save_encoder
from cae.params import Pretraining
from cae.tokenizers import cache
from cae.training.loop import Schedule, load_checkpoint, start, train
from cae.training.optim import adamw, warmup_cosine


def main(
    data: Path, tokenizer: Path | None, tokens: Path | None, params: Pretraining, threads: int, gpus: int,
    work: Path, output: Path, code: str = "", checkpoint_minutes: float = 10,
) -> None:  # fmt: skip
    """`tokenizer` and `tokens` are needed for token targets only. With 0 epochs the encoder is left as initialised.

    `code`: a hash of the code that runs; an unfinished run of other code is not gone on with.
    """
    p = params
    fabric = start(threads, gpus)
    images = Images(data, 0)
    schedule = Schedule(len(images), p.batch_size, p.micro_batch, p.epochs, fabric.world_size)
    belongs, cached, vocabulary = {"dataset": images.fingerprint}, None, None
    if p.needs_tokens:
        if not (tokenizer and tokens):
            raise UserError(f"{output.name}: targets are tokens; name --tokenizer and --tokens")
        about = read_json(tokenizer / "tokenizer.json")
        vocabulary = about["params"]["vocabulary"]
        belongs = cache.identity(images.fingerprint, about, p.seed, p.view)
        cached = cache.open_cache(tokens, (len(images), p.view.views, p.image.grid, p.image.grid), belongs)

    torch.manual_seed(p.seed)
    model = CAE(p, vocabulary or 1)
    batches = MaskedViews(Views(images, p.view, p.view.views, p.image.size, p.seed), p.mask, p.image.grid, cached)
    warmup = p.warmup_epochs * schedule.steps_per_epoch
    params_hash = text_hash(p.model_dump_json() + str(belongs))
    processes = workers(threads, gpus, fabric.device.type)
    train(
        fabric, model, adamw(model, lr=p.lr, betas=p.betas, weight_decay=p.weight_decay),
        lambda step: loader(batches, micro_batches(schedule, p.seed, step, fabric.global_rank), processes),
        schedule, lr_at=lambda step: warmup_cosine(step, steps=schedule.steps, warmup=warmup, lr=p.lr, min_lr=p.min_lr),
        clip=p.clip, seed=p.seed, work=work, params_hash=params_hash + code, checkpoint_minutes=checkpoint_minutes,
        title=output.name,
    )  # fmt: skip
    if fabric.is_global_zero:
        output.mkdir(parents=True, exist_ok=True)
        provenance = {"model": output.name, "epochs": p.epochs, "images": schedule.steps * p.batch_size,
                      "params_hash": params_hash, **belongs}  # fmt: skip
        save_encoder(output, model.encoder, p, provenance)
        for source, target in (("metrics.jsonl", "metrics.jsonl"), ("state.ckpt", "last.ckpt")):
            with atomic(output / target) as temporary:
                shutil.copy(work / source, temporary)


def load_model(folder: Path) -> CAE:
    """The whole pretrained model in a folder, regressor and decoder included, in evaluation mode."""
    params = Pretraining(**read_json(folder / "config.json")["params"])
    state = load_checkpoint(folder / "last.ckpt")["model"]
    model = CAE(params, len(state["head.weight"]))
    model.load_state_dict(state)
    return model.eval().requires_grad_(False)
