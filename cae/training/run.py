"""A run of many steps that may be killed at any moment: started again, it goes on as if it had never been stopped."""

import json
import os
import shutil
import time
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import KW_ONLY, dataclass
from pathlib import Path

import torch
from lightning_fabric import Fabric

from cae.errors import Interrupted, UserError
from cae.files import atomic, revision
from cae.locks import lock
from cae.options import CheckpointMinutes, Code, GPUs, Recompute, Threads, Work
from cae.progress import progress
from cae.training.devices import first_alone, machine, precision_of
from cae.training.signals import noted

SHOWN = "loss", "accuracy", "top1"  # beginnings of what the progress bar tells of a row


@dataclass(frozen=True)
class Runtime:
    """What a run is given beside its params: how it is computed, and where its state lies."""

    threads: Threads = 1
    gpus: GPUs = 0
    _: KW_ONLY
    work: Work
    code: Code = ""
    checkpoint_minutes: CheckpointMinutes = 10
    recompute: Recompute = False


@dataclass(frozen=True)
class Settings:
    """What makes a run itself. `params_hash`: of its params and data; an unfinished run of others is refused."""

    runtime: Runtime
    seed: int
    params_hash: str
    title: str = ""
    compiled: bool = False  # by torch.compile


class Run:
    """The steps of a run, as an iterator: where it is, what it measures and how it is saved.

    `work/state.ckpt` is saved every `checkpoint_minutes`, on SIGINT and SIGTERM, and at the end; the one before it stays as
    `work/previous.ckpt` until the end, in case the last is damaged. `work/metrics.jsonl` grows a line every hundredth of the
    run, or every hundred steps where that is more often. Raises UserError if another process works on this state, if it is
    another run's, and if a measured term or a weight is not finite; Interrupted after a signal, once all is saved. Of several
    processes the first alone writes, and all end together.
    """

    def __init__(self, fabric: Fabric, schedule, settings: Settings, **parts):
        """`schedule`: `steps` of `batch_size` images in epochs of `steps_per_epoch`. `parts` are saved and restored, by
        their `state_dict` and `load_state_dict`."""
        runtime = settings.runtime
        self.fabric, self.schedule, self.title, self.parts = fabric, schedule, settings.title, parts
        self.path, self.previous = runtime.work / "state.ckpt", runtime.work / "previous.ckpt"
        self.metrics = runtime.work / "metrics.jsonl"
        self.precision = precision_of(fabric)
        self.params_hash, self.minutes = settings.params_hash + runtime.code, runtime.checkpoint_minutes
        self.step, self.before = 0, 0.0  # seconds of earlier starts
        self.rows: list[dict] = []
        self.latest: dict[str, float] = {}  # a row tells these as they stand
        self.sums: dict[str, tuple] = {}  # of terms since the last row, and how often each was added
        self.saved = False  # whether what lies at `path` is this run's
        self.signals: list[int] = []
        # Processes on GPUs ask each other every ten passes only, for the answer waits until the GPU has no work left.
        waits = fabric.world_size > 1 and fabric.device.type == "cuda"
        self.asks_every = max(1, 10 // schedule.accumulate) if waits else 1
        first_alone(fabric, self._lock)
        self._resume()
        self.began = self.clock = time.monotonic()

    @property
    def seconds(self) -> float:
        return self.before + time.monotonic() - self.began

    def __iter__(self) -> Iterator[int]:
        """Each step (from 0) that is left; it counts as done when the next is asked for."""
        total, size = self.schedule.steps, self.schedule.batch_size
        rows = min(total, max(100, total // 100))  # of metrics, evenly spread
        bar = progress(self.title, total * size, initial=self.step * size, disable=not self.fabric.is_global_zero)
        self.clock = time.monotonic()
        logged = self.step, self.clock
        with bar, noted() as self.signals:
            while self.step < total:
                yield self.step
                self.step += 1
                bar.update(size)
                if self.step * rows // total > (self.step - 1) * rows // total:
                    now = self.step, time.monotonic()
                    row = self._log((now[0] - logged[0]) * size / (now[1] - logged[1]))
                    logged = now
                    bar.set_postfix({k: f"{v:.3f}" for k, v in row.items() if k.startswith(SHOWN)}, refresh=False)
                if self.step < total and self.step % self.asks_every == 0:
                    self.save_if_asked()
            self.save_if_asked()

    def add(self, terms: dict[str, torch.Tensor]) -> None:
        """Measured terms, of whose values the next row tells the mean."""
        for name, value in terms.items():
            total, count = self.sums.get(name, (0, 0))
            self.sums[name] = total + value.detach(), count + 1

    def save_if_asked(self) -> None:
        """Save at the end, or if the time has come in any of the processes; raise Interrupted if any of them got a signal.

        They all stop then, and the first tells of it.
        """
        due, stop = time.monotonic() - self.clock >= 60 * self.minutes, bool(self.signals)
        if self.fabric.world_size > 1:
            asked = torch.tensor([due, stop], dtype=torch.float32, device=self.fabric.device)
            due, stop = self.fabric.all_reduce(asked, reduce_op="sum").bool().tolist()
        total = self.schedule.steps
        if due or stop or self.step == total:
            self.save(finished=self.step == total)
            self.clock = time.monotonic()
        if stop and not self.fabric.is_global_zero:
            raise SystemExit(0)
        if stop:
            raise Interrupted(f"{self.title}: saved at step {self.step} of {total}; run the same command to go on")

    def save(self, finished: bool = False) -> None:
        """Write the state, in the first process, while the others wait: a launcher kills them all once one has ended."""
        first_alone(self.fabric, lambda: self._write(finished))
        self.saved = True

    def _write(self, finished: bool) -> None:
        parts = {name: part.state_dict() for name, part in self.parts.items()}
        self._check_finite([*(total for total, _ in self.sums.values()), *_tensors(parts)])
        state = {"params_hash": self.params_hash, "precision": self.precision, "step": self.step,
                 "seconds": self.seconds, "rows": self.rows, "sums": self.sums, "finished": finished, **parts}  # fmt: skip
        with atomic(self.path) as temporary:
            torch.save(state, temporary)
            if self.saved:
                os.replace(self.path, self.previous)
        if finished:
            self.previous.unlink(missing_ok=True)

    def copy_metrics(self, folder: Path) -> None:
        with atomic(folder / "metrics.jsonl") as temporary:
            shutil.copy(self.metrics, temporary)

    def account(self, evaluated: int, seconds: float, **more) -> dict:
        """What a cell says of its making: the run, and the evaluation of so many images in `seconds`; `more` in between."""
        total = self.rows[-1]["seconds"] + seconds
        return {"seconds": round(total, 1), **more,
                "images_per_second": round((self.rows[-1]["images"] + evaluated) / total, 1), "precision": self.precision,
                "machine": machine(self.fabric.device.type), "revision": revision(),
                "losses": [round(row["loss"], 4) for row in self.rows]}  # fmt: skip

    def _resume(self) -> None:
        state, path = self._last_state()
        if state:
            if state["params_hash"] == self.params_hash:
                if not state["finished"] and state["precision"] != self.precision:
                    raise UserError(
                        f"{self.path}: began in {state['precision']}, and this machine computes in {self.precision}; set "
                        f"`precision: {state['precision']}` in params, or delete {self.path.parent} to start afresh"
                    )
                self.precision = state["precision"]
                for name, part in self.parts.items():
                    part.load_state_dict(state[name])
                self.step, self.before, self.rows = state["step"], state["seconds"], state["rows"]
                self.sums = self.fabric.to_device(state["sums"])
                self.saved = path == self.path  # a damaged file is not kept in the place of a good one
            elif not state["finished"]:
                raise UserError(
                    f"{self.path}: state of an unfinished run with other params or code; "
                    f"delete {self.path.parent} to start afresh"
                )
        self._check_agreement()
        if self.fabric.is_global_zero:
            self.metrics.write_text("".join(json.dumps(row) + "\n" for row in self.rows))

    def _last_state(self) -> tuple[dict | None, Path]:
        """What was saved last, and where; if that is damaged, or a stop fell between two renamings, what was saved before."""
        damage = None
        for path in (path for path in (self.path, self.previous) if path.exists()):
            try:
                state = load_checkpoint(path)
            except UserError as error:
                damage = damage or error
                continue
            if damage and self.fabric.is_global_zero:
                print(f"{self.path}: not a readable checkpoint; going on from the one before, of step {state['step']}")
            return state, path
        if damage:
            raise damage
        return None, self.path

    def _log(self, speed: float) -> dict:
        """A row of means since the last row, at so many images a second."""
        means = {
            name: float(self.fabric.all_reduce(total, reduce_op="mean") / count)
            for name, (total, count) in self.sums.items()
        }
        self._check_finite(map(torch.tensor, means.values()))
        row = {"step": self.step, "epoch": round(self.step / self.schedule.steps_per_epoch, 3),
               "images": self.step * self.schedule.batch_size, **self.latest, **means,
               "seconds": round(self.seconds, 1), "images_per_second": round(speed, 1)}  # fmt: skip
        self.rows.append(row)
        if self.fabric.is_global_zero:
            with open(self.metrics, "a") as file:
                file.write(json.dumps(row) + "\n")
        self.sums = {}
        return row

    def _check_finite(self, values: Iterable[torch.Tensor]) -> None:
        if not all(bool(value.isfinite().all()) for value in values):
            good = f"the last good checkpoint is {self.path}" if self.saved else "there is no checkpoint yet"
            raise UserError(
                f"the loss, its gradient or a weight is not finite by step {self.step}; {good}. "
                "Lower the learning rate or check the data"
            )

    def _lock(self) -> None:
        self.locked = lock(self.path.with_name("lock"))

    def _check_agreement(self) -> None:
        """Raise UserError in a process that would compute something else than the first."""
        mine = {"step": self.step, "precision": self.precision, "params, data and code": self.params_hash}
        for name, of_first in self.fabric.broadcast(mine).items():
            if of_first != mine[name]:
                raise UserError(
                    f"another {name} ({mine[name]}) than the first process of this run has ({of_first}); all nodes must see "
                    f"the same {self.path.parent}, data set and code, and compute alike (`precision` in params)"
                )


def _tensors(state) -> Iterator[torch.Tensor]:
    """Yield each tensor in nested dictionaries and lists."""
    if isinstance(state, torch.Tensor):
        yield state
    elif isinstance(state, dict | list | tuple):
        for value in state.values() if isinstance(state, dict) else state:
            yield from _tensors(value)


def load_checkpoint(path: Path) -> dict:
    """A checkpoint's state on the CPU; UserError where the file is missing, truncated, altered or no checkpoint.

    A file of torch.save is a zip file, with a CRC-32 of each record, which torch.load does not look at.
    """
    try:
        with zipfile.ZipFile(path) as file:
            if altered := file.testzip():
                raise zipfile.BadZipFile(f"{altered} is not as it was written")
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{path}: no such checkpoint") from None
    except Exception as error:
        first = str(error).partition("\n")[0]
        raise UserError(
            f"{path}: not a readable checkpoint ({first}); delete it and run the same command again"
        ) from None
