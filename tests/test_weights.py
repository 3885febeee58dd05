"""Weights on disk: none that is NaN or infinite is written, or read as good."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from cae.errors import UserError
from cae.weights import load_weights, save_weights


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_refused_by_name(tmp_path, value):
    model, path = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)), tmp_path / "model/model.safetensors"
    save_weights(path, model)
    before = path.read_bytes()
    model[0].weight.data[1, 1] = value
    with pytest.raises(UserError, match=r"model.safetensors: not written: 0.weight \(1 of 6\): NaN or infinite"):
        save_weights(path, model)
    assert path.read_bytes() == before and len(list(path.parent.iterdir())) == 1
    save_file(model.state_dict(), path)
    with pytest.raises(
        UserError, match=r"model.safetensors: 0.weight \(1 of 6\): NaN or infinite; delete .*/model and make it"
    ):
        load_weights(path, nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)))


def test_statistics_of_a_batch_norm_count_too(tmp_path):
    norm = nn.BatchNorm1d(3)
    norm.running_var[:2] = torch.inf
    with pytest.raises(UserError, match=r"running_var \(2 of 3\)"):
        save_weights(tmp_path / "norm.safetensors", norm)
