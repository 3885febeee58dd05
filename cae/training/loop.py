"""The one training loop: it knows no method, a method knows no loop.

A run is a pure function of its params and data: random numbers are seeded anew at every micro-batch, so that a run
killed at any moment and started again ends with the same weights as one that was never stopped.
"""

import json
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import LightningEnvironment
from torch import nn

from cae.data.schedule import Schedule
from cae.errors import UserError
from cae.files import atomic
from cae.progress import progress
from cae.training.cpu import use_onednn


def pick_device(threads: int, gpus: int) -> str:
    """ "cuda" if a GPU is asked for and there, else "cpu" with `threads` threads: for work on a single device."""
    torch.set_num_threads(threads)
    return "cuda" if gpus and torch.cuda.is_available() else "cpu"


def start(threads: int, gpus: int) -> Fabric:
    """A Fabric on `gpus` GPUs (bfloat16 autocast), or on the CPU with `threads` threads (float32)."""
    if gpus and not torch.cuda.is_available():
        print("no GPU here: running on the CPU", flush=True)
        gpus = 0
    fabric = Fabric(
        accelerator="cuda" if gpus else "cpu",
        devices=gpus or 1,
        precision="bf16-mixed" if gpus else "32-true",
        plugins=LightningEnvironment(),  # starts a process a GPU; inside a Slurm job it would expect them to be there
    )
    fabric.launch()
    torch.set_num_threads(max(1, threads // fabric.world_size))
    return fabric


def train(
    fabric: Fabric,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Callable[[int], Iterable[dict]],
    schedule: Schedule,
    *,
    lr_at: Callable[[int], float],
    weight_decay_at: Callable[[int], float] | None = None,
    clip: float | None,
    seed: int,
    work: Path,
    params_hash: str,
    checkpoint_minutes: float = 10,
    title: str = "",
) -> None:
    """Train `model` in place, saving its state in `work` as it goes and going on from what it finds there.

    `model(batch)` returns loss terms, of which `loss` is minimised; `batches(step)` yields micro-batches from that
    step on. A model's methods `before_step(progress)` and `after_step(progress)`, where it has them, are called around
    each step of the optimiser (a teacher follows the model, say). `work/state.ckpt` is saved every `checkpoint_minutes`
    and on SIGTERM; `work/metrics.jsonl` grows a line every hundredth of the run, or every hundred steps where that is
    more often. Raises UserError if the loss is not finite or the state is another run's.
    """
    if fabric.device.type == "cpu":
        use_onednn(model)
    before_step, after_step = (getattr(model, name, None) for name in ("before_step", "after_step"))
    model, optimizer = fabric.setup(model, optimizer)
    model.train()
    run = Run(work / "state.ckpt", params_hash)
    run.resume(fabric, model, optimizer)
    total = schedule.steps
    rows = min(total, max(100, total // 100))  # of metrics, evenly spread
    stopping = _note_sigterm()
    size = schedule.batch_size
    bar = progress(title, total * size, initial=run.step * size, disable=not fabric.is_global_zero)
    source = iter(batches(run.step))
    saved = time.monotonic()
    logged = run.step, saved
    while run.step < total:
        lr = lr_at(run.step)
        for group in optimizer.param_groups:
            group["lr"] = lr * group.get("lr_scale", 1.0)  # timm's key, of layer-wise decay
            if weight_decay_at and group["weight_decay"]:
                group["weight_decay"] = weight_decay_at(run.step)
        for micro in range(schedule.accumulate):
            batch = fabric.to_device(next(source))
            batch["progress"] = run.step / total
            torch.manual_seed((seed << 44) + (fabric.global_rank << 34) + run.step * schedule.accumulate + micro)
            with fabric.no_backward_sync(model, enabled=micro + 1 < schedule.accumulate):
                terms = model(batch)
                fabric.backward(terms["loss"] / schedule.accumulate)
            run.add(terms, 1 / schedule.accumulate)
        if clip:
            norm = fabric.clip_gradients(model, optimizer, max_norm=clip, error_if_nonfinite=False)
            run.add({"gradient_norm": norm}, 1)
        if before_step:
            before_step(run.step / total)
        optimizer.step()
        optimizer.zero_grad()
        run.step += 1
        if after_step:
            after_step(run.step / total)
        bar.update(size)
        if run.step * rows // total > (run.step - 1) * rows // total:
            now = run.step, time.monotonic()
            row = run.log(fabric, schedule, lr, steps=now[0] - logged[0], seconds=now[1] - logged[1])
            logged = now
            bar.set_postfix({k: f"{row[k]:.3f}" for k in ("loss", "accuracy") if k in row}, refresh=False)
        minutes = (time.monotonic() - saved) / 60
        stop = _agreed(fabric, run.step, stopping)
        if (minutes >= checkpoint_minutes or stop) and run.step < total:
            run.save(fabric, model, optimizer)
            saved = time.monotonic()
            if stop:
                raise UserError(f"stopped by SIGTERM at step {run.step} of {total}; run the same command to go on")
    bar.close()
    run.save(fabric, model, optimizer, finished=True)


@dataclass
class Run:
    """Where a run is, and how it is saved."""

    path: Path
    params_hash: str
    step: int = 0

    def __post_init__(self):
        self.sums: dict[str, torch.Tensor] = {}  # of loss terms since the last row
        self.seconds = 0.0
        self.rows: list[dict] = []

    @property
    def metrics(self) -> Path:
        return self.path.with_name("metrics.jsonl")

    def resume(self, fabric, model, optimizer) -> None:
        if self.path.exists():
            state = load_checkpoint(self.path)
            if state["params_hash"] == self.params_hash:
                model.load_state_dict(state["model"])
                optimizer.load_state_dict(state["optimizer"])
                self.step, self.seconds, self.rows = state["step"], state["seconds"], state["rows"]
                self.sums = fabric.to_device(state["sums"])
            elif not state["finished"]:
                raise UserError(
                    f"{self.path}: state of an unfinished run with other params or code; "
                    f"delete {self.path.parent} to start afresh"
                )
        if fabric.is_global_zero:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.metrics.write_text("".join(json.dumps(row) + "\n" for row in self.rows))

    def save(self, fabric, model, optimizer, finished: bool = False) -> None:
        """By the first process alone and without a barrier: clocks decide when, and those of processes differ."""
        if not fabric.is_global_zero:
            return
        self._check_finite(self.sums)
        state = {"params_hash": self.params_hash, "step": self.step, "seconds": self.seconds, "rows": self.rows,
                 "sums": self.sums, "finished": finished,
                 "model": model.state_dict(), "optimizer": optimizer.state_dict()}  # fmt: skip
        with atomic(self.path) as temporary:
            torch.save(state, temporary)

    def add(self, terms: dict, weight: float) -> None:
        for name, value in terms.items():
            self.sums[name] = self.sums.get(name, 0) + value.detach() * weight

    def log(self, fabric, schedule: Schedule, lr: float, steps: int, seconds: float) -> dict:
        """A row of means since the last row; `steps` were done by this process, in `seconds`."""
        since = self.rows[-1]["step"] if self.rows else 0
        means = {
            name: fabric.all_reduce(value, reduce_op="mean") / (self.step - since) for name, value in self.sums.items()
        }
        self._check_finite(means)
        means = {name: float(value) for name, value in means.items()}
        self.seconds += seconds
        row = {"step": self.step, "epoch": round(self.step / schedule.steps_per_epoch, 3),
               "images": self.step * schedule.batch_size, "lr": lr, **means, "seconds": round(self.seconds, 1),
               "images_per_second": round(steps * schedule.batch_size / seconds, 1)}  # fmt: skip
        self.rows.append(row)
        if fabric.is_global_zero:
            with open(self.metrics, "a") as file:
                file.write(json.dumps(row) + "\n")
        self.sums = {}
        return row

    def _check_finite(self, terms: dict) -> None:
        if not all(torch.isfinite(value) for value in terms.values()):
            good = f"the last good checkpoint is {self.path}" if self.path.exists() else "there is no checkpoint yet"
            raise UserError(
                f"the loss or its gradient is not finite by step {self.step}; {good}. Lower the learning rate or check the data"
            )


def load_checkpoint(path: Path) -> dict:
    """A checkpoint's state on the CPU; UserError where the file is missing, truncated or not a checkpoint."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{path}: no such checkpoint") from None
    except Exception as error:
        first = str(error).splitlines()[0]
        raise UserError(
            f"{path}: not a readable checkpoint ({first}); delete it and run the same command again"
        ) from None


def _agreed(fabric: Fabric, step: int, stopping: list) -> bool:
    """Whether to stop now. Processes hear of SIGTERM at different steps, so every tenth step they ask each other."""
    if fabric.world_size == 1:
        return bool(stopping)
    return step % 10 == 0 and bool(
        fabric.all_reduce(torch.tensor(float(bool(stopping)), device=fabric.device), reduce_op="sum")
    )


def _note_sigterm() -> list:
    """A list that SIGTERM fills: batch systems send it shortly before the time limit."""
    noted: list = []
    try:
        signal.signal(signal.SIGTERM, lambda *_: noted.append(True))
    except ValueError:  # not in the main thread: nothing to note
        pass
    return noted
