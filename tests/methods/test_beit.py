"""BEiT: its loss against plain formulas, known numbers."""

import math

import pytest
import torch

from cae.models.vit import normalise
from cae.tasks.pretrain import build
from tests.methods.examples import PAPER, count, disturb, make, masked_batch, matrices_without_decay


def test_beit_has_the_published_numbers(tiny):
    """ViT-B without absolute positions and key biases, but with layer scale and one bias table of 27^2 + 3 rows."""
    params = PAPER.pretraining("beit-b-300")
    assert (params.mask.kind, params.mask.count, params.lr, params.view.jitter) == ("block", 75, 1.5e-3, 0.4)
    with torch.device("meta"):  # shapes alone
        encoder = build(params, 16).encoder
    assert count(encoder.parameters()) == 85_798_656 - 197 * 768 - 12 * 768 + 24 * 768 + (27**2 + 3) * 12
    assert matrices_without_decay(make(tiny, "beit-b-300")) == {"encoder.cls_token"}


def test_beit_sees_nothing_of_masked_patches_and_scores_only_them(tiny):
    model = make(tiny, "beit-b-300")
    data = masked_batch(model.params)
    loss = model(data)["loss"]
    assert loss.item() == pytest.approx(math.log(32), rel=0.05)
    hidden = disturb(data["pixels"], data["masked"], 8)
    torch.testing.assert_close(model({**data, "pixels": hidden})["loss"], loss)
    shown = disturb(data["pixels"], data["visible"], 8)
    assert (model({**data, "pixels": shown})["loss"] - loss).abs() > 1e-5
    tokens = data["tokens"].scatter(1, data["visible"], 0)  # tokens of visible patches do not count
    torch.testing.assert_close(model({**data, "tokens": tokens})["loss"], loss)


def test_beit_loss_by_hand(tiny):
    """Each block of timm's model run by itself, patch by patch masked, one cross-entropy a masked patch."""
    model = make(tiny, "beit-b-300").eval()
    torch.nn.init.normal_(model.encoder.rel_pos_bias.relative_position_bias_table)
    data = masked_batch(model.params, n=2)
    losses = []
    for i in range(2):
        x = model.encoder.patch_embed(normalise(data["pixels"][i : i + 1])).clone()
        for index in data["masked"][i].tolist():
            x[0, index] = model.mask_token[0, 0]
        x = torch.cat([model.encoder.cls_token, x], 1)
        for block in model.encoder.blocks:
            x = block(x, shared_rel_pos_bias=model.encoder.rel_pos_bias())
        logits = model.head(model.encoder.norm(x))[0, 1:]
        for index in data["masked"][i].tolist():
            losses.append(-logits[index].log_softmax(-1)[data["tokens"][i, index]])
    torch.testing.assert_close(model(data)["loss"], torch.stack(losses).mean())


def test_beit_shares_caes_tokens_where_views_are_equal(tiny):
    assert tiny.pretraining("beit-b-300").view == tiny.pretraining("cae-b-300").view
    assert PAPER.pretraining("beit-b-300").view != PAPER.pretraining("cae-b-300").view
