"""data2vec: its loss against plain formulas, known numbers, its teacher."""

import numpy as np
import pytest
import torch

from cae.methods.parts.mask_tokens import encode_masked
from cae.models.vit import normalise
from cae.tasks.pretrain import build
from tests.methods.examples import (
    PAPER,
    assert_masked_patches_reach_targets_alone,
    count,
    make,
    masked_batch,
    matrices_without_decay,
)


def test_data2vec_has_the_published_numbers(tiny):
    """BEiT's encoder, a mask token, a linear layer to as many latents, and the teacher."""
    params = PAPER.pretraining("data2vec-b-800")
    assert params.lr == 2e-3
    with torch.device("meta"):
        model = build(params)
    assert count(model.encoder.parameters()) == 85_665_360
    assert count(model.parameters()) == 2 * 85_665_360 + 768 + 769 * 768
    assert matrices_without_decay(make(tiny, "data2vec-b-800")) == {"encoder.cls_token"}


def test_data2vecs_masked_patches_tell_the_student_nothing(tiny):
    assert_masked_patches_reach_targets_alone(tiny, "data2vec-b-800")


def test_data2vec_loss_by_hand(tiny):
    """Outputs of the teacher's last blocks on the whole image, normalised, averaged and normalised again in NumPy."""
    model = make(tiny, "data2vec-b-800", depth=3, target_blocks=2, beta=0.5).eval()
    for parameter in model.teacher.parameters():  # a teacher that differs from its student
        parameter.add_(0.1 * torch.randn_like(parameter))
    data, vit, outputs = masked_batch(model.params), model.teacher, []
    x = torch.cat([vit.cls_token.expand(4, -1, -1), vit.patch_embed(normalise(data["pixels"]))], 1)
    for block in vit.blocks:
        x = block(x, shared_rel_pos_bias=vit.rel_pos_bias())
        outputs.append(x[:, 1:].double().numpy())

    def unit(x):
        return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)

    target = unit((unit(outputs[1]) + unit(outputs[2])) / 2)
    latents = encode_masked(model.encoder, normalise(data["pixels"]), data["masked"], model.mask_token)
    predicted = model.head(latents[:, 1:]).detach().double().numpy()
    off = np.abs(np.take_along_axis(predicted - target, data["masked"].numpy()[..., None], 1))
    loss = np.where(off < 0.5, off**2 / (2 * 0.5), off - 0.5 / 2).mean()
    assert model(data)["loss"].item() == pytest.approx(loss, rel=1e-4)


def test_data2vec_teacher_learns_from_its_student_alone(tiny):
    """No gradient, no drop path; momentum is fixed."""
    model = make(tiny, "data2vec-b-800", momentum=0.9, drop_path=0.5)
    data = masked_batch(model.params)
    images = normalise(data["pixels"])
    assert torch.equal(*(model.targets(images, data["masked"]) for _ in range(2)))
    model(data)["loss"].backward()
    assert all(p.grad is None and not p.requires_grad for p in model.teacher.parameters())
    assert all(p.grad is not None for name, p in model.named_parameters() if not name.startswith("teacher."))
    before = {n: p.clone() for n, p in model.teacher.named_parameters()}
    with torch.no_grad():
        for parameter in model.encoder.parameters():
            parameter.add_(1.0)
    for progress in (0.1, 1.0):
        model.after_step(progress)
        before = {n: 0.9 * before[n] + 0.1 * p for n, p in model.encoder.named_parameters()}
    for n, p in model.teacher.named_parameters():
        torch.testing.assert_close(p, before[n], msg=n)
