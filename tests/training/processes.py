"""Commands of `cae` as one of several processes, or as the only one: `python -m tests.training.processes JOBS.json`.

JOBS: a list of [command, …, file]. Of each command the gradients of its first step are kept in its file, as they are when
the optimiser takes them, and the command ends there; where the file is null, it runs to its end.
"""

import json
import sys
from pathlib import Path

import torch
from torch import distributed, nn
from torch.distributed.nn.functional import all_reduce

from cae.cli import main
from cae.training import devices


class Enough(BaseException):
    """Ends a command after its first step; no Exception, so that the command line does not take it for an error to report."""


class BatchNormOfAll(nn.Module):
    """BatchNorm over the images of all processes, by its definition: PyTorch's needs GPUs."""

    def __init__(self, norm: nn.modules.batchnorm._BatchNorm):
        super().__init__()
        self.norm = norm

    def forward(self, x):
        norm, world = self.norm, distributed.get_world_size()
        around, shape = [i for i in range(x.ndim) if i != 1], [1, -1, *[1] * (x.ndim - 2)]
        mean = all_reduce(x.mean(around)) / world  # as many on each
        variance = all_reduce((x - mean.view(shape)).square().mean(around)) / world
        x = (x - mean.view(shape)) / (variance.view(shape) + norm.eps).sqrt()
        return x if norm.weight is None else x * norm.weight.view(shape) + norm.bias.view(shape)


def with_batch_norm_of_all(model: nn.Module) -> nn.Module:
    for name, part in model.named_children():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            setattr(model, name, BatchNormOfAll(part))
        else:
            with_batch_norm_of_all(part)
    return model


def synchronised(fabric, model: nn.Module) -> nn.Module:
    """A detector's one process has passes of half a step, to pad images alike, and so BatchNorm over these: two shall, too."""
    alone = fabric.world_size == 1 or type(model).__name__ == "Detector"
    return model if alone else with_batch_norm_of_all(model)


def keep_gradients(file: str) -> None:
    def step(optimizer, *_, **__):
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"]]
        if not distributed.is_initialized() or distributed.get_rank() == 0:
            torch.save(gradients, file)
        raise Enough

    torch.optim.AdamW.step = step


def run(jobs: list[list]) -> None:
    step = torch.optim.AdamW.step
    torch.randperm = lambda n, **options: torch.arange(n, device=options.get("device"))  # detectors pick samples by it
    nn.Dropout2d.forward = lambda _, x: x
    devices.synchronised = synchronised
    for *command, file in jobs:
        torch.optim.AdamW.step = step
        if file:
            keep_gradients(file)
        try:
            main(command)
        except Enough:
            pass


if __name__ == "__main__":
    run(json.loads(Path(sys.argv[1]).read_text()))
