"""Mixtures of training images: drawn anew for each seed, process and step."""

import numpy as np
import torch
from lightning_fabric import Fabric
from timm.data import Mixup
from torch import nn

from cae.data.schedule import Schedule
from cae.models.supervised import Supervised
from cae.training.devices import start
from cae.training.loop import train
from cae.training.optim import Optimisation
from cae.training.run import Runtime, Settings


def shares(tiny, work, monkeypatch, seed, rank) -> list[float]:
    """What each step's mixture takes of an image itself, in a run of the loop as process `rank`."""
    draw, drawn = Mixup._params_per_batch, []
    params = tiny.finetuning("cae-b-300").model_copy(update={"mixup": 0.8, "cutmix": 1.0})
    model, schedule = (
        Supervised(nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 10)), params, 10),
        Schedule(40, 8, 4, 2),
    )
    batch = {"views": [torch.zeros(4, 8, 8, 3, dtype=torch.uint8)], "labels": torch.arange(4)}
    with monkeypatch.context() as patched:
        patched.setattr(Mixup, "_params_per_batch", lambda self: drawn.append(draw(self)) or drawn[-1])
        patched.setattr(Fabric, "global_rank", rank)
        train(
            start(1, 0), model, lambda step: [dict(batch) for _ in range(20)], schedule,
            Settings(Runtime(work=work), seed, "a"),
            Optimisation(torch.optim.AdamW(model.parameters()), lambda step: 0.0),
        )  # fmt: skip
    return [share for share, _ in drawn]


def test_mixtures_differ_by_seed_by_process_and_by_step(tiny, tmp_path, monkeypatch):
    runs = {(seed, rank): shares(tiny, tmp_path / f"{seed}-{rank}", monkeypatch, seed, rank)
            for seed in (0, 1) for rank in (0, 1)}  # fmt: skip
    assert [len(run) for run in runs.values()] == [20] * 4
    assert len({share for run in runs.values() for share in run}) == 4 * 20
    assert runs[0, 0] == shares(tiny, tmp_path / "again", monkeypatch, 0, 0)


def test_mixtures_follow_no_other_draw_of_the_step(tiny):
    """Drop path's draws of PyTorch and the mixture's of NumPy are not the same numbers."""
    params = tiny.finetuning("cae-b-300").model_copy(update={"mixup": 0.8, "cutmix": 1.0, "erasing": 0.0})
    model = Supervised(nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 10)), params, 10)
    states = []
    model.mix = lambda images, labels: states.append(np.random.get_state()[1]) or (images, labels)
    for seed in range(3):
        torch.manual_seed(seed)
        model({"views": [torch.zeros(4, 8, 8, 3, dtype=torch.uint8)], "labels": torch.arange(4)})
        assert (states[-1] != np.random.RandomState(seed).get_state()[1]).all()
