"""A training step asks nothing of the device that its process would have to wait for."""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from cae.data.colours import draw
from cae.params import METHODS
from tests.conftest import MODELS
from tests.methods.examples import batch_of, make
from tests.models.test_segmenter import batch as labelled
from tests.models.test_segmenter import segmenter

VALUES = {"_local_scalar_dense", "is_nonzero", "equal", "nonzero", "masked_select", "_unique2", "repeat_interleave"}


class Asked(TorchDispatchMode):
    """The operations that give their process a value, or a shape that hangs on values; copies show on a GPU alone
    (benchmarks/gpu.py)."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        by_mask = name.startswith("index") and isinstance(args[1], (list, tuple)) and any(
            isinstance(index, torch.Tensor) and index.dtype == torch.bool for index in args[1])  # fmt: skip
        if name in VALUES or by_mask:
            self.names.append(name)
        return function(*args, **kwargs or {})


def asked(model, batch) -> list[str]:
    with Asked() as mode:
        model(batch)["loss"].backward()
        for name in ("before_step", "after_step"):
            getattr(model, name, lambda progress: None)(0.5)
    return mode.names


def test_what_waits_is_noticed():
    x = torch.arange(4.0)
    for wait in (lambda: x[x > 1], lambda: x.sum().item(), lambda: bool(x.any()), lambda: (x > 1).nonzero()):
        with Asked() as mode:
            wait()
        assert mode.names
    with Asked() as mode:
        x[torch.tensor([1, 2])].where(x[:2] > 1, 0).cumsum(0)
    assert not mode.names


@pytest.mark.parametrize("method", [method for method in MODELS if not METHODS[method].learns_labels])
def test_a_methods_step_waits_for_nothing(tiny, method, monkeypatch):
    """But one that learns labels: timm draws its erasing and mixing on the processor."""
    monkeypatch.setattr("cae.data.colours.needed", lambda changes: True)  # on a CPU alone it looks
    model = make(tiny, MODELS[method])
    batch = batch_of(model.params, 6)
    if views := batch.get("views"):
        batch["colours"] = [torch.from_numpy(draw(0, i, np.arange(6), 0.5, 0.2)) for i in range(len(views))]
    assert asked(model, batch) == []


def test_a_segmenters_step_waits_for_nothing():
    assert asked(segmenter(), labelled()) == []
