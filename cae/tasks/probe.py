"""Linear and attentive probing of one frozen encoder (Table 1, LIN and ATT).

Both heads are trained side by side on one pass of the encoder, which is nearly all of the cost: each sees its own
batch size, optimiser and learning rate, and neither sees the other. With fewer views than epochs the encoder runs
once per view and its tokens are kept.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import tee

import numpy as np
import torch
import torch.nn.functional as F
from timm.optim import Lars
from torch import Tensor, nn

from cae.data.batches import CentreCrops, Pixels, Views, loader, micro_batches, workers
from cae.data.datasets import Images
from cae.data.rng import permutation
from cae.data.schedule import Schedule
from cae.errors import UserError
from cae.files import revision, text_hash, write_json
from cae.models.encoders import load_encoder
from cae.models.probes import AttentiveProbe, LinearProbe
from cae.models.vit import normalise
from cae.options import AttentiveMetrics, Data, Encoder, LinearMetrics, ProbeWeights, fields_of, params_of
from cae.params import Job, Probe, Probes
from cae.training.devices import machine, start
from cae.training.optim import warmup_cosine
from cae.training.run import Run, Runtime, Settings
from cae.weights import save_weights

KEEP_BYTES = 4 << 30  # of encoder tokens in memory


class ProbeJob(Probes, Job):
    pass


class Head:
    """One probe with its optimiser; gradients accumulate over micro-batches up to its batch size."""

    def __init__(self, name: str, module: nn.Module, params: Probe, job: ProbeJob, images: int, device: torch.device):
        self.name, self.module, self.params = name, module.to(device), params
        if images < params.batch_size:
            raise UserError(f"probes.{name}.batch_size {params.batch_size} is above the {images} training images")
        self.accumulate = params.batch_size // job.micro_batch
        steps_per_epoch = images // job.micro_batch // self.accumulate
        self.steps, self.warmup = job.epochs * steps_per_epoch, job.warmup_epochs * steps_per_epoch
        self.step = self.micro = 0
        self.curve: list[list[float]] = []  # top1 and top5 (%) of each validation
        matrices = [p for p in module.parameters() if p.ndim > 1]
        vectors = [p for p in module.parameters() if p.ndim <= 1]
        if name == "linear":  # LARS adapts matrices only, as MAE's
            groups = [{"params": matrices, "always_adapt": True}, {"params": vectors, "always_adapt": False}]
            self.optimizer = Lars(groups, lr=params.lr, momentum=0.9, weight_decay=0.0, trust_coeff=0.001)
        else:
            self.optimizer = torch.optim.SGD(module.parameters(), lr=params.lr, momentum=0.9, nesterov=True)

    def train_on(self, tokens: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """The loss of a micro-batch; nothing once all steps are done."""
        if self.step == self.steps:
            return {}
        self.module.train()
        loss = F.cross_entropy(self.module(tokens), labels)
        (loss / self.accumulate).backward()
        self.micro += 1
        if self.micro % self.accumulate == 0:
            p = self.params
            for group in self.optimizer.param_groups:
                group["lr"] = warmup_cosine(self.step, steps=self.steps, warmup=self.warmup, lr=p.lr, min_lr=p.min_lr)
            self.optimizer.step()
            self.optimizer.zero_grad()
            self.step += 1
        return {f"loss_{self.name}": loss}

    @torch.no_grad()
    def correct(self, tokens: Tensor, labels: Tensor) -> Tensor:
        """Counts of validation images right in the first and in the first five guesses: int [2]."""
        self.module.eval()
        if getattr(self.params, "validation_statistics", "running") == "batch":
            self.module.norm.train()
        logits = self.module(tokens)
        ranks = logits.topk(min(5, logits.shape[1])).indices == labels[:, None]
        return torch.stack([ranks[:, 0].sum(), ranks.any(1).sum()])

    def state_dict(self) -> dict:
        gradients = [p.grad for p in self.module.parameters()]  # of a batch that is not complete
        return {"module": self.module.state_dict(), "optimizer": self.optimizer.state_dict(), "step": self.step,
                "micro": self.micro, "gradients": gradients, "curve": self.curve}  # fmt: skip

    def load_state_dict(self, state: dict) -> None:
        self.module.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.micro, self.curve = state["step"], state["micro"], state["curve"]
        for parameter, gradient in zip(self.module.parameters(), state["gradients"]):
            parameter.grad = None if gradient is None else gradient.to(parameter.device)


class Tokens:
    """The frozen encoder's tokens [B, 1 + N, D] of a data set's images, kept in memory (float16) where they fit."""

    def __init__(
        self, encoder: nn.Module, dataset, images: int, views: int, micro_batch: int, workers: int, autocast: Callable
    ):
        self.encoder, self.dataset, self.images, self.views, self.autocast = encoder, dataset, images, views, autocast
        self.micro_batch, self.workers, self.device = micro_batch, workers, next(encoder.parameters()).device
        self.encoded = 0
        shape = (views, images, 1 + encoder.patch_embed.num_patches, encoder.embed_dim)
        self.kept = (
            torch.empty(shape, dtype=torch.float16) if 2 * np.prod(shape, dtype=np.int64) <= KEEP_BYTES else None
        )
        self.filled = 0  # views kept so far

    def __call__(
        self, keys: Iterable[tuple[int, np.ndarray]], between: Callable[[], None] = lambda: None
    ) -> Iterator[tuple[np.ndarray, Tensor]]:
        """(indices, tokens) for each (epoch, indices); `between` is called often while a whole view is encoded."""
        if self.kept is None:
            yield from self._encode(keys)
            return
        for epoch, indices in keys:
            while self.filled <= epoch % self.views:
                for part, tokens in self._encode(self.split(np.arange(self.images), self.filled)):
                    self.kept[self.filled, part] = tokens.half().cpu()
                    between()
                self.filled += 1
            yield indices, self.kept[epoch % self.views, indices].to(self.device).float()

    def split(self, order: np.ndarray, epoch: int = 0) -> Iterator[tuple[int, np.ndarray]]:
        """`order` in micro-batches."""
        return ((epoch, part) for part in np.split(order, range(self.micro_batch, len(order), self.micro_batch)))

    @torch.no_grad()
    def _encode(self, keys):
        keys, asked = tee(keys)
        for (_, indices), batch in zip(keys, loader(self.dataset, asked, self.workers)):
            with self.autocast():
                tokens = self.encoder.forward_features(normalise(batch["pixels"].to(self.device)))
            self.encoded += len(indices)
            yield indices, tokens.float()

    def state_dict(self) -> dict:
        return {"encoded": self.encoded}

    def load_state_dict(self, state: dict) -> None:
        self.encoded = state["encoded"]


def main(
    *, data: Data, encoder: Encoder, params: params_of(ProbeJob), runtime: fields_of(Runtime), linear: LinearMetrics,
    attentive: AttentiveMetrics, weights: ProbeWeights,
) -> None:  # fmt: skip
    """Train a linear and an attentive probe on an encoder.

    Writes their accuracies on the validation images and their weights; the encoder is frozen.
    """
    p = params
    fabric = start(runtime.threads, min(1, runtime.gpus), p.precision)
    processes = workers(runtime.threads, runtime.gpus, fabric.device.type)
    vit, config = load_encoder(encoder)
    vit.to(fabric.device)
    train, val = Images(data, 0), Images(data, 1)
    size, heads, width = (config["arguments"][key] for key in ("img_size", "num_heads", "embed_dim"))
    params_hash = text_hash(p.model_dump_json() + config["params_hash"] + train.fingerprint)

    torch.manual_seed(p.seed)
    classes, count = len(train.classes), len(train)
    modules = {"linear": LinearProbe(width, classes),
               "attentive": AttentiveProbe(width, heads, classes, p.attentive.init_std)}  # fmt: skip
    probes = [Head(name, module, getattr(p, name), p, count, fabric.device) for name, module in modules.items()]
    views = Views(train, p.view, p.views, size, p.seed, keep=False)
    train_tokens = Tokens(vit, Pixels(views), count, p.views, p.micro_batch, processes, fabric.autocast)
    val_tokens = Tokens(vit, CentreCrops(val, size), len(val), 1, p.micro_batch, processes, fabric.autocast)
    train_labels, val_labels = (torch.from_numpy(images.labels).to(fabric.device) for images in (train, val))
    val_order = permutation(len(val), p.seed, "order")  # batches of mixed classes, for statistics of a batch

    schedule = Schedule(count, p.micro_batch, p.micro_batch, p.epochs)  # a step of the run is a micro-batch
    settings = Settings(runtime, p.seed, params_hash, f"probe {encoder.name}")
    parts = {"linear": probes[0], "attentive": probes[1], "train": train_tokens, "val": val_tokens}
    run = Run(fabric, schedule, settings, **parts)
    batches = train_tokens(micro_batches(schedule, p.seed, run.step), run.save_if_asked)
    every = max(1, p.epochs // 10)
    for step in run:
        indices, tokens = next(batches)
        for head in probes:
            run.add(head.train_on(tokens, train_labels[torch.from_numpy(indices).to(fabric.device)]))
        epoch, rest = divmod(step + 1, schedule.steps_per_epoch)
        if rest == 0 and (epoch % every == 0 or epoch == p.epochs):
            right = {head: torch.zeros(2, dtype=torch.long, device=fabric.device) for head in probes}
            for indices, tokens in val_tokens(val_tokens.split(val_order)):
                for head in probes:
                    right[head] += head.correct(tokens, val_labels[torch.from_numpy(indices).to(fabric.device)])
            for head in probes:
                head.curve.append([round(100 * n / len(val), 3) for n in right[head].tolist()])
        run.latest = {f"top1_{head.name}": head.curve[-1][0] for head in probes if head.curve}
    for head, file, trained in zip(probes, (linear, attentive), weights, strict=True):
        top1, top5 = head.curve[-1]
        save_weights(trained, head.module)
        write_json(file, {
            "model": encoder.name, "protocol": head.name, "top1": top1, "top5": top5, "train_images": count,
            "val_images": len(val), "classes": classes, "epochs": p.epochs, "params_hash": params_hash,
            "seconds": round(run.rows[-1]["seconds"], 1),
            "images_per_second": round((train_tokens.encoded + val_tokens.encoded) / run.rows[-1]["seconds"], 1),
            "precision": run.precision, "machine": machine(fabric.device.type), "revision": revision(),
            "curve": [top1 for top1, _ in head.curve],
        })  # fmt: skip
    run.path.unlink()
