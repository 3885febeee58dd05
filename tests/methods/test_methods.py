"""Methods beside CAE: their losses against plain formulas, known parameter counts, teachers, and collapse."""

import copy
import json
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from cae.cli import main as command
from cae.data.batches import MaskedViews
from cae.data.colours import change, draw
from cae.data.datasets import Images
from cae.data.masks import draw_masks, split_ids
from cae.methods.dino import DINO
from cae.methods.parts import ema
from cae.methods.parts.collapse import entropy, spread
from cae.methods.parts.mask_tokens import encode_masked
from cae.methods.simmim import SimMIM
from cae.models.vit import gather, normalise, patchify
from cae.params import Image, load
from cae.tasks.pretrain import build, load_model
from cae.training.optim import adamw
from tests.conftest import ROOT

PAPER = load(ROOT / "params" / "paper.yaml")
BASELINES = (
    "beit-b-300", "mae-b-300", "simmim-b-800", "data2vec-b-800", "moco-v3-b-300", "dino-b-400", "deit-b-300",
)  # fmt: skip


def count(parameters) -> int:
    return sum(p.numel() for p in parameters)


def make(tiny, name, outputs=None, **change):
    torch.manual_seed(0)
    return build(tiny.pretraining(name).model_copy(update={"drop_path": 0.0, **change}), outputs)


def masked_batch(params, n=4, vocabulary=32):
    """A batch of random pixels, masks as the params say, random tokens."""
    generator = torch.Generator().manual_seed(1)
    g, size = params.image.grid, params.image.size
    visible, masked = split_ids(draw_masks(params.mask, np.arange(n), seed=0, epoch=0, grid=g))
    return {
        "pixels": torch.randint(0, 256, (n, size, size, 3), dtype=torch.uint8, generator=generator),
        "visible": torch.from_numpy(visible),
        "masked": torch.from_numpy(masked),
        "tokens": torch.randint(0, vocabulary, (n, g * g), generator=generator),
    }


def view_batch(params, n=6, views=2, progress=0.3):
    generator = torch.Generator().manual_seed(2)
    sizes = [params.image.size] * min(views, 2) + [getattr(params, "local_size", 0)] * (views - 2)
    pixels = [torch.randint(0, 256, (n, size, size, 3), dtype=torch.uint8, generator=generator) for size in sizes]
    return {"views": pixels, "labels": torch.arange(n) % 10, "progress": progress}


@pytest.mark.parametrize("name", ["moco-v3-b-300", "dino-b-400"])
def test_colours_are_changed_as_the_batch_says(tiny, name):
    """Before the network sees the views; without a word on colours it sees them as they are."""
    model = make(tiny, name)
    data = view_batch(model.params, views=2 + getattr(model.params, "local_crops", 0))
    colours = [torch.from_numpy(draw(0, i, np.arange(6), 0.5, 0.2)) for i in range(len(data["views"]))]
    changed = [change(*pair) for pair in zip(data["views"], colours)]
    losses = [model({**data, **given})["loss"] for given in ({"colours": colours}, {"views": changed}, {})]
    assert torch.equal(losses[0], losses[1]) and not torch.equal(losses[0], losses[2])


def disturb(pixels, ids, patch):
    """Pixels with the patches `ids` [B, m] of each image replaced by their negatives."""
    out, g = pixels.clone(), pixels.shape[1] // patch
    for image, patches in zip(out, ids):
        for index in patches.tolist():
            y, x = divmod(index, g)
            square = image[y * patch : (y + 1) * patch, x * patch : (x + 1) * patch]
            square.copy_(255 - square)
    return out


# --- known numbers


@pytest.mark.parametrize(
    "name,outputs,expected",
    [
        # The public code's mae_vit_base_patch16 has 111,907,840, its decoder's fixed positions (197 x 512) among them.
        ("mae-b-300", None, {"all": 111_907_840 - 197 * 512}),
        # The published ViT-S and ViT-B of DeiT.
        ("deit-s-300", 1000, {"encoder": 22_050_664}),
        ("deit-b-300", 1000, {"encoder": 86_567_656}),
        # DINO's published ViT-B/16 backbone, without a classifier.
        ("dino-b-400", None, {"encoder": 85_798_656}),
        # ViT-B without absolute positions and key biases, but with layer scale and one bias table of 27^2 + 3 rows.
        ("beit-b-300", 16, {"encoder": 85_798_656 - 197 * 768 - 12 * 768 + 24 * 768 + (27**2 + 3) * 12}),
        # The same encoder, a mask token, and a linear layer to 3 x 16 x 16 pixels; or one to as many latents, and the teacher.
        ("simmim-b-800", None, {"all": 85_665_360 + 768 + 769 * 768, "encoder": 85_665_360}),
        ("data2vec-b-800", None, {"all": 2 * 85_665_360 + 768 + 769 * 768, "encoder": 85_665_360}),
    ],
)
def test_parameter_counts(name, outputs, expected):
    params = PAPER.pretraining(name)
    if params.method == "dino":
        params = params.model_copy(update={"outputs": 16})
    with torch.device("meta"):  # shapes alone
        model = build(params, outputs)
    parts = {"all": model.parameters(), "encoder": model.encoder.parameters()}
    assert {part: count(parts[part]) for part in expected} == expected


def test_recipes_are_the_published_ones():
    masked = {name: PAPER.pretraining(name).mask for name in ("beit-b-300", "mae-b-300", "cae-b-300")}
    assert [(m.kind, m.count) for m in masked.values()] == [("block", 75), ("random", 147), ("block", 98)]
    lr = {name: PAPER.pretraining(name).lr for name in BASELINES}
    assert lr == pytest.approx({
        "simmim-b-800": 1e-4 * 2048 / 512, "data2vec-b-800": 2e-3,
        "beit-b-300": 1.5e-3, "mae-b-300": 1.5e-4 * 4096 / 256, "moco-v3-b-300": 1.5e-4 * 4096 / 256,
        "dino-b-400": 5e-4 * 1024 / 256, "deit-b-300": 5e-4 * 1024 / 512,
    })  # fmt: skip
    assert PAPER.pretraining("deit-s-300").heads == 6 and PAPER.pretraining("moco-v3-s-300").heads == 12
    assert PAPER.pretraining("beit-b-300").view.jitter == 0.4 and PAPER.pretraining("cae-b-300").view.jitter == 0


@pytest.mark.parametrize(
    "name,outputs,plain",
    [
        ("beit-b-300", 32, {"encoder.cls_token"}),
        ("mae-b-300", None, set()),
        ("simmim-b-800", None, {"encoder.cls_token"}),
        ("data2vec-b-800", None, {"encoder.cls_token"}),
        ("dino-b-400", None, set()),
        ("deit-b-300", 10, {"encoder.cls_token", "encoder.pos_embed"}),
        ("moco-v3-b-300", None, None),
    ],
)
def test_what_weight_decay_leaves_out(tiny, name, outputs, plain):
    """Biases, norms and what the public code names; nothing in MoCo v3."""
    model = make(tiny, name, outputs)
    decayed, left = (
        group["params"] for group in adamw(model, lr=1.0, betas=(0.9, 0.99), weight_decay=0.1).param_groups
    )
    names = {id(p): n for n, p in model.named_parameters()}
    left = {names[id(p)] for p in left}
    if plain is None:
        assert not left
    else:
        assert {n for n in left if dict(model.named_parameters())[n].ndim > 1} == plain
        assert all(n.endswith(("bias", "weight", "gamma", "gamma_1", "gamma_2")) for n in left - plain)
    assert all(p.requires_grad for p in decayed)


@pytest.mark.parametrize("name,outputs", [("beit-b-300", 32), ("simmim-b-800", None), ("data2vec-b-800", None)])
def test_first_weights_are_the_public_codes_or_xaviers(tiny, name, outputs):
    for init in "public", "xavier":
        model = make(tiny, name, outputs, init=init)
        block = model.encoder.blocks[1]
        less = math.sqrt(2 * 2)  # what the second block writes to the residual stream
        for layer, factor in ((model.encoder.patch_embed.proj, 1), (block.mlp.fc1, 1), (block.mlp.fc2, less)):
            weight = factor * layer.weight.flatten(1)
            bound = 0.02 if init == "public" else math.sqrt(6 / sum(weight.shape))
            assert 0.95 * bound < weight.abs().max() <= 1.001 * bound
        assert model.mask_token.abs().max() <= 0.02


# --- BEiT


def test_beit_sees_nothing_of_masked_patches_and_scores_only_them(tiny):
    model = make(tiny, "beit-b-300", 32)
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
    model = make(tiny, "beit-b-300", 32).eval()
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


# --- MAE


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
    model = make(tiny, "mae-b-300", 32, target="tokens", tokenizer="dvae")
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


# --- SimMIM


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


@pytest.mark.parametrize("name", ["simmim-b-800", "data2vec-b-800"])
def test_masked_patches_tell_the_student_nothing(tiny, name):
    model = make(tiny, name)
    data, seen = masked_batch(model.params), []
    model.head.register_forward_hook(lambda module, inputs, output: seen.append(output.detach()))
    changed = [disturb(data["pixels"], data[which], 8) for which in ("masked", "visible")]
    losses = [model({**data, "pixels": pixels})["loss"] for pixels in (data["pixels"], *changed)]
    assert torch.equal(seen[0], seen[1]) and not torch.allclose(seen[0], seen[2])
    assert losses[0] != losses[1]  # though what is to be predicted is another


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


# --- data2vec


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


# --- MoCo v3


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


def step(model, progress):
    """What the loop calls around a step; DINO's momentum is that of the progress before it."""
    if isinstance(model, DINO):
        model.before_step(progress)
        progress = min(1.0, progress + 0.1)
    model.after_step(progress)


@pytest.mark.parametrize(
    "name,student,teacher", [("moco-v3-b-300", "encoder", "key_encoder"), ("dino-b-400", "student", "encoder")]
)
def test_teacher_is_a_moving_average_whose_momentum_rises_to_one(tiny, name, student, teacher):
    model = make(tiny, name)
    before = {n: p.clone() for n, p in getattr(model, teacher).named_parameters()}
    data = view_batch(model.params, views=2 + getattr(model.params, "local_crops", 0))
    model(data)
    with torch.no_grad():
        for parameter in getattr(model, student).parameters():
            parameter.add_(1.0)
    step(model, 0.25)
    momentum = 1 - (1 - model.params.momentum) * (math.cos(math.pi * 0.25) + 1) / 2
    followed = dict(getattr(model, student).named_parameters())
    for n, p in getattr(model, teacher).named_parameters():
        torch.testing.assert_close(p, momentum * before[n] + (1 - momentum) * followed[n], msg=n)
    after = {n: p.clone() for n, p in getattr(model, teacher).named_parameters()}
    model(data)
    step(model, 1.0)
    for n, p in getattr(model, teacher).named_parameters():
        assert torch.equal(p, after[n])


# --- DINO


def test_dino_loss_by_hand(tiny):
    """Every pair of a teacher's large crop and another crop, one cross-entropy each, in NumPy."""
    model = make(tiny, "dino-b-400")
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
    temperature = model.teacher_temperature(0.3)
    assert low <= temperature <= high
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
        for within in (0.0, 0.999):
            assert model.teacher_temperature((epoch + within) / 400) == pytest.approx(published[epoch], abs=1e-6)


# --- DeiT


def test_deit_loss_by_hand(tiny):
    """In evaluation mode: smoothed labels, no mixing."""
    model = make(tiny, "deit-b-300", 10).eval()
    data = view_batch(model.params, views=1)
    logits = model.encoder(normalise(data["views"][0])).detach().double().numpy()
    logs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    target = np.full((6, 10), 0.01)
    target[np.arange(6), data["labels"]] += 0.9
    assert model(data)["loss"].item() == pytest.approx(-(target * logs).sum(1).mean(), rel=1e-4)


def test_deit_mixes_and_erases_as_the_seed_says(tiny, monkeypatch):
    model = make(tiny, "deit-b-300", 10, mixup=0.8, cutmix=1.0, erasing=0.25)
    seen = []
    forward = model.encoder.forward
    monkeypatch.setattr(model.encoder, "forward", lambda images: seen.append(images) or forward(images))
    data = view_batch(model.params, views=1)
    losses = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        losses.append(model(data)["loss"])
    assert torch.equal(losses[0], losses[1]) and torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0], seen[2]) and not torch.equal(seen[0], normalise(data["views"][0]))


def test_deit_mixes_with_other_images_than_its_neighbours(tiny, monkeypatch):
    """With repeated augmentation neighbours show the same image; labels are mixed as pixels are, and smoothed."""
    model = make(tiny, "deit-b-300", 10, mixup=0.8, cutmix=0.0, erasing=0.0)
    seen = []
    monkeypatch.setattr(model.encoder, "forward", lambda images: seen.append(images) or torch.zeros(len(images), 10))
    plain = normalise(torch.arange(6, dtype=torch.uint8)[:, None, None, None].expand(6, 48, 48, 3) * 40)
    targets = []
    monkeypatch.setattr(F, "cross_entropy", lambda logits, labels, **k: targets.append(labels) or logits.sum())
    torch.manual_seed(3)
    model({"views": [torch.arange(6, dtype=torch.uint8)[:, None, None, None].expand(6, 48, 48, 3) * 40],
           "labels": torch.arange(6)})  # fmt: skip
    share = ((seen[0][0] - plain[5]) / (plain[0] - plain[5])).mean()  # of the first image in its mixture with the last
    assert 0.02 < share < 0.98
    torch.testing.assert_close(seen[0], share * plain + (1 - share) * plain.flip(0), atol=1e-4, rtol=0)
    expected = torch.zeros(6, 10)
    for i in range(6):
        expected[i, i] += 0.9 * share
        expected[i, 5 - i] += 0.9 * (1 - share)
    torch.testing.assert_close(targets[0], expected + 0.01, atol=1e-4, rtol=0)


def test_deit_average_follows(tiny):
    model = make(tiny, "deit-b-300", 10)
    before = model.average.head.weight.clone()
    with torch.no_grad():
        model.encoder.head.weight.add_(1.0)
    model.after_step(0.5)
    torch.testing.assert_close(model.average.head.weight, before + 0.01)


# --- CAE's extensions (G.3)


def test_alignment_targets_of_a_moving_average(tiny):
    plain, averaged = make(tiny, "cae-b-300", 32), make(tiny, "cae-b-300", 32, alignment_momentum=0.9)
    data = masked_batch(plain.params)
    torch.testing.assert_close(plain(data)["loss"], averaged(data)["loss"])  # at the start the two encoders are equal
    with torch.no_grad():
        averaged.encoder.norm.weight.mul_(2)
        plain.encoder.norm.weight.mul_(2)
    assert not torch.allclose(plain(data)["alignment"], averaged(data)["alignment"])
    averaged.after_step(0.5)
    torch.testing.assert_close(averaged.target_encoder.norm.weight, torch.full((16,), 0.9 * 1 + 0.1 * 2))
    averaged(data)["loss"].backward()
    assert all(p.grad is None for p in averaged.target_encoder.parameters())
    assert count(p for p in plain.parameters()) + count(plain.encoder.parameters()) == count(averaged.parameters())


def test_cae_with_a_moving_average_and_random_masks_trains(run, tiny, data, tokenizer, tokens, tmp_path):
    params = tiny.pretraining("cae-b-300")
    mask = params.mask.model_copy(update={"kind": "random"})
    params = params.model_copy(update={"alignment_momentum": 0.5, "mask": mask})
    run("pretrain", "--data", data["imagenet"], "--tokenizer", tokenizer, "--tokens", tokens,
        "--params", params.model_dump_json(), "--work", tmp_path / "work", "--output", tmp_path / "out")  # fmt: skip
    model = load_model(tmp_path / "out")
    encoder, average = (dict(part.named_parameters()) for part in (model.encoder, model.target_encoder))
    distances = {name: (encoder[name] - average[name]).abs().max().item() for name in encoder}
    assert distances["pos_embed"] == 0 and 0 < distances["blocks.0.attn.proj.weight"] < 0.05


def test_moving_average_formula():
    a, b = torch.nn.Linear(3, 3), torch.nn.Linear(3, 3)
    expected = 0.7 * a.weight + 0.3 * b.weight
    ema.update(a, b, 0.7)
    torch.testing.assert_close(a.weight, expected)


# --- collapse


def test_spread_tells_collapsed_features_from_full_ones():
    torch.manual_seed(0)
    assert spread(torch.randn(512, 64)).item() == pytest.approx(1.0, abs=0.05)
    assert spread(torch.ones(512, 64) * 3).item() < 1e-6
    assert spread(torch.randn(512, 1) * torch.ones(1, 64)).item() == pytest.approx(1.0, abs=0.1)  # two antipodes
    assert spread(torch.ones(64) + 0.01 * torch.randn(512, 64)).item() < 0.02


def test_entropy_tells_uniform_and_constant_answers():
    assert entropy(torch.full((3, 50), 0.02)).tolist() == pytest.approx([1.0] * 3, abs=1e-5)
    sharp = F.one_hot(torch.zeros(8, dtype=torch.long), 50).float()
    assert entropy(sharp.mean(0)).item() == pytest.approx(0.0, abs=1e-6)  # one answer for all
    various = F.one_hot(torch.arange(50), 50).float()
    assert entropy(various.mean(0)).item() == pytest.approx(1.0, abs=1e-5) and entropy(various).max() < 1e-6


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


# --- whole runs


@pytest.fixture(scope="module")
def longer(run, tiny, data, tokenizer, tokens):
    """A function from a model's name to the metrics of a run of 56 steps, or 120 of DeiT, whose loss falls slowly."""

    def train(name):
        folder = run.folder / "longer" / name
        change = {"epochs": 30 if name.startswith("deit") else 14, "width": 32, "lr": 2e-3, "layer_scale": 0.0}
        if name.startswith("moco"):
            change |= {"hidden_width": 64, "output_width": 32}
        elif name.startswith("dino"):
            change |= {
                "lr": 1e-3,
                "hidden_width": 64,
                "bottleneck": 32,
                "outputs": 256,
                "teacher_temperature": [0.02, 0.02],
            }
        params = tiny.pretraining(name).model_copy(update=change)
        common = ["--data", data["imagenet"], "--tokenizer", tokenizer, "--tokens", tokens]
        work = run.folder / "work" / "longer" / name
        run("pretrain", *common, "--params", params.model_dump_json(), "--work", work, "--output", folder)
        return [json.loads(line) for line in (folder / "metrics.jsonl").open()]

    return train


@pytest.mark.parametrize("name", BASELINES)
def test_loss_falls_and_features_do_not_collapse(longer, name):
    rows = longer(name)
    falls = "divergence" if name.startswith("dino") else "loss"
    first, last = (np.mean([row[falls] for row in part]) for part in (rows[:5], rows[-10:]))
    assert last < 0.98 * first
    if name.startswith(("moco", "dino", "data2vec")):
        assert rows[-1]["spread"] > 0.15
    if name.startswith("dino"):
        assert rows[-1]["entropy_of_mean"] > 0.15 and rows[-1]["entropy"] < 0.95


@pytest.mark.parametrize("name", BASELINES)
def test_interrupted_run_of_any_method_ends_with_the_same_bytes(
    run, tiny, data, tokenizer, tokens, pretrained, tmp_path, monkeypatch, name
):
    """Teachers, centres and averages are part of the state; the model put together again is the one that was trained."""
    expected = pretrained(name)
    arguments = ["--data", data["imagenet"], "--tokenizer", tokenizer, "--tokens", tokens, "--checkpoint-minutes", "0",
                 "--params", tiny.pretraining(name).model_dump_json(), "--work", tmp_path / "work",
                 "--output", tmp_path / name]  # fmt: skip
    step, calls = torch.optim.AdamW.step, []

    def stop(self, *a, **k):
        calls.append(1)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return step(self, *a, **k)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(torch.optim.AdamW, "step", stop)
        command(["pretrain", *map(str, arguments)])
    command(["pretrain", *map(str, arguments)])
    assert (tmp_path / name / "model.safetensors").read_bytes() == (expected / "model.safetensors").read_bytes()
    ours, theirs = load_model(tmp_path / name).state_dict(), load_model(expected).state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_supervised_encoder_classifies_as_its_metrics_say(run, tiny, data, pretrained, tmp_path):
    from cae.data.views import centre_crop
    from cae.errors import UserError
    from cae.models.encoders import load_encoder
    from cae.tasks.classify import ClassifyJob
    from cae.tasks.classify import main as classify

    output = tmp_path / "deit.json"
    classify(data["imagenet"], pretrained("deit-b-300"), ClassifyJob(micro_batch=33), 1, 0, output)
    metrics = json.loads(output.read_text())
    vit, _ = load_encoder(pretrained("deit-b-300"))
    images = Images(data["imagenet"], 1)
    crops = torch.from_numpy(np.stack([centre_crop(images[i], 48) for i in range(100)]))
    right = vit(normalise(crops)).argmax(1).numpy() == images.labels
    assert metrics["top1"] == pytest.approx(100 * np.mean(right)) and metrics["val_images"] == 100
    with pytest.raises(UserError, match="classifies 0 classes, the data set has 10"):
        classify(data["imagenet"], pretrained("mae-b-300"), ClassifyJob(micro_batch=33), 1, 0, output)


def test_gather_takes_the_right_patches():
    x = torch.arange(24.0).reshape(2, 4, 3)
    assert gather(x, torch.tensor([[2, 0], [1, 3]]))[:, :, 0].tolist() == [[6, 0], [15, 21]]


@pytest.mark.parametrize("name", ["cae-b-300", "beit-b-300"])
def test_layer_scale_zero_is_none_which_is_as_one_held(tiny, name):
    """Encoder, regressor and decoder alike: no scale is there to be trained."""
    models = [make(tiny, name, 32, layer_scale=scale) for scale in (0.0, 1.0)]
    none, one = ({name for name, _ in model.named_parameters()} for model in models)
    params = models[0].params
    blocks = params.depth + getattr(params, "regressor_depth", 0) + getattr(params, "decoder_depth", 0)
    assert len(one - none) == 2 * blocks and all("gamma" in name for name in one - none) and none < one
    assert torch.equal(*(model(masked_batch(params))["loss"] for model in models))
