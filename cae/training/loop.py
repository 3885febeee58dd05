"""The one training loop: it knows no method, a method knows no loop.

A run is a pure function of its params and data: random numbers are seeded anew at every micro-batch, so that a run
killed at any moment and started again ends with the same weights as one that was never stopped.
"""

from collections.abc import Callable, Iterable
from functools import partial

import torch
from lightning_fabric import Fabric
from torch import nn
from torch.utils.checkpoint import checkpoint

from cae.data.rng import seed_of
from cae.data.schedule import Schedule
from cae.training.optim import Optimisation
from cae.training.run import Run, Settings


def train(
    fabric: Fabric,
    model: nn.Module,
    batches: Callable[[int], Iterable[dict]],
    schedule: Schedule,
    settings: Settings,
    optimisation: Optimisation,
) -> Run:
    """Train `model` in place; see `Run` for how it is saved and goes on.

    `model(batch)` returns loss terms, of which `loss` is minimised; `batches(step)` yields micro-batches from that
    step on. A model's methods `before_step(progress)` and `after_step(progress)`, where it has them, are called around
    each step of the optimiser (a teacher follows the model, say).

    A batch has also `progress` of the run, in [0, 1], and `epoch`, an integer tensor. A compiled model is so for the
    shapes of the first batch, which are those of all. It reads no number that changes by step but from tensors,
    since it would be compiled anew for each (`progress` is for the others).
    """
    before_step, after_step = (getattr(model, name, None) for name in ("before_step", "after_step"))
    if settings.runtime.recompute:
        recompute_blocks(model)
    if settings.compiled:
        model = torch.compile(model, dynamic=False)
    model, optimizer = fabric.setup(model, optimisation.optimizer)
    model.train()
    run = Run(fabric, schedule, settings, model=model, optimizer=optimizer)
    source = iter(batches(run.step))
    for step in run:
        run.latest["lr"] = lr = optimisation.lr_at(step)
        for group in optimizer.param_groups:
            group["lr"] = lr * group.get("lr_scale", 1.0)  # timm's key, of layer-wise decay
            if optimisation.weight_decay_at and group["weight_decay"]:
                group["weight_decay"] = optimisation.weight_decay_at(step)
        for micro in range(schedule.accumulate):
            batch = fabric.to_device(next(source))
            batch["progress"] = step / schedule.steps
            batch["epoch"] = torch.full((), step // schedule.steps_per_epoch, device=fabric.device)
            torch.manual_seed(seed_of(settings.seed, "step", fabric.global_rank, step * schedule.accumulate + micro))
            with fabric.no_backward_sync(model, enabled=micro + 1 < schedule.accumulate):
                terms = model(batch)
                fabric.backward(terms["loss"] / schedule.accumulate)
            run.add(terms)
        if optimisation.clip:
            norm = fabric.clip_gradients(model, optimizer, max_norm=optimisation.clip, error_if_nonfinite=False)
            run.add({"gradient_norm": norm})
        if before_step:
            before_step(step / schedule.steps)
        optimizer.step()
        optimizer.zero_grad()
        if after_step:
            after_step((step + 1) / schedule.steps)
    return run


def recompute_blocks(model: nn.Module) -> None:
    """Let each transformer block keep its inputs alone and compute the rest again when gradients are taken (Chen et al. 2016,
    arXiv 1604.06174), with the same random numbers: gradients stay the same, bit for bit."""
    for block in (part for part in model.modules() if hasattr(part, "attn")):
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)
