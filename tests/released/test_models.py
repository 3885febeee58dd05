"""Imported checkpoints against the formulas of each method's public code, written out here a second time."""

import argparse
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
import timm
import torch

from cae.cli import main as cli
from cae.errors import UserError
from cae.files import file_hash
from cae.models.vit import encode, patchify, sincos_positions
from cae.params import Release, load
from cae.released import reading
from cae.released.models import convert
from cae.tasks.import_model import main
from cae.tasks.pretrain import load_model
from tests.conftest import ROOT
from tests.released.conftest import DEPTH, GRID, HEADS, PATCH, WIDTH

TOKENS = 11
VISIBLE, MASKED = torch.tensor([[0, 2, 5, 7, 8], [1, 3, 4, 5, 6]]), torch.tensor([[1, 3, 4, 6], [0, 2, 7, 8]])


# Official state dicts, of random numbers; class tokens and embeddings as small as theirs, where the eps of LayerNorm shows.


def linear(name, outputs, inputs, bias=True):
    weight = {f"{name}.weight": torch.randn(outputs, inputs) / math.sqrt(inputs)}
    return weight | ({f"{name}.bias": 0.3 * torch.randn(outputs)} if bias else {})


def norm(name):
    return {f"{name}.weight": 1 + 0.3 * torch.randn(WIDTH), f"{name}.bias": 0.3 * torch.randn(WIDTH)}


def block(name, separate, scale):
    state = norm(f"{name}.norm1") | norm(f"{name}.norm2") | linear(f"{name}.attn.qkv", 3 * WIDTH, WIDTH, not separate)
    if separate:
        state |= {f"{name}.attn.{part}_bias": torch.randn(WIDTH) for part in "qv"}
    if scale:
        state |= {f"{name}.gamma_{i}": torch.randn(WIDTH) for i in (1, 2)}
    state |= linear(f"{name}.attn.proj", WIDTH, WIDTH)
    return state | linear(f"{name}.mlp.fc1", 4 * WIDTH, WIDTH) | linear(f"{name}.mlp.fc2", WIDTH, 4 * WIDTH)


def vit(prefix="", separate=False, scale=False, positions=True):
    state = {"cls_token": 0.02 * torch.randn(1, 1, WIDTH)}
    if positions:
        state["pos_embed"] = 0.02 * torch.randn(1, GRID * GRID + 1, WIDTH)
    state["patch_embed.proj.weight"] = 0.003 * torch.randn(WIDTH, 3, PATCH, PATCH)
    state["patch_embed.proj.bias"] = 0.02 * torch.randn(WIDTH)
    for i in range(DEPTH):
        state |= block(f"blocks.{i}", separate, scale)
    return {prefix + name: value for name, value in (state | norm("norm")).items()}


def regressor_block(name):
    state = {}
    for part in ("norm1_q", "norm1_k", "norm1_v", "norm2_cross"):
        state |= norm(f"{name}.{part}")
    for part in "qkv":
        state |= linear(f"{name}.cross_attn.{part}", WIDTH, WIDTH, False)
    state |= {f"{name}.cross_attn.{part}_bias": torch.randn(WIDTH) for part in "qv"}
    state |= {f"{name}.gamma_{i}_cross": scale * torch.randn(WIDTH) for i, scale in ((1, 0.01), (2, 1))}
    state |= linear(f"{name}.cross_attn.proj", WIDTH, WIDTH)
    return state | linear(f"{name}.mlp_cross.fc1", 4 * WIDTH, WIDTH) | linear(f"{name}.mlp_cross.fc2", WIDTH, 4 * WIDTH)


def positions():
    """build_2d_sincos_position_embedding: meshgrid over (w, h) with `ij`, so the first half turns with the row."""
    rows = [[0.0] * WIDTH]
    for row in range(GRID):
        for column in range(GRID):
            waves = [[f(at / 10000 ** (i / (WIDTH // 4))) for i in range(WIDTH // 4)]
                     for at in (row, column) for f in (math.sin, math.cos)]  # fmt: skip
            rows.append(sum(waves, []))
    return torch.tensor(rows)[None]


@dataclass
class Layout:
    """Names of a CAE's parts in the two public codes."""

    copy: str
    regressor: str
    regressor_norm: str
    decoder: str
    decoder_norm: str
    head: str
    positions: bool = False

    def state(self):
        state = {"mask_token": 0.02 * torch.randn(1, 1, WIDTH)} | vit("encoder.", separate=True, scale=True)
        state |= {"encoder.pos_embed": positions()} | ({"rd_pos_embed": positions()} if self.positions else {})
        state |= {f"{self.copy}.{name.removeprefix('encoder.')}": v for name, v in state.items() if "encoder." in name}
        for i in range(2):
            state |= regressor_block(f"{self.regressor}.{i}") | block(f"{self.decoder}.{i}", True, True)
        return state | norm(self.regressor_norm) | norm(self.decoder_norm) | linear(self.head, TOKENS, WIDTH)


LXTGH = Layout(
    "teacher", "pretext_neck.regressor_blocks", "pretext_neck.norm", "pretext_neck.decoder_blocks",
    "pretext_neck.norm2", "pretext_neck.head",
)  # fmt: skip
ATTEN4VIS = Layout(
    "alignment_encoder", "regresser.regressor_blocks", "regresser.norm", "decoder.decoder_blocks", "decoder.norm",
    "decoder.head", positions=True,
)  # fmt: skip


def beit():
    state = vit(separate=True, scale=True, positions=False)
    index = {"rel_pos_bias.relative_position_index": torch.zeros(GRID * GRID + 1, GRID * GRID + 1, dtype=torch.long)}
    table = {"rel_pos_bias.relative_position_bias_table": torch.randn((2 * GRID - 1) ** 2 + 3, HEADS)}
    return state | table | index | {"mask_token": torch.randn(1, 1, WIDTH)} | linear("lm_head", TOKENS, WIDTH)


def mae_decoder():
    return linear("decoder_embed", 8, WIDTH) | {"mask_token": torch.zeros(1, 1, 8), "decoder_pos_embed": torch.zeros(1, 10, 8),
            "decoder_blocks.0.norm1.weight": torch.zeros(8), "decoder_pred.bias": torch.zeros(48)}  # fmt: skip


def moco():
    head = {"head.0.weight": torch.zeros(3, WIDTH), "head.1.num_batches_tracked": torch.tensor(7)}
    state = {f"base_encoder.{name}": value for name, value in (vit() | head).items()}
    state |= {f"momentum_encoder.{name}": value for name, value in (vit() | head).items()}
    return {f"module.{name}": value for name, value in (state | {"predictor.0.weight": torch.zeros(3, 3)}).items()}


def dino():
    head = {"head.mlp.0.weight": torch.zeros(3, WIDTH), "head.last_layer.weight_g": torch.zeros(3, 1)}
    return {
        "student": {f"module.{name}": value for name, value in (vit("backbone.") | head).items()},
        "teacher": vit("backbone.") | head, "dino_loss": {"center": torch.zeros(1, 3)},
    }  # fmt: skip


JUNK = {
    "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 0.1, "params": [0]}]},
    "epoch": 7,
    "args": argparse.Namespace(lr=1e-3, model="x"),
}
ONE_K = {**JUNK, "args": argparse.Namespace(imagenet_default_mean_and_std=True)}


# The official formulas.


def layer_norm(x, state, name):
    centred = x - x.mean(-1, keepdim=True)
    return (
        centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt() * state[f"{name}.weight"]
        + state[f"{name}.bias"]
    )


def attend(q, k, v, bias=0.0):
    """Heads lie side by side in the last dimension; bias [HEADS, n, m]."""
    q, k, v = (x.reshape(len(x), -1, HEADS, WIDTH // HEADS) for x in (q, k, v))
    weights = (torch.einsum("bnhd,bmhd->bhnm", q, k) / math.sqrt(WIDTH // HEADS) + bias).softmax(-1)
    return torch.einsum("bhnm,bmhd->bnhd", weights, v).flatten(2)


def affine(x, state, name, bias=None):
    return x @ state[f"{name}.weight"].T + (state[f"{name}.bias"] if bias is None else bias)


def mlp(x, state, name):
    x = affine(x, state, f"{name}.fc1")
    return affine(x * 0.5 * (1 + torch.erf(x / math.sqrt(2))), state, f"{name}.fc2")


def run_block(x, state, name, bias=0.0):
    separate, one = f"{name}.attn.q_bias" in state, torch.ones(WIDTH)
    qkv_bias = None
    if separate:
        qkv_bias = torch.cat([state[f"{name}.attn.q_bias"], torch.zeros(WIDTH), state[f"{name}.attn.v_bias"]])
    q, k, v = affine(layer_norm(x, state, f"{name}.norm1"), state, f"{name}.attn.qkv", qkv_bias).split(WIDTH, -1)
    x = x + state.get(f"{name}.gamma_1", one) * affine(attend(q, k, v, bias), state, f"{name}.attn.proj")
    return x + state.get(f"{name}.gamma_2", one) * mlp(layer_norm(x, state, f"{name}.norm2"), state, f"{name}.mlp")


def relative_bias(state):
    """BEiT's: a row of the table for each offset (row, column) of query from key; three more for the class token."""
    table, side = state["rel_pos_bias.relative_position_bias_table"], 2 * GRID - 1
    n = GRID * GRID
    bias = torch.zeros(n + 1, n + 1, HEADS)
    for query in range(n + 1):
        for key in range(n + 1):
            (a, b), (c, d) = divmod(query - 1, GRID), divmod(key - 1, GRID)
            if query and key:
                row = (a - c + GRID - 1) * side + (b - d + GRID - 1)
            else:  # class token to patch, patch to class token, class token to itself
                row = side**2 + (2 if query == key else 1 if query else 0)
            bias[query, key] = table[row]
    return bias.permute(2, 0, 1)


def run_vit(images, state, kept=None):
    """Class token and patches [B, 1 + n, D]; `kept` [B, n]: the patches that the encoder sees, all by default."""
    weight, squares = state["patch_embed.proj.weight"], []
    for y in range(GRID):
        for x in range(GRID):
            square = images[:, :, y * PATCH : (y + 1) * PATCH, x * PATCH : (x + 1) * PATCH]
            squares.append((square[:, None] * weight).sum((2, 3, 4)) + state["patch_embed.proj.bias"])
    x = torch.cat([state["cls_token"].expand(len(images), -1, -1), torch.stack(squares, 1)], 1)
    if "pos_embed" in state:
        x = x + state["pos_embed"]
    if kept is not None:
        x = torch.stack([row[[0, *(ids + 1).tolist()]] for row, ids in zip(x, kept)])
    bias = relative_bias(state) if "rel_pos_bias.relative_position_bias_table" in state else 0.0
    for i in range(DEPTH):
        x = run_block(x, state, f"blocks.{i}", bias)
    return layer_norm(x, state, "norm")


def run_neck(latents, state, layout):
    """Regressor and decoder: visible latents [B, v, D] to masked latents [B, m, D] and logits."""
    at = positions()[0, 1:]
    pos_q, pos_k = at[MASKED], torch.cat([at[VISIBLE], at[MASKED]], 1)
    x = state["mask_token"].expand(len(latents), MASKED.shape[1], -1)
    for i in range(2):
        name = f"{layout.regressor}.{i}"
        context = torch.cat([latents, x], 1)
        attn = f"{name}.cross_attn"
        q = affine(layer_norm(x + pos_q, state, f"{name}.norm1_q"), state, f"{attn}.q", state[f"{attn}.q_bias"])
        k = affine(layer_norm(context + pos_k, state, f"{name}.norm1_k"), state, f"{attn}.k", 0.0)
        v = affine(layer_norm(context, state, f"{name}.norm1_v"), state, f"{attn}.v", state[f"{attn}.v_bias"])
        x = x + state[f"{name}.gamma_1_cross"] * affine(attend(q, k, v), state, f"{attn}.proj")
        x = layer_norm(x, state, f"{name}.norm2_cross")
        x = x + state[f"{name}.gamma_2_cross"] * mlp(x, state, f"{name}.mlp_cross")
    predicted = x = layer_norm(x, state, layout.regressor_norm)
    x = x + pos_q
    for i in range(2):
        x = run_block(x, state, f"{layout.decoder}.{i}")
    return predicted, affine(layer_norm(x, state, layout.decoder_norm), state, layout.head)


# Importing.


def images():
    return torch.randn(2, 3, PATCH * GRID, PATCH * GRID, generator=torch.Generator().manual_seed(1))


def timms(folder):
    """The encoder as a user of timm loads it, from the folder's files alone."""
    return timm.create_model(f"local-dir:{folder}", pretrained=True).eval()


def without(state, *names):
    return {name: value for name, value in state.items() if name not in names}


def bare(state, prefix):
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def cases():
    """(method, what the file holds, the encoder in it by the public code's names, some names left out)."""
    for layout in (LXTGH, ATTEN4VIS):
        full = layout.state()
        yield "cae", {"model": full, **ONE_K}, bare(full, "encoder."), ["optimizer", f"{layout.copy}.norm.bias"]
        yield "cae", {"model": bare(full, "encoder.")}, bare(full, "encoder."), []
        yield "cae", bare(full, "encoder."), bare(full, "encoder."), []
        encoder = {name: value for name, value in full.items() if name.startswith(("encoder.", "mask_token"))}
        yield "cae", {"module": encoder}, bare(full, "encoder."), ["mask_token"]
    state = beit()
    yield (
        "beit",
        {"model": state, **ONE_K},
        state,
        ["mask_token", "lm_head.weight", "rel_pos_bias.relative_position_index"],
    )
    state = vit()
    yield "mae", {"model": state}, state, []
    yield (
        "mae",
        {"model": state | mae_decoder(), **JUNK},
        state,
        ["mask_token", "decoder_blocks.0.norm1.weight", "args"],
    )
    state = moco()
    left = ["base_encoder.head.0.weight", "momentum_encoder.norm.weight", "predictor.0.weight", "optimizer"]
    yield "moco_v3", {"state_dict": state, **JUNK}, bare(state, "module.base_encoder."), left
    state = vit()
    yield "dino", state, state, []
    state = dino()
    yield "dino", {**state, **JUNK}, bare(state["teacher"], "backbone."), ["student", "head.mlp.0.weight", "dino_loss"]
    state = vit() | linear("head", 7, WIDTH)
    yield "deit", {"model": state}, state, []


def assert_computes_as_published(encoder, method: str, state: dict) -> None:
    """Compare an imported encoder, and DeiT's classifier, with the public code's formulas over the weights `state`."""
    with torch.no_grad():
        expected = run_vit(images(), state)
        torch.testing.assert_close(encoder.forward_features(images()), expected, atol=2e-5, rtol=1e-5)
        if method == "deit":
            torch.testing.assert_close(encoder(images()), affine(expected[:, 0], state, "head"), atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("case", range(len(list(cases()))))
def test_the_imported_encoder_computes_what_the_public_code_does(model, tmp_path, case, capsys):
    torch.manual_seed(case)
    method, checkpoint, state, left_out = list(cases())[case]
    main(params=model(method, checkpoint), output=tmp_path / "imported")
    assert_computes_as_published(timms(tmp_path / "imported"), method, state)
    config = json.loads((tmp_path / "imported" / "provenance.json").read_text())
    assert set(left_out) <= set(config["dropped"]) and bool(left_out) == bool(config["dropped"])
    assert all(name.split(".")[0] in capsys.readouterr().out for name in left_out[:1])


def test_every_tensor_is_taken_or_listed(model, tmp_path):
    state = moco()
    main(params=model("moco_v3", {"state_dict": state}), output=tmp_path / "imported")
    dropped = json.loads((tmp_path / "imported" / "provenance.json").read_text())["dropped"]
    taken = {f"base_encoder.{name}" for name in timms(tmp_path / "imported").state_dict()}
    assert taken.isdisjoint(dropped)
    assert taken | set(dropped) == {name.removeprefix("module.") for name in state}


@pytest.mark.parametrize("args", [{}, {"args": argparse.Namespace(imagenet_default_mean_and_std=False)}])
def test_a_beit_of_other_input_statistics_computes_the_same_from_our_input(model, tmp_path, args):
    """The released BEiTs take (x - 0.5) / 0.5."""
    state = beit()
    main(params=model("beit", {"model": state, **args}), output=tmp_path / "imported")
    pixels = torch.rand(2, 3, PATCH * GRID, PATCH * GRID)
    mean, std = (torch.tensor(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.no_grad():
        ours = timms(tmp_path / "imported").forward_features((pixels - mean) / std)
    torch.testing.assert_close(ours, run_vit((pixels - 0.5) / 0.5, state), atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("layout", [LXTGH, ATTEN4VIS], ids=["lxtGH", "Atten4Vis"])
def test_a_whole_cae_computes_what_the_public_code_does(model, tmp_path, layout, momentum):
    state = layout.state()
    main(params=model("cae", {"model": state, **JUNK}, alignment_momentum=momentum), output=tmp_path / "imported")
    cae = load_model(tmp_path / "imported")
    visible = encode(cae.encoder, patchify(images(), PATCH).gather(1, VISIBLE[..., None].expand(-1, -1, 48)), VISIBLE)
    assert not cae.encoder.blocks[0].attn.qkv.bias[WIDTH : 2 * WIDTH].any()
    expected = run_vit(images(), bare(state, "encoder."), VISIBLE)[:, 1:]
    torch.testing.assert_close(visible, expected, atol=2e-5, rtol=1e-5)
    predicted, logits = run_neck(expected, state, layout)
    ours = cae.regress(visible, cae.positions[VISIBLE], cae.positions[MASKED])
    torch.testing.assert_close(ours, predicted, atol=2e-5, rtol=1e-5)
    torch.testing.assert_close(cae.decode(ours, cae.positions[MASKED]), logits, atol=5e-5, rtol=1e-5)
    if momentum:
        torch.testing.assert_close(cae.target_encoder.state_dict(), cae.encoder.state_dict())


def test_the_positions_are_those_of_the_public_code():
    torch.testing.assert_close(sincos_positions(GRID, WIDTH), positions()[0, 1:])


@pytest.mark.parametrize("part", ["encoder_to_decoder.weight", None], ids=["projection", "no decoder blocks"])
def test_of_a_cae_unlike_ours_the_encoder_is_taken(model, tmp_path, part):
    """Widths that differ, with a projection between; or CAE v2's, whose decoder is a linear layer."""
    state = LXTGH.state()
    state = state | {part: torch.zeros(3)} if part else {k: v for k, v in state.items() if "decoder_blocks" not in k}
    (tmp_path / "imported").mkdir()
    (tmp_path / "imported" / "last.ckpt").write_text("of an earlier import")
    main(params=model("cae", {"model": state}), output=tmp_path / "imported")
    assert not (tmp_path / "imported" / "last.ckpt").exists()
    left_out(tmp_path / "imported", state, "are not such as ours")


def left_out(folder, state, why):
    """Of a CAE's file whose encoder alone was taken: all of its other tensors are named as they are in the file."""
    about = json.loads((folder / "provenance.json").read_text())
    dropped = sorted(name for name in about["dropped"] if name != "args")
    assert dropped == sorted(name for name in state if not name.startswith("encoder."))
    assert why in about["notes"][0] and "the encoder alone is taken" in about["notes"][0]


@pytest.mark.parametrize("layout", [LXTGH, ATTEN4VIS], ids=["lxtGH", "Atten4Vis"])
def test_regressor_and_decoder_of_other_heads_are_left_out(model, tmp_path, layout):
    """No tensor shows how many heads they have; the options beside do."""
    state = layout.state()
    for heads, whole in ((HEADS, True), (2 * HEADS, False)):
        main(
            params=model("cae", {"model": state, "args": argparse.Namespace(decoder_num_heads=heads)}),
            output=tmp_path / "imported",
        )
        assert (tmp_path / "imported" / "last.ckpt").exists() == whole
    left_out(tmp_path / "imported", state, f"have {2 * HEADS} heads, the encoder {HEADS}")
    with torch.no_grad():
        expected = run_vit(images(), bare(state, "encoder."))
        torch.testing.assert_close(
            timms(tmp_path / "imported").forward_features(images()), expected, atol=2e-5, rtol=1e-5
        )


def test_a_whole_cae_without_layer_scale_computes_what_the_public_code_does(model, tmp_path):
    """Its regressor's scales are ones, and frozen; its other blocks have none."""
    state = {n: torch.ones(WIDTH) if "_cross" in n and "gamma" in n else v for n, v in WHOLE.items()}
    state = {name: value for name, value in state.items() if not re.search(r"gamma_[12]$", name)}
    main(params=model("cae", {"model": state}, layer_scale=0.0), output=tmp_path / "imported")
    cae = load_model(tmp_path / "imported")
    latents = torch.randn(2, len(VISIBLE[0]), WIDTH)
    predicted, logits = run_neck(latents, state, LXTGH)
    ours = cae.regress(latents, cae.positions[VISIBLE], cae.positions[MASKED])
    torch.testing.assert_close(ours, predicted, atol=2e-5, rtol=1e-5)
    torch.testing.assert_close(cae.decode(ours, cae.positions[MASKED]), logits, atol=5e-5, rtol=1e-5)
    assert {"pretext_neck.regressor_blocks.0.gamma_1_cross", "teacher.norm.bias"} <= dropped(tmp_path / "imported")


def dropped(folder):
    return set(json.loads((folder / "provenance.json").read_text())["dropped"])


PROBES = {
    "linear": ("mae", {"head.0.running_mean": torch.zeros(WIDTH), "head.0.num_batches_tracked": torch.tensor(3)}
               | linear("head.1", 3, WIDTH)),
    "CAE's linear": ("cae", {"head.0.running_var": torch.ones(WIDTH), "head.0.running_mean": torch.zeros(WIDTH)}
                     | linear("head.1", 3, WIDTH)),
    "attentive": ("cae", {"query_token": torch.zeros(1, 1, WIDTH), "fc_norm.running_mean": torch.zeros(WIDTH),
                          "attentive_blocks.0.norm1_q.weight": torch.ones(WIDTH)} | linear("head", 3, WIDTH)),
}  # fmt: skip


@pytest.mark.parametrize("probe", PROBES)
def test_of_a_probe_the_frozen_encoder_is_taken(model, tmp_path, probe, capsys):
    method, head = PROBES[probe]
    state = bare(WHOLE, "encoder.") if method == "cae" else vit()
    main(params=model(method, {"model": state | head, **ONE_K}), output=tmp_path / "imported")
    with torch.no_grad():
        expected = run_vit(images(), state)
        torch.testing.assert_close(
            timms(tmp_path / "imported").forward_features(images()), expected, atol=2e-5, rtol=1e-5
        )
    assert dropped(tmp_path / "imported") == {*head, "optimizer", "epoch", "args"}
    assert "The file is that of a probe: the frozen encoder" in capsys.readouterr().out


def test_the_file_is_hashed_once(model, tmp_path, monkeypatch):
    """Gigabytes, where models are large."""
    hashed = []
    monkeypatch.setattr(reading, "file_hash", lambda path: hashed.append(path) or file_hash(path))
    main(params=model("mae", vit()), output=tmp_path / "imported")
    assert len(hashed) == 1
    assert json.loads((tmp_path / "imported" / "provenance.json").read_text())["sha256"] == file_hash(hashed[0])


# Refusing.


def changed(state, name, *shape):
    return state | {name: torch.zeros(*shape)}


WHOLE = LXTGH.state()
TABLES = {f"blocks.{i}.attn.relative_position_bias_table": torch.ones(1) for i in range(DEPTH)}
TUNED = without(bare(WHOLE, "encoder."), "norm.weight", "norm.bias") | TABLES | linear("head", 3, WIDTH)
TUNED |= {"fc_norm.weight": torch.ones(WIDTH), "fc_norm.bias": torch.ones(WIDTH)}
REFUSED = {
    "unknown": ("mae", lambda: vit() | {"blocks.2.norm1.weight": torch.zeros(1)}, {}, "no place for blocks.2.norm1.weight.*size"),
    "unknown beside a CAE": ("cae", lambda: WHOLE | {"neck.bias": torch.zeros(1)}, {}, "no place for neck.bias"),
    "CAE's classifier": ("cae", lambda: TUNED, {}, r"a classifier of cae \(head.weight, fc_norm.weight, blocks.0.*fine-tuned"),
    "MAE's classifier": ("mae", lambda: vit() | linear("head", 3, WIDTH), {}, "a classifier of mae .* take the pretrained"),
    "MoCo's classifier": ("moco_v3", lambda: vit("module.") | linear("module.head", 3, WIDTH), {}, "a classifier of moco_v3"),
    "a probe's head": ("dino", lambda: {"state_dict": linear("module.linear", 3, WIDTH)}, {}, "holds no encoder of dino"),
    "missing": ("mae", lambda: without(vit(), "norm.bias", "blocks.1.norm1.bias"), {}, "lacks blocks.1.norm1.bias, norm.bias"),
    "missing key bias": ("cae", lambda: without(WHOLE, "encoder.blocks.1.attn.v_bias"), {}, "encoder.blocks.1.attn.q_bias"),
    "depth": ("mae", vit, {"depth": 3}, "lacks blocks.2.norm1.weight, .* and 9 more.*`size`"),
    "regressor depth": ("cae", lambda: WHOLE, {"regressor_depth": 3}, "lacks regressor.2.*`regressor_depth`"),
    "decoder depth": ("cae", lambda: WHOLE, {"decoder_depth": 1}, "no place for pretext_neck.decoder_blocks.1.*`decoder_depth`"),
    "layer scale": ("cae", lambda: bare(WHOLE, "encoder."), {"layer_scale": 0.0}, "gamma_1.*`layer_scale`"),
    "target": ("cae", lambda: WHOLE, {"target": "pixels"}, r"head.weight is \[11, 16\].*\[48, 16\].*`target`"),
    "image": ("dino", lambda: changed(vit(), "pos_embed", 1, 17, WIDTH), {}, r"\[1, 17, 16\], .*\[1, 10, 16\].*`image`"),
    "patch": ("dino", lambda: changed(vit(), "patch_embed.proj.weight", WIDTH, 3, 8, 8), {}, r"\[16, 3, 4, 4\].*`image.patch`"),
    "width": ("dino", lambda: changed(vit(), "cls_token", 1, 1, 24), {}, r"cls_token is \[1, 1, 24\].*`size`"),
    "BEiT's window": ("beit", lambda: changed(beit(), "rel_pos_bias.relative_position_bias_table", 52, HEADS), {}, "`image"),
    "regressor positions": ("cae", lambda: ATTEN4VIS.state() | {"rd_pos_embed": torch.zeros(1, 10, WIDTH)}, {}, "rd_pos_embed"),
    "MoCo as MAE": ("mae", moco, {}, "looks like a checkpoint of moco_v3, params say mae"),
    "MAE as MoCo": ("moco_v3", lambda: vit() | mae_decoder(), {}, "looks like a checkpoint of mae"),
    "CAE as DINO": ("dino", lambda: bare(WHOLE, "encoder."), {}, "looks like a checkpoint of cae"),
    "DINO as MAE": ("mae", dino, {}, "student, teacher, dino_loss are no tensor"),
    "distilled": ("deit", lambda: vit() | {"dist_token": torch.zeros(1, 1, WIDTH)}, {}, "distilled"),
    "headless DeiT": ("deit", vit, {}, "lacks head.weight, head.bias"),
    "BEiT's classifier": ("beit", lambda: beit() | TABLES, {}, "a classifier of beit .*fine-tuned.*such as .*pt22k"),
    "heads": ("deit", dict, {"width": 384, "heads": 12}, "with 6 heads, params say 12"),
    "half parallel": ("mae", lambda: vit() | {"module.norm.bias": torch.zeros(1)}, {}, "no place for module.norm.bias"),
    "twice": ("cae", lambda: WHOLE | vit(separate=True, scale=True), {}, "encoder.cls_token and cls_token are the same"),
    "sha256": ("mae", vit, {"sha256": "0123456789"}, "sha256 is .*0123456789"),
    "missing file": ("mae", vit, {"file": "$NOWHERE/mae.pth"}, "facebookresearch/mae"),
    "no weights": ("mae", lambda: {"model": torch.nn.Linear}, {}, "not|refused"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_in_one_line(model, tmp_path, case):
    method, checkpoint, over, message = REFUSED[case]
    params = model(method, checkpoint(), **over)
    with pytest.raises(UserError, match=message) as refusal:
        main(params=params, output=tmp_path / "imported")
    assert "\n" not in str(refusal.value) and not (tmp_path / "imported").exists()
    assert case == "missing file" or str(refusal.value).startswith(params.file + ": ")
    assert str(refusal.value).count(params.file) == 1 or case in ("sha256", "missing file")


def test_a_truncated_file_is_refused(model, tmp_path):
    params = model("mae", vit())
    file = tmp_path / "released.pth"
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(UserError, match="released.pth"):
        main(params=params, output=tmp_path / "imported")


def test_import_by_the_command_line(model, tmp_path, capsys):
    params = model("mae", {"model": vit() | mae_decoder()})
    sha256 = file_hash(params.file)
    params = model("mae", sha256=sha256[:8])
    cli(["import", "--params", params.model_dump_json(), "--output", str(tmp_path / "mae-b-1600")])
    out = capsys.readouterr().out
    assert "mae-b-1600: an encoder of 30 tensors imported" in out and "decoder_embed (2), mask_token" in out
    config = json.loads((tmp_path / "mae-b-1600" / "provenance.json").read_text())
    assert config["sha256"] == sha256 and config["file"] == "released.pth" and config["epochs"] == 1600
    assert config["source"] == "released" and config["model"] == "mae-b-1600" and config["params_hash"]
    text = (tmp_path / "mae-b-1600" / "README.md").read_text()
    assert all(part in text for part in (sha256, "released.pth", "1600", "facebookresearch/mae", "decoder_embed (2)"))
    with pytest.raises(SystemExit, match="cae import: .*sha256"):
        cli(["import", "--params", model("mae", sha256="00000000").model_dump_json(), "--output", str(tmp_path / "x")])
    built = json.dumps(params.model_dump() | {"source": "built"})
    with pytest.raises(SystemExit, match="source: Input should be 'released'"):
        cli(["import", "--params", built, "--output", str(tmp_path / "x")])


@pytest.mark.parametrize("name", ["cae-b-1600", "cae-l-1600"])
def test_the_authors_files_fit_the_models_of_released_yaml(name, tmp_path):
    """Names and shapes as published, each tensor one number seen as many: the file is small, and every tensor finds its place."""
    params = load(ROOT / "params/released.yaml").pretraining(name)
    release = Release(**params.model_dump(include=set(Release.model_fields)))
    d, depth = (1024, 24) if name == "cae-l-1600" else (768, 12)
    shapes = {"cls_token": (1, 1, d), "pos_embed": (1, 197, d), "patch_embed.proj.weight": (d, 3, 16, 16),
              "patch_embed.proj.bias": (d,), "norm.weight": (d,), "norm.bias": (d,)}  # fmt: skip
    for i in range(depth):
        linear = {"attn.qkv": (3 * d, d), "attn.proj": (d, d), "mlp.fc1": (4 * d, d), "mlp.fc2": (d, 4 * d)}
        shapes |= {f"blocks.{i}.{layer}.weight": shape for layer, shape in linear.items()}
        shapes |= {f"blocks.{i}.{layer}.bias": shape[:1] for layer, shape in linear.items() if layer != "attn.qkv"}
        vectors = "attn.q_bias attn.v_bias norm1.weight norm1.bias norm2.weight norm2.bias gamma_1 gamma_2"
        shapes |= dict.fromkeys((f"blocks.{i}.{vector}" for vector in vectors.split()), (d,))
    state = {f"encoder.{part}": torch.tensor(0.5).expand(shape) for part, shape in shapes.items()}
    file = tmp_path / Path(params.file).name
    torch.save({"model": state, **ONE_K}, file)
    converted = convert(reading.read_weights(file), release)
    assert converted.whole is None and set(converted.dropped) == {"optimizer", "epoch", "args"}
    assert (
        sum(tensor.numel() for tensor in converted.encoder.values()) == sum(map(math.prod, shapes.values())) + depth * d
    )


def test_what_the_environment_holds_is_not_written_down(model, tmp_path, monkeypatch, capsys):
    secret = "s3cr3t-0f-th3-t0k3n"
    for name in ("HF_TOKEN", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, secret)
    monkeypatch.setenv("CHECKPOINTS", str(tmp_path))
    main(params=model("mae", {"model": vit()}, file="$CHECKPOINTS/released.pth"), output=tmp_path / "imported")
    texts = [path.read_bytes().decode(errors="replace") for path in (tmp_path / "imported").iterdir()]
    assert len(texts) == 4 and not any(secret in text or str(tmp_path) in text for text in [*texts])
    assert secret not in capsys.readouterr().out
