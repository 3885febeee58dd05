"""MAE: its loss against plain formulas, known numbers, and tokens as targets."""

import json
import math

import numpy as np
import pytest
import torch

from cae.models.vit import normalise, patchify
from cae.tasks.pretrain import build, load_model
from tests.methods.examples import PAPER, count, disturb, make, masked_batch, matrices_without_decay


def test_mae_has_the_published_numbers(tiny):
    """The public code's mae_vit_base_patch16 has 111,907,840, its decoder's fixed positions (197 x 512) among them."""
    params = PAPER.pretraining("mae-b-300")
    assert (params.mask.kind, params.mask.count, params.lr) == ("random", 147, pytest.approx(1.5e-4 * 4096 / 256))
    with torch.device("meta"):
        model = build(params)
    assert count(model.parameters()) == 111_907_840 - 197 * 512
    assert matrices_without_decay(make(tiny, "mae-b-300")) == set()


def test_mae_loss_by_hand(tiny):
    """Targets normalised patch by patch in NumPy; the sequence put back in order one patch at a time."""
    model = make(tiny, "mae-b-300")
    data = masked_batch(model.params, n=3)
    patches = patchify(normalise(data["pixels"]), 8).numpy().astype(np.float64)
    vit, total = model.encoder, []
    for i in range(3):
        visible, masked = data["visible"][i].tolist(), data["masked"][i].tolist()
        assert len(masked) == 27
        embedded = vit.patch_embed(normalise(data["pixels"][i : i + 1])) + vit.pos_embed[:, 1:]
        x = torch.cat([vit.cls_token + vit.pos_embed[:, :1], embedded[:, visible]], 1)
        x = model.embed(vit.norm(vit.blocks(x)))
        sequence = [x[0, 0]]
        for index in range(36):
            shown = x[0, 1 + visible.index(index)] if index in visible else model.mask_token[0, 0]
            sequence.append(shown + model.positions[index])
        x = torch.stack(sequence)[None]
        for block in model.decoder:
            x = block(x)
        predicted = model.head(model.decoder_norm(x))[0, 1:].detach().numpy()
        for index in masked:
            target = patches[i, index]
            target = (target - target.mean()) / np.sqrt(target.var(ddof=1) + 1e-6)
            total.append(((predicted[index] - target) ** 2).mean())
    assert model(data)["loss"].item() == pytest.approx(np.mean(total), rel=1e-4)


def test_mae_encoder_sees_visible_patches_only(tiny):
    model = make(tiny, "mae-b-300", normalise_targets=False)
    data = masked_batch(model.params)
    seen = []
    model.encoder.blocks[0].register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].detach()))
    model(data), model({**data, "pixels": disturb(data["pixels"], data["masked"], 8)})
    assert seen[0].shape[1] == 1 + 9  # of 36 patches a quarter, and the class token
    torch.testing.assert_close(*seen)


def test_mae_order_of_the_visible_patches_changes_nothing(tiny):
    model = make(tiny, "mae-b-300")
    data = masked_batch(model.params)
    torch.testing.assert_close(model(data)["loss"], model({**data, "visible": data["visible"].flip(1)})["loss"])


def test_mae_of_tokens_by_hand(tiny):
    """One cross-entropy a masked patch, of what the decoder makes of that position."""
    model = make(tiny, "mae-b-300", target="tokens", tokenizer="dvae")
    assert model.head.out_features == 32
    data, seen = masked_batch(model.params, n=2), []
    model.decoder_norm.register_forward_hook(lambda module, inputs, output: seen.append(output.detach()))
    terms, losses, right = model(data), [], []
    for i in range(2):
        for index in data["masked"][i].tolist():
            logits = model.head(seen[0][i, 1 + index])
            losses.append(-logits.log_softmax(-1)[data["tokens"][i, index]])
            right.append(logits.argmax() == data["tokens"][i, index])
    torch.testing.assert_close(terms["loss"], torch.stack(losses).mean())
    assert terms["accuracy"].item() == pytest.approx(np.mean(right))
    tokens = data["tokens"].scatter(1, data["visible"], 0)  # those of visible patches do not count
    assert torch.equal(model({**data, "tokens": tokens})["loss"], terms["loss"])


def test_mae_of_tokens_trains_on_a_cache(run, tiny, data, tokenizer, tokens, tmp_path):
    """Its views made those that the cache holds; with its own it refuses the cache."""
    params = tiny.pretraining("mae-b-300").model_copy(update={"target": "tokens", "tokenizer": "dvae"})
    arguments = ["pretrain", "--data", data["imagenet"], "--tokenizer", tokenizer, "--tokens", tokens,
                 "--work", tmp_path / "work", "--output", tmp_path / "out", "--params"]  # fmt: skip
    assert params.target_tokenizer == "dvae"
    run(*arguments, params.model_copy(update={"view": tiny.pretraining("cae-b-300").view}).model_dump_json())
    rows = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").open()]
    assert rows[-1]["loss"] < rows[0]["loss"] < 1.1 * math.log(32) and "accuracy" in rows[0]
    assert load_model(tmp_path / "out").head.out_features == 32
    other = params.view.model_copy(update={"scale": [0.3, 0.9]})
    with pytest.raises(SystemExit, match="view"):
        run(*arguments, params.model_copy(update={"view": other}).model_dump_json())
