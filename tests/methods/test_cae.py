"""The CAE model against the paper's numbers and against independent computations."""

import copy
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from benchmarks.plain_cae import PlainCAE
from cae.data.masks import draw_masks, split_ids
from cae.methods.cae import CAE, CrossAttention, RegressorBlock, build_encoder
from cae.models.vit import encode, gather, normalise, patchify, sincos_positions
from cae.params import load
from cae.tasks.pretrain import load_model
from tests.conftest import ROOT
from tests.methods.examples import count, make, masked_batch, matrices_without_decay


@pytest.fixture(scope="module")
def paper():
    return load(ROOT / "params" / "paper.yaml")


def batch(params, n=2, vocabulary=8192):
    g, size = params.image.grid, params.image.size
    visible, masked = split_ids(draw_masks(params.mask, range(n), seed=0, epoch=0, grid=g))
    torch.manual_seed(0)
    return {
        "pixels": torch.randint(0, 256, (n, size, size, 3), dtype=torch.uint8),
        "tokens": torch.randint(0, vocabulary, (n, g * g)),
        "visible": torch.from_numpy(visible),
        "masked": torch.from_numpy(masked),
    }


@pytest.fixture(scope="module")
def base(paper):
    torch.manual_seed(0)
    return CAE(paper.pretraining("cae-b-300"), 8192)


def trained(module) -> int:
    """Trained parameters, without the key biases that are held at zero."""
    count = sum(p.numel() for p in module.parameters() if p.requires_grad)
    return count - sum(p.numel() // 3 for name, p in module.named_parameters() if name.endswith("qkv.bias"))


def test_cae_b_trains_148_68m_parameters(base):
    assert round(trained(base) / 1e6, 2) == 148.68
    assert round(trained(base.encoder) / 1e6, 2) == 85.66
    assert round(trained(base.regressor) / 1e6, 2) == pytest.approx(28.37, abs=0.011)


@pytest.mark.parametrize("name,width,depth,heads", [("cae-s-300", 384, 12, 12), ("cae-l-1600", 1024, 24, 16)])
def test_other_sizes_are_the_papers(paper, name, width, depth, heads):
    with torch.device("meta"):
        vit = build_encoder(paper.pretraining(name))
    assert vit.embed_dim == width and len(vit.blocks) == depth and vit.blocks[0].attn.num_heads == heads


def test_all_matrices_decay_and_tokens(tiny):
    """The public code's exceptions never reach its optimiser."""
    assert matrices_without_decay(make(tiny, "cae-b-300")) == set()


def test_loss_at_initialisation(base):
    """Cross-entropy near ln 8192 plus 2 x an alignment error of 2: unrelated latents of unit variance."""
    with torch.no_grad():
        terms = base(batch(base.params))
    assert terms["decoding"].item() == pytest.approx(9.1, abs=0.15)
    assert terms["alignment"].item() == pytest.approx(2.0, abs=0.15)
    assert terms["loss"] == terms["decoding"] + 2 * terms["alignment"]


def test_encoding_all_patches_is_timms_forward(tiny):
    params = tiny.pretraining("random-b")
    vit = build_encoder(params).eval()
    pixels = batch(params)["pixels"]
    images = normalise(pixels)
    everything = torch.arange(params.image.grid**2).expand(2, -1)
    ours = encode(vit, patchify(images, params.image.patch), everything)
    torch.testing.assert_close(ours, vit.forward_features(images)[:, 1:])


def test_predictions_do_not_depend_on_the_masked_pixels(tiny):
    """Spoiling the masked patches changes the alignment targets and nothing else."""
    params = tiny.pretraining("cae-b-300")
    torch.manual_seed(0)
    model = CAE(params, 32).eval()
    data = batch(params, vocabulary=32)
    before = model(data)
    g, p = params.image.grid, params.image.patch
    masked = torch.zeros(2, g * g, dtype=torch.bool).scatter_(1, data["masked"], True).reshape(2, g, g)
    spoilt = masked.repeat_interleave(p, 1).repeat_interleave(p, 2)[..., None]
    after = model({**data, "pixels": torch.where(spoilt, 255 - data["pixels"], data["pixels"])})
    assert torch.equal(before["decoding"], after["decoding"])
    assert not torch.equal(before["alignment"], after["alignment"])
    visible = model({**data, "pixels": torch.where(spoilt, data["pixels"], 255 - data["pixels"])})
    assert not torch.equal(before["decoding"], visible["decoding"])


def test_alignment_targets_carry_no_gradient(tiny):
    """sg of Equation 1: the gradient is that of targets held constant, and another one than without the stop."""
    params = tiny.pretraining("cae-b-300").model_copy(update={"drop_path": 0.0})
    model = CAE(params, 32)
    data = batch(params, vocabulary=32)
    patches = patchify(normalise(data["pixels"]), params.image.patch)

    def part(which):
        return patches.gather(1, data[which][..., None].expand(-1, -1, patches.shape[-1]))

    def gradient(loss):
        return torch.autograd.grad(loss, model.encoder.patch_embed.proj.weight)[0]

    predicted = model.regress(
        encode(model.encoder, part("visible"), data["visible"]),
        model.positions[data["visible"]],
        model.positions[data["masked"]],
    )
    target = encode(model.encoder, part("masked"), data["masked"])
    without_stop = gradient((predicted - target).square().mean())
    predicted = model.regress(
        encode(model.encoder, part("visible"), data["visible"]),
        model.positions[data["visible"]],
        model.positions[data["masked"]],
    )
    expected = gradient((predicted - target.detach()).square().mean())
    torch.testing.assert_close(gradient(model(data)["alignment"]), expected)
    assert not torch.allclose(expected, without_stop)


def test_key_bias_stays_zero(tiny):
    params = tiny.pretraining("cae-b-300")
    model = CAE(params, 32)
    model(batch(params, vocabulary=32))["loss"].backward()
    for block in (*model.encoder.blocks, *model.decoder):
        q, k, v = block.attn.qkv.bias.grad.chunk(3)
        assert k.abs().max() == 0 and q.abs().sum() > 0 and v.abs().sum() > 0


def test_every_trained_parameter_gets_a_gradient(tiny):
    params = tiny.pretraining("cae-b-300")
    model = CAE(params, 32)
    model(batch(params, vocabulary=32))["loss"].backward()
    silent = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert silent == []


@pytest.mark.parametrize("steps", [1, 3])
def test_loss_and_gradients_are_those_of_a_plain_step(tiny, steps):
    """The public code's way: boolean masks, all patches embedded twice, a copied teacher that lags by one step."""
    params = tiny.pretraining("cae-b-300").model_copy(update={"drop_path": 0.0})
    torch.manual_seed(0)
    model = CAE(params, 32)
    plain = PlainCAE(copy.deepcopy(model))
    data = batch(params, vocabulary=32)
    mask = torch.zeros(data["tokens"].shape, dtype=torch.bool).scatter(1, data["masked"], True)
    data["masked"] = mask.nonzero()[:, 1].view(data["masked"].shape)  # in its order, row by row
    for _ in range(steps):
        plain.teacher.load_state_dict(plain.model.encoder.state_dict())  # here without the lag
        ours, theirs = model(data), plain(data["pixels"], mask, data["tokens"])
        for name, value in theirs.items():
            torch.testing.assert_close(ours[name], value, atol=1e-6, rtol=1e-5)
        for terms in (ours, theirs):
            terms["loss"].backward()
        for (name, p), q in zip(model.named_parameters(), plain.model.parameters()):
            if p.requires_grad:
                torch.testing.assert_close(p.grad, q.grad, atol=2e-6, rtol=1e-4, msg=name)
        for network in (model, plain.model):
            with torch.no_grad():
                for p in network.parameters():
                    if p.grad is not None:
                        p -= 0.1 * p.grad
            network.zero_grad()


def test_cross_attention_by_hand():
    torch.manual_seed(0)
    attention = CrossAttention(12, 3)
    q, k, v = torch.randn(1, 2, 12), torch.randn(1, 5, 12), torch.randn(1, 5, 12)
    heads = []
    for h in range(3):
        part = slice(4 * h, 4 * h + 4)
        logits = attention.q(q)[..., part] @ attention.k(k)[..., part].transpose(1, 2) / math.sqrt(4)
        heads.append(logits.softmax(-1) @ attention.v(v)[..., part])
    torch.testing.assert_close(attention(q, [k[:, :2], k[:, 2:]], [v]), attention.proj(torch.cat(heads, -1)))


def test_regressor_block_by_hand():
    """Positions in queries and keys only; LayerNorm on the residual stream before the MLP."""
    torch.manual_seed(0)
    block = RegressorBlock(8, 2, 0.1, 0.0)
    for norm in (block.norm_q, block.norm_k, block.norm_v, block.norm):
        torch.nn.init.normal_(norm.weight)
    x, z, pm, pv = (torch.randn(1, n, 8) for n in (3, 4, 3, 4))
    context, positions = torch.cat([z, x], 1), torch.cat([pv, pm], 1)
    a = block.attn(block.norm_q(x + pm), [block.norm_k(context + positions)], [block.norm_v(context)])
    a = block.norm(x + block.scale_attn.gamma * a)
    torch.testing.assert_close(block(x, pm, z, z + pv), a + block.scale_mlp.gamma * block.mlp(a))


def test_without_decoder_a_linear_layer_reads_the_predicted_latents(tiny):
    params = tiny.pretraining("cae-b-300-no-align-no-decoder")
    model = CAE(params, 32)
    latents = torch.randn(2, 18, params.width)
    positions = torch.randn(2, 18, params.width)
    torch.testing.assert_close(model.decode(latents, positions), model.head(latents))
    assert "alignment" not in model(batch(params, vocabulary=32))


def test_pixel_targets_are_the_masked_patches(tiny):
    params = tiny.pretraining("cae-b-300-pixels")
    model = CAE(params)
    data = batch(params)
    torch.nn.init.zeros_(model.head.weight)
    terms = model(data)
    image = normalise(data["pixels"])[0]
    g, p = params.image.grid, params.image.patch
    squares = []
    for index in data["masked"][0].tolist():
        y, x = divmod(index, g)
        squares.append(image[:, y * p : y * p + p, x * p : x * p + p])
    first = torch.stack(squares).square().mean()
    data = {k: v[:1] for k, v in data.items()}
    assert F.mse_loss(model(data)["decoding"], first) < 1e-8
    assert terms["decoding"].shape == ()


def test_pixel_targets_may_be_normalised_patch_by_patch(tiny):
    """The decoding loss of hand-made targets; the alignment sees the pixels as they are."""
    params = tiny.pretraining("cae-b-300-pixels").model_copy(update={"drop_path": 0.0})
    losses, data = {}, batch(params)
    for normalised in (False, True):
        torch.manual_seed(0)
        model = CAE(params.model_copy(update={"normalise_targets": normalised}))
        losses[normalised] = model(data)
    patches = patchify(normalise(data["pixels"]), 8)
    visible, masked = data["visible"], data["masked"]
    latents = encode(model.encoder, gather(patches, visible), visible)
    predicted = model.decode(
        model.regress(latents, model.positions[visible], model.positions[masked]), model.positions[masked]
    )
    errors = []
    for i in range(2):
        for at, index in enumerate(masked[i].tolist()):
            target = patches[i, index].double().numpy()
            target = (target - target.mean()) / np.sqrt(target.var(ddof=1) + 1e-6)
            errors.append(((predicted[i, at].detach().numpy() - target) ** 2).mean())
    assert losses[True]["decoding"].item() == pytest.approx(np.mean(errors), rel=1e-4)
    assert abs(losses[False]["decoding"].item() / np.mean(errors) - 1) > 0.01
    assert torch.equal(losses[True]["alignment"], losses[False]["alignment"])


def test_sine_cosine_positions_by_hand():
    positions = sincos_positions(14, 768).reshape(14, 14, 768)
    for y, x in ((0, 0), (3, 11), (13, 2)):
        for i in (0, 7, 191):
            omega = 10000 ** (-i / 192)
            expected = [math.sin(y * omega), math.cos(y * omega), math.sin(x * omega), math.cos(x * omega)]
            got = positions[y, x, [i, 192 + i, 384 + i, 576 + i]]
            assert got.tolist() == pytest.approx(expected, abs=1e-5)


def test_initialisation(base):
    weight = base.encoder.blocks[0].mlp.fc1.weight
    bound = math.sqrt(6 / sum(weight.shape))
    assert weight.abs().max() <= bound and weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.02)
    for parameter in (base.encoder.patch_embed.proj.weight, base.encoder.cls_token, base.mask_query):
        assert parameter.abs().max() <= 0.02 and parameter.std().item() == pytest.approx(0.0108, rel=0.08)
    assert not base.encoder.pos_embed.requires_grad and base.encoder.pos_embed[:, 0].abs().max() == 0


def test_the_patch_embedding_may_be_initialised_as_a_linear_layer(tiny):
    encoders = []
    for init in "public", "xavier":
        torch.manual_seed(0)
        encoders.append(build_encoder(tiny.pretraining("cae-b-300").model_copy(update={"init": init})).state_dict())
    public, xavier = encoders
    assert [name for name in public if not torch.equal(public[name], xavier[name])] == ["patch_embed.proj.weight"]
    weight = xavier["patch_embed.proj.weight"].flatten(1)
    bound = math.sqrt(6 / sum(weight.shape))
    assert 0.95 * bound < weight.abs().max() <= bound


def test_alignment_targets_of_a_moving_average(tiny):
    plain, averaged = make(tiny, "cae-b-300"), make(tiny, "cae-b-300", alignment_momentum=0.9)
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
