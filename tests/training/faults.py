"""A command of `cae` as several processes on the CPU, in which something goes wrong: `python -m tests.training.faults FAULT …`.

Started by torchrun or srun it is as many processes as they start, else the two that Fabric's own launcher makes of it.
"""

import os
import signal
import sys
import time

import lightning_fabric
import torch
from torch import distributed

from cae.cli import main
from cae.errors import UserError
from cae.training.run import Run

STEP = 5  # at which it goes wrong
Fabric, save, add = lightning_fabric.Fabric, torch.save, Run.add


class Two(Fabric):
    def __init__(self, **options):
        alone = type(options["plugins"]).__name__ == "LightningEnvironment"
        super().__init__(**options | ({"devices": 2} if alone else {}))


class NotFinite(Two):
    """A gradient of one process is not finite, and no loss tells of it."""

    steps = 0

    def backward(self, loss, *arguments, **options):
        self.steps += 1
        super().backward(loss * float("nan") if unlucky() and self.steps == STEP else loss, *arguments, **options)


def unlucky() -> bool:
    return distributed.get_rank() == 1


def slow(*arguments) -> None:
    """A write that takes longer than a launcher leaves to a process once another has ended."""
    time.sleep(float(os.environ["SECONDS_TO_WRITE"]))
    save(*arguments)


def full(state, path) -> None:
    if state["step"] >= STEP:
        raise OSError(28, "No space left on device")
    save(state, path)


def error(run, terms) -> None:
    if unlucky() and run.step == STEP:
        raise UserError("photo.jpg: cannot be read")
    add(run, terms)


def bug(run, terms) -> None:
    if unlucky() and run.step == STEP:
        raise ZeroDivisionError("of one process")
    add(run, terms)


def killed(run, terms) -> None:
    if unlucky() and run.step == STEP:
        os.kill(os.getpid(), signal.SIGKILL)
    add(run, terms)


def another_step(run) -> None:
    """What a node sees that has another folder under the name of `--work`."""
    run.step += unlucky()
    check(run)


check = Run._check_agreement
FAULTS = {
    "slow": lambda: setattr(torch, "save", slow),
    "full": lambda: setattr(torch, "save", full),
    "error": lambda: setattr(Run, "add", error),
    "bug": lambda: setattr(Run, "add", bug),
    "killed": lambda: setattr(Run, "add", killed),
    "another step": lambda: setattr(Run, "_check_agreement", another_step),
    "not finite": lambda: setattr(lightning_fabric, "Fabric", NotFinite),
}

if __name__ == "__main__":
    _, fault, *command = sys.argv
    lightning_fabric.Fabric = Two
    FAULTS[fault]()
    main(command)
