"""SimMIM: its loss against plain formulas, known numbers, squares that are masked."""

import math

import numpy as np
import pytest
import torch

from cae.data.batches import MaskedViews
from cae.data.datasets import Images
from cae.methods.simmim import SimMIM
from cae.models.vit import normalise
from cae.params import Image
from cae.tasks.pretrain import build
from tests.methods.examples import (
    PAPER,
    assert_masked_patches_reach_targets_alone,
    count,
    make,
    masked_batch,
    matrices_without_decay,
)


def test_simmim_has_the_published_numbers(tiny):
    """BEiT's encoder, a mask token, and a linear layer to 3 x 16 x 16 pixels."""
    params = PAPER.pretraining("simmim-b-800")
    assert params.lr == pytest.approx(1e-4 * 2048 / 512)
    with torch.device("meta"):
        model = build(params)
    assert count(model.encoder.parameters()) == 85_665_360
    assert count(model.parameters()) == 85_665_360 + 768 + 769 * 768
    assert matrices_without_decay(make(tiny, "simmim-b-800")) == {"encoder.cls_token"}


def test_simmims_masked_patches_tell_the_student_nothing(tiny):
    assert_masked_patches_reach_targets_alone(tiny, "simmim-b-800")


def test_simmim_loss_by_hand(tiny):
    """Each block of timm's model run by itself, patch by patch masked, one mean of differences a masked patch."""
    model = make(tiny, "simmim-b-800").eval()
    torch.nn.init.normal_(model.encoder.rel_pos_bias.relative_position_bias_table)
    data = masked_batch(model.params, n=2)
    images, losses = normalise(data["pixels"]), []
    for i in range(2):
        x = model.encoder.patch_embed(images[i : i + 1]).clone()
        for index in data["masked"][i].tolist():
            x[0, index] = model.mask_token[0, 0]
        x = torch.cat([model.encoder.cls_token, x], 1)
        for block in model.encoder.blocks:
            x = block(x, shared_rel_pos_bias=model.encoder.rel_pos_bias())
        predicted = model.head(model.encoder.norm(x))[0, 1:]
        for index in data["masked"][i].tolist():
            y, x0 = (8 * at for at in divmod(index, 6))
            target = images[i, :, y : y + 8, x0 : x0 + 8].flatten()
            losses.append((predicted[index] - target).abs().mean())
    torch.testing.assert_close(model(data)["loss"], torch.stack(losses).mean())


@pytest.mark.parametrize("grid,count,whole", [(14, 120, 30), (6, 22, 5), (15, 137, None)])
def test_simmim_masks_squares(tiny, grid, count, whole):
    """Exactly as many patches as params say, in whole squares but for one; each patch about as often as any other."""
    params = PAPER.pretraining("simmim-b-800")
    assert params.mask.count == 120 and params.square == 2
    mask = params.mask.model_copy(update={"count": count})
    batches = SimMIM.batches(range(500), params.model_copy(update={"image": Image(size=grid, patch=1), "mask": mask}))
    visible, masked = batches._split(3, np.arange(500))
    assert torch.equal(torch.cat([masked, visible], 1).sort(1).values, torch.arange(grid**2).expand(500, -1))
    assert masked.shape == (500, count) and (masked.diff() > 0).all()
    masks = torch.zeros(500, grid**2).scatter(1, masked, 1.0).unflatten(1, (grid, grid))
    if whole:
        squares = masks.unflatten(2, (-1, 2)).unflatten(1, (-1, 2)).sum((2, 4))
        assert ((squares == 4).sum((1, 2)) == whole).all() and (((squares > 0) & (squares < 4)).sum((1, 2)) <= 1).all()
    share = count / grid**2
    assert ((masks.mean(0) - share).abs() < 6 * math.sqrt(share * (1 - share) / 500)).all()


def test_simmim_loads_its_squares_beside_their_views(tiny, data):
    params, images = tiny.pretraining("simmim-b-800"), Images(data["imagenet"], 0)
    batches, plain = SimMIM.batches(images, params), MaskedViews(images, params)
    batch, other = (each[1, np.arange(8)] for each in (batches, plain))
    assert torch.equal(batch["pixels"], other["pixels"]) and not torch.equal(batch["masked"], other["masked"])
    assert torch.equal(batch["masked"], list(batches._split(1, np.arange(8)))[1])
    blocks = params.model_copy(update={"mask": params.mask.model_copy(update={"kind": "block"})})
    pair = [kind(images, blocks)[1, np.arange(8)]["masked"] for kind in (type(batches), MaskedViews)]
    assert torch.equal(*pair)
