"""MoCo v3: its loss against plain formulas, known numbers, its teacher, negatives of all devices."""

import copy
import math

import numpy as np
import pytest
import torch

from cae.models.vit import normalise
from tests.methods.examples import PAPER, batch_of, make, view_batch, without_decay

LONGER = {"hidden_width": 64, "output_width": 32}  # as wide as a run needs whose loss is to fall


def test_moco_has_the_published_numbers(tiny):
    params = PAPER.pretraining("moco-v3-b-300")
    assert params.lr == pytest.approx(1.5e-4 * 4096 / 256) and PAPER.pretraining("moco-v3-s-300").heads == 12
    assert not without_decay(make(tiny, "moco-v3-b-300"))


def test_moco_loss_by_hand(tiny):
    """Two cross-entropies over cosine similarities, each query's positive the key of its image's other view."""
    model = make(tiny, "moco-v3-b-300")
    for parameter in model.key_encoder.parameters():  # a teacher that differs from its student
        parameter.add_(0.01 * torch.randn_like(parameter))
    data = view_batch(model.params)
    loss = model(copy.deepcopy(data))["loss"].item()

    def unit(x):
        x = x.detach().double().numpy()
        return x / np.linalg.norm(x, axis=1, keepdims=True)

    views = [normalise(view) for view in data["views"]]
    queries = [unit(model.predictor(model.projector(model.encoder.forward_features(v)[:, 0]))) for v in views]
    keys = [unit(model.key_projector(model.key_encoder.forward_features(v)[:, 0])) for v in views]
    total = 0
    for q, k in ((queries[0], keys[1]), (queries[1], keys[0])):
        logits = q @ k.T / 0.2
        total += 2 * 0.2 * np.mean([np.log(np.exp(row).sum()) - row[i] for i, row in enumerate(logits)])
    assert loss == pytest.approx(total, rel=1e-4)


def test_moco_trains_neither_keys_nor_patch_embedding(tiny):
    model = make(tiny, "moco-v3-b-300")
    model(view_batch(model.params))["loss"].backward()
    without = {name for name, p in model.named_parameters() if p.grad is None}
    assert {name.split(".")[0] for name in without} == {"encoder", "key_encoder", "key_projector"}
    assert {name for name in without if name.startswith("encoder")} == {
        "encoder.pos_embed", "encoder.patch_embed.proj.weight", "encoder.patch_embed.proj.bias"}  # fmt: skip
    widths = [layer.weight.shape for layer in model.projector if isinstance(layer, torch.nn.Linear)]
    assert widths == [(32, 16), (32, 32), (16, 32)]
    norms = [layer for layer in model.projector if isinstance(layer, torch.nn.BatchNorm1d)]
    assert [norm.affine for norm in norms] == [True, True, False]


def test_moco_teacher_is_a_moving_average_whose_momentum_rises_to_one(tiny):
    model = make(tiny, "moco-v3-b-300")
    before = {n: p.clone() for n, p in model.key_encoder.named_parameters()}
    data = batch_of(model.params)
    model(data)
    with torch.no_grad():
        for parameter in model.encoder.parameters():
            parameter.add_(1.0)
    model.after_step(0.25)
    momentum = 1 - (1 - model.params.momentum) * (math.cos(math.pi * 0.25) + 1) / 2
    followed = dict(model.encoder.named_parameters())
    for n, p in model.key_encoder.named_parameters():
        torch.testing.assert_close(p, momentum * before[n] + (1 - momentum) * followed[n], msg=n)
    after = {n: p.clone() for n, p in model.key_encoder.named_parameters()}
    model(data)
    model.after_step(1.0)
    for n, p in model.key_encoder.named_parameters():
        assert torch.equal(p, after[n])


def contrast_on(rank, model, queries, keys, folder):
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    torch.set_num_threads(1)
    loss, right = model.contrast(queries.chunk(2)[rank], keys.chunk(2)[rank])
    torch.save((loss, right), folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


def test_negatives_come_from_all_devices(tiny, tmp_path):
    """Two processes of half a batch each: their mean is the loss of the whole batch in one."""
    model = make(tiny, "moco-v3-b-300").requires_grad_(False)
    queries, keys = torch.randn(2, 12, 16)
    torch.multiprocessing.start_processes(
        contrast_on, (model, queries, keys, tmp_path), nprocs=2, start_method="fork"
    )  # fmt: skip
    parts = [torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1)]
    whole = model.contrast(queries, keys)
    for part, expected in zip(zip(*parts), whole):
        torch.testing.assert_close(sum(part) / 2, expected)
