"""Linear and attentive probing of one frozen encoder (Table 1, LIN and ATT).

Both heads are trained side by side on one pass of the encoder, which is nearly all of the cost: each sees its own
batch size, optimiser and learning rate, and neither sees the other. With fewer views than epochs the encoder runs
once per view and its tokens are kept.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from timm.optim import Lars
from torch import Tensor, nn

from cae.data.batches import CentreCrops, Pixels, Views, loader, workers
from cae.data.datasets import Images
from cae.data.rng import ORDER, permutation
from cae.errors import UserError
from cae.files import atomic, revision, text_hash, write_json
from cae.models.encoders import load_encoder
from cae.models.probes import AttentiveProbe, LinearProbe
from cae.models.vit import normalise
from cae.params import Probe, Probes
from cae.progress import progress
from cae.training.loop import load_checkpoint, pick_device
from cae.training.optim import warmup_cosine

KEEP_BYTES = 4 << 30  # of encoder tokens in memory
SAVE_MINUTES = 10


class ProbeJob(Probes):
    seed: int


class Head:
    """One probe with its optimiser; gradients accumulate over micro-batches up to its batch size."""

    def __init__(self, name: str, module: nn.Module, params: Probe, job: ProbeJob, images: int, device: str):
        self.name, self.module, self.params = name, module.to(device), params
        if images < params.batch_size:
            raise UserError(f"probes.{name}.batch_size {params.batch_size} is above the {images} training images")
        self.accumulate = params.batch_size // job.micro_batch
        steps_per_epoch = images // job.micro_batch // self.accumulate
        self.steps, self.warmup = job.epochs * steps_per_epoch, job.warmup_epochs * steps_per_epoch
        self.step = self.micro = 0
        matrices = [p for p in module.parameters() if p.ndim > 1]
        vectors = [p for p in module.parameters() if p.ndim <= 1]
        if name == "linear":  # LARS adapts matrices only, as MAE's
            groups = [{"params": matrices, "always_adapt": True}, {"params": vectors, "always_adapt": False}]
            self.optimizer = Lars(groups, lr=params.lr, momentum=0.9, weight_decay=0.0, trust_coeff=0.001)
        else:
            self.optimizer = torch.optim.SGD(module.parameters(), lr=params.lr, momentum=0.9, nesterov=True)

    def train_on(self, tokens: Tensor, labels: Tensor) -> None:
        if self.step == self.steps:
            return
        self.module.train()
        (F.cross_entropy(self.module(tokens), labels) / self.accumulate).backward()
        self.micro += 1
        if self.micro % self.accumulate:
            return
        p = self.params
        for group in self.optimizer.param_groups:
            group["lr"] = warmup_cosine(self.step, steps=self.steps, warmup=self.warmup, lr=p.lr, min_lr=p.min_lr)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.step += 1

    @torch.no_grad()
    def correct(self, tokens: Tensor, labels: Tensor) -> Tensor:
        """Counts of validation images right in the first and in the first five guesses: int [2]."""
        self.module.eval()
        if getattr(self.params, "validation_statistics", "running") == "batch":
            self.module.norm.train()
        logits = self.module(tokens)
        ranks = logits.topk(min(5, logits.shape[1])).indices == labels[:, None]
        return torch.stack([ranks[:, 0].sum(), ranks.any(1).sum()])

    def state(self) -> dict:
        gradients = [p.grad for p in self.module.parameters()]  # of a batch that spans two epochs
        return {"module": self.module.state_dict(), "optimizer": self.optimizer.state_dict(), "step": self.step,
                "micro": self.micro, "gradients": gradients}  # fmt: skip

    def load(self, state: dict) -> None:
        self.module.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.micro = state["step"], state["micro"]
        for parameter, gradient in zip(self.module.parameters(), state["gradients"]):
            parameter.grad = None if gradient is None else gradient.to(parameter.device)


class Tokens:
    """The frozen encoder's tokens [B, 1 + N, D] of a data set's images, kept in memory (float16) where they fit."""

    def __init__(
        self, encoder: nn.Module, dataset, images: int, views: int, micro_batch: int, workers: int, device: str
    ):
        self.encoder, self.dataset, self.images, self.views = encoder, dataset, images, views
        self.micro_batch, self.workers, self.device = micro_batch, workers, device
        self.encoded = 0
        shape = (views, images, 1 + encoder.patch_embed.num_patches, encoder.embed_dim)
        self.kept = (
            torch.empty(shape, dtype=torch.float16) if 2 * np.prod(shape, dtype=np.int64) <= KEEP_BYTES else None
        )
        self.filled = 0  # views kept so far

    def __call__(self, epoch: int, order: np.ndarray) -> Iterator[tuple[np.ndarray, Tensor]]:
        """(indices, tokens) of each micro-batch of `order` in the epoch's view."""
        view = epoch % self.views
        if self.kept is None:
            yield from self._encode(view, order)
            return
        while self.filled <= view:
            for indices, tokens in self._encode(self.filled, np.arange(self.images)):
                self.kept[self.filled, indices] = tokens.half().cpu()
            self.filled += 1
        for indices in self._split(order):
            yield indices, self.kept[view, indices].to(self.device).float()

    def _split(self, order):
        return np.split(order, range(self.micro_batch, len(order), self.micro_batch))

    @torch.no_grad()
    def _encode(self, view, order):
        chunks = self._split(order)
        batches = loader(self.dataset, ((view, indices) for indices in chunks), self.workers)
        for indices, batch in zip(chunks, batches):
            with torch.autocast(self.device, torch.bfloat16, enabled=self.device == "cuda"):
                tokens = self.encoder.forward_features(normalise(batch["pixels"].to(self.device)))
            self.encoded += len(indices)
            yield indices, tokens.float()


def main(
    data: Path, encoder: Path, params: ProbeJob, threads: int, gpus: int, work: Path,
    linear: Path, attentive: Path, code: str = "",
) -> None:  # fmt: skip
    """Metrics of both protocols, to the files `linear` and `attentive`; `code` is a hash of the code that runs."""
    device = pick_device(threads, gpus)
    processes = workers(threads, gpus, device)
    vit, config = load_encoder(encoder)
    vit.to(device)
    train, val = Images(data, 0), Images(data, 1)
    size, heads, width = (config["arguments"][key] for key in ("img_size", "num_heads", "embed_dim"))
    params_hash = text_hash(params.model_dump_json() + config["params_hash"] + train.fingerprint)

    torch.manual_seed(params.seed)
    classes, count = len(train.classes), len(train)
    probes = [
        Head("linear", LinearProbe(width, classes), params.linear, params, count, device),
        Head(
            "attentive",
            AttentiveProbe(width, heads, classes, params.attentive.init_std),
            params.attentive,
            params,
            count,
            device,
        ),
    ]
    views = Views(train, params.view, params.views, size, params.seed, keep=False)
    train_tokens = Tokens(vit, Pixels(views), count, params.views, params.micro_batch, processes, device)
    val_tokens = Tokens(vit, CentreCrops(val, size), len(val), 1, params.micro_batch, processes, device)
    train_labels, val_labels = (torch.from_numpy(images.labels).to(device) for images in (train, val))

    val_order = permutation(len(val), params.seed, ORDER)  # batches of mixed classes, for statistics of a batch

    state = work / "state.ckpt"
    first, seconds, curves = 0, 0.0, {head.name: [] for head in probes}
    if state.exists():
        saved = load_checkpoint(state)
        if saved["params_hash"] != params_hash + code:
            raise UserError(
                f"{state}: state of an unfinished run with other params or code; delete {work} to start afresh"
            )
        first, seconds, curves = saved["epoch"], saved["seconds"], saved["curves"]
        train_tokens.encoded, val_tokens.encoded = saved["encoded"]
        for head in probes:
            head.load(saved[head.name])
    began = last_save = time.monotonic()
    every = max(1, params.epochs // 10)
    used = count // params.micro_batch * params.micro_batch
    bar = progress(f"probe {encoder.name}", params.epochs * used, initial=first * used)
    for epoch in range(first, params.epochs):
        for indices, tokens in train_tokens(epoch, permutation(count, params.seed, ORDER, epoch)[:used]):
            labels = train_labels[torch.from_numpy(indices).to(device)]
            for head in probes:
                head.train_on(tokens, labels)
            bar.update(len(indices))
        if (epoch + 1) % every == 0 or epoch + 1 == params.epochs:
            right = {head.name: torch.zeros(2, dtype=torch.long, device=device) for head in probes}
            for indices, tokens in val_tokens(0, val_order):
                labels = val_labels[torch.from_numpy(indices).to(device)]
                for head in probes:
                    right[head.name] += head.correct(tokens, labels)
            for head in probes:
                curves[head.name].append([round(100 * n / len(val), 3) for n in right[head.name].tolist()])
            bar.set_postfix({name: curve[-1][0] for name, curve in curves.items()}, refresh=False)
        if time.monotonic() - last_save > 60 * SAVE_MINUTES:
            last_save = time.monotonic()
            elapsed = seconds + last_save - began
            with atomic(state) as temporary:
                torch.save({"params_hash": params_hash + code, "epoch": epoch + 1, "seconds": elapsed,
                            "curves": curves, "encoded": (train_tokens.encoded, val_tokens.encoded),
                            **{head.name: head.state() for head in probes}}, temporary)  # fmt: skip
    bar.close()
    seconds += time.monotonic() - began
    encoded = train_tokens.encoded + val_tokens.encoded
    for head, output in zip(probes, (linear, attentive)):
        top1, top5 = curves[head.name][-1]
        write_json(output, {
            "model": encoder.name, "protocol": head.name, "top1": top1, "top5": top5, "train_images": count,
            "val_images": len(val), "classes": classes, "epochs": params.epochs, "params_hash": params_hash,
            "seconds": round(seconds, 1), "images_per_second": round(encoded / seconds, 1), "revision": revision(),
            "curve": [top1 for top1, _ in curves[head.name]],
        })  # fmt: skip
    state.unlink(missing_ok=True)
