"""DINO: its loss against plain formulas, known numbers, its teacher and head."""

import math

import numpy as np
import pytest
import torch

from cae.methods.dino import DINO
from cae.models.vit import normalise
from cae.tasks.pretrain import build
from tests.methods.examples import PAPER, batch_of, count, make, matrices_without_decay, view_batch

LONGER = {"lr": 1e-3, "hidden_width": 64, "bottleneck": 32, "outputs": 256, "teacher_temperature": [0.02, 0.02]}


def test_dino_has_the_published_numbers(tiny):
    """The published ViT-B/16 backbone, without a classifier."""
    params = PAPER.pretraining("dino-b-400")
    assert params.lr == pytest.approx(5e-4 * 1024 / 256)
    with torch.device("meta"):
        encoder = build(params.model_copy(update={"outputs": 16})).encoder
    assert count(encoder.parameters()) == 85_798_656
    assert matrices_without_decay(make(tiny, "dino-b-400")) == set()


def step(model, progress):
    """What the loop calls around a step: the momentum is that of the progress before it."""
    model.before_step(progress)
    model.after_step(min(1.0, progress + 0.1))


def test_dino_teacher_is_a_moving_average_whose_momentum_rises_to_one(tiny):
    model = make(tiny, "dino-b-400")
    before = {n: p.clone() for n, p in model.encoder.named_parameters()}
    data = batch_of(model.params)
    model(data)
    with torch.no_grad():
        for parameter in model.student.parameters():
            parameter.add_(1.0)
    step(model, 0.25)
    momentum = 1 - (1 - model.params.momentum) * (math.cos(math.pi * 0.25) + 1) / 2
    followed = dict(model.student.named_parameters())
    for n, p in model.encoder.named_parameters():
        torch.testing.assert_close(p, momentum * before[n] + (1 - momentum) * followed[n], msg=n)
    after = {n: p.clone() for n, p in model.encoder.named_parameters()}
    model(data)
    step(model, 1.0)
    for n, p in model.encoder.named_parameters():
        assert torch.equal(p, after[n])


def test_dino_loss_by_hand(tiny):
    """Every pair of a teacher's large crop and another crop, one cross-entropy each, in NumPy."""
    model = make(tiny, "dino-b-400", teacher_temperature=[0.04, 0.07], teacher_warmup_epochs=4)
    torch.nn.init.normal_(model.centre, std=0.1)
    for parameter in model.encoder.parameters():
        parameter.add_(0.01 * torch.randn_like(parameter))
    data, centre = view_batch(model.params, n=3, views=4), model.centre.clone()
    loss = model(data)["loss"].item()

    def softmax(x):
        e = np.exp(x - x.max(-1, keepdims=True))
        return e / e.sum(-1, keepdims=True)

    with torch.no_grad():
        views = [normalise(view) for view in data["views"]]
        students = [model.student_head(model.student.forward_features(v)[:, 0]).double().numpy() for v in views]
        outputs = [model.head(model.encoder.forward_features(v)[:, 0]).double().numpy() for v in views[:2]]
    low, high = model.params.teacher_temperature
    temperature = model.teacher_temperature(data["epoch"]).item()
    assert low < temperature < high
    total = []
    for i, output in enumerate(outputs):
        target = softmax((output - centre.double().numpy()) / temperature)
        for j, student in enumerate(students):
            if i != j:
                total.append(-(target * np.log(softmax(student / 0.1))).sum(-1).mean())
    assert len(total) == 2 * 3 and loss == pytest.approx(np.mean(total), rel=1e-4)
    assert torch.equal(model.centre, centre)  # it moves once a step, however many micro-batches the step has
    model(data)
    step(model, 0.3)
    expected = 0.9 * centre.double().numpy() + 0.1 * np.concatenate(outputs).mean(0)
    np.testing.assert_allclose(model.centre.numpy(), expected, atol=1e-5)


def test_dino_head_has_a_normalised_last_layer(tiny):
    head = make(tiny, "dino-b-400").head
    assert head(torch.randn(5, 16)).abs().max() <= 1 + 1e-6
    with torch.no_grad():
        x = torch.randn(5, 16)
        before = head(x)
        head.last.mul_(3)
        torch.testing.assert_close(head(x), before)


def test_dino_freezes_the_last_layer_first_and_clips_each_parameter(tiny):
    model = make(tiny, "dino-b-400", epochs=4, clip_each=0.01)
    data = view_batch(model.params, views=4)
    (1000 * model(data)["loss"]).backward()
    model.before_step(0.2)
    assert model.student_head.last.grad is None
    norms = [p.grad.norm().item() for p in model.parameters() if p.grad is not None]
    assert max(norms) <= 0.01 + 1e-6 and sum(norm > 0.0099 for norm in norms) > 5
    model(data)["loss"].backward()
    model.before_step(0.25)  # the second of four epochs
    assert model.student_head.last.grad is not None


def test_dino_teacher_temperature_rises_epoch_by_epoch():
    params = PAPER.pretraining("dino-b-400").model_copy(update={"outputs": 4})
    model = DINO(params.model_copy(update={"depth": 1, "width": 12, "heads": 1, "hidden_width": 4, "bottleneck": 4}))
    published = np.concatenate([np.linspace(0.04, 0.07, 30), np.full(370, 0.07)])
    for epoch in (0, 1, 17, 29, 30, 399):
        assert model.teacher_temperature(torch.tensor(epoch)).item() == pytest.approx(published[epoch], abs=1e-12)
