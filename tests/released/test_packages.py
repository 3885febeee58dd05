"""Checkpoints in other packages' names and wrappers, written out here a second time, against the public code's formulas."""

import re

import pytest
import torch

from cae.errors import UserError
from cae.tasks.import_model import main
from tests.released.conftest import DEPTH, WIDTH
from tests.released.test_models import (
    ATTEN4VIS,
    ONE_K,
    assert_computes_as_published,
    bare,
    beit,
    dino,
    dropped,
    linear,
    mae_decoder,
    moco,
    run_vit,
    timms,
    vit,
    without,
)


def below(prefix, state):
    return {prefix + name: value for name, value in state.items()}


def wrapped(state):
    """As torch.compile names a block that is compiled by itself."""
    return {re.sub(r"(blocks\.\d+)\.", r"\1._orig_mod.", name): value for name, value in state.items()}


# Wrappers: what the file holds, of a MAE `state`.

WRAPPERS = {
    "compiled": lambda state: {"model": below("_orig_mod.", state)},
    "compiled, in parallel": lambda state: {"model": below("module._orig_mod.", state)},
    "in parallel, compiled": lambda state: below("_orig_mod.module.", state),
    "in parallel twice": lambda state: {"state_dict": below("module.module.", state)},
    "blocks compiled": lambda state: {"model": wrapped(state)},
    "sharded": lambda state: below("_fsdp_wrapped_module.", state),
    "recomputed": lambda state: {
        name.replace("mlp.", "_checkpoint_wrapped_module.mlp."): v for name, v in state.items()
    },
    "a training module's": lambda state: {"state_dict": below("model.", state), "epoch": 3, "hyper_parameters": {}},
    "a training module's, compiled, in parallel": lambda state: {"state_dict": below("model._orig_mod.module.", state)},
    "containers in containers": lambda state: {"state_dict": {"model": below("module.", state), "step": 3}, "epoch": 3},
    "model_state_dict": lambda state: {"model_state_dict": below("net.", state), "optimizer_state_dict": {}},
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_wrappers_of_wrappers_are_taken_off(model, tmp_path, wrapper):
    state = vit()
    main(params=model("mae", WRAPPERS[wrapper](state | mae_decoder())), output=tmp_path / "imported")
    imported = timms(tmp_path / "imported").state_dict()
    assert imported.keys() == state.keys() and all(torch.equal(imported[name], state[name]) for name in state)
    assert {"decoder_embed.weight", "mask_token"} <= dropped(tmp_path / "imported")


def test_a_name_that_two_wrappers_lead_to_is_refused(model, tmp_path):
    state = vit() | {"blocks.0._orig_mod.norm1.bias": torch.zeros(WIDTH)}
    with pytest.raises(
        UserError, match="blocks.0.norm1.bias and blocks.0._orig_mod.norm1.bias are the same tensor twice"
    ):
        main(params=model("mae", state), output=tmp_path / "imported")


# Packages: (method, what the file holds, the encoder in it by the public code's names).


def hugging_face(state):
    """transformers' ViTModel, and what BeitModel has besides."""
    out = {"embeddings.cls_token": state["cls_token"], "layernorm.weight": state["norm.weight"],
           "layernorm.bias": state["norm.bias"]}  # fmt: skip
    if "pos_embed" in state:
        out["embeddings.position_embeddings"] = state["pos_embed"]
    if table := [name for name in state if name.endswith("_bias_table")]:
        out["encoder.relative_position_bias.relative_position_bias_table"] = state[table[0]]
    for kind in ("weight", "bias"):
        out[f"embeddings.patch_embeddings.projection.{kind}"] = state[f"patch_embed.proj.{kind}"]
    for i in range(DEPTH):
        old, new = f"blocks.{i}.", f"encoder.layer.{i}."
        for part, weight in zip(("query", "key", "value"), state[f"{old}attn.qkv.weight"].split(WIDTH)):
            out[f"{new}attention.attention.{part}.weight"] = weight
        if f"{old}attn.qkv.bias" in state:
            for part, bias in zip(("query", "key", "value"), state[f"{old}attn.qkv.bias"].split(WIDTH)):
                out[f"{new}attention.attention.{part}.bias"] = bias
        else:
            for part in ("query", "value"):
                out[f"{new}attention.attention.{part}.bias"] = state[f"{old}attn.{part[0]}_bias"]
        for j in (1, 2):
            if f"{old}gamma_{j}" in state:
                out[f"{new}lambda_{j}"] = state[f"{old}gamma_{j}"]
        for a, b in (("attn.proj", "attention.output.dense"), ("mlp.fc1", "intermediate.dense"), ("mlp.fc2", "output.dense"),
                     ("norm1", "layernorm_before"), ("norm2", "layernorm_after")):  # fmt: skip
            out |= {f"{new}{b}.{kind}": state[f"{old}{a}.{kind}"] for kind in ("weight", "bias")}
    return out


def openmmlab(state):
    out = {}
    for name, value in state.items():
        name = name.replace("patch_embed.proj", "patch_embed.projection").replace("blocks", "layers")
        name = name.replace("mlp.fc1", "ffn.layers.0.0").replace("mlp.fc2", "ffn.layers.1")
        out[re.sub(r"^norm\.", "ln1.", re.sub(r"\bnorm([12])", r"ln\1", name))] = value
    return below("backbone.", out)


def packages():
    torch.manual_seed(0)
    state = vit()
    decoder = {"decoder.mask_token": torch.zeros(1, 1, 8), "decoder.decoder_layers.0.attention.attention.query.weight":
               torch.zeros(8, 8)}  # fmt: skip
    yield "mae", below("vit.", hugging_face(state)) | decoder, state
    yield "dino", hugging_face(state) | linear("pooler.dense", WIDTH, WIDTH), state
    state = without(beit(), "mask_token", "lm_head.weight", "lm_head.bias", "rel_pos_bias.relative_position_index")
    head = linear("lm_head", 5, WIDTH) | {"beit.embeddings.mask_token": torch.zeros(1, 1, WIDTH)}
    of_beit = hugging_face(state)
    norm = {
        name: of_beit.pop(name) for name in ("layernorm.weight", "layernorm.bias")
    }  # BeitForMaskedImageModeling's own
    file = below("beit.", of_beit) | norm | head
    yield "beit", {"model": file, **ONE_K}, state
    yield "beit", {"state_dict": openmmlab(state), "meta": {}}, state
    state = vit() | linear("head", 7, WIDTH)
    classifier = {"classifier.weight": state["head.weight"], "classifier.bias": state["head.bias"]}
    yield "deit", below("vit.", hugging_face(state)) | classifier, state
    state = vit()
    yield "mae", {"state_dict": openmmlab(state) | below("neck.", mae_decoder()), "meta": {"epoch": 3}}, state
    student, teacher = vit(), vit()
    file = below("momentum_encoder.0.", openmmlab(teacher)) | {"head.predictor.fc0.weight": torch.zeros(3, 3)}
    yield "moco_v3", {"state_dict": openmmlab(student) | file | {"neck.fc0.weight": torch.zeros(3, WIDTH)}}, student
    state = bare(ATTEN4VIS.state(), "encoder.")
    yield (
        "cae",
        {"state_dict": openmmlab(state) | below("teacher.", openmmlab(state)) | {"neck.mask_token": torch.zeros(1)}},
        state,
    )
    both = below("student_backbone.vit.", student) | below("teacher_backbone.vit.", teacher)
    yield "dino", {"state_dict": both | {"teacher_head.layers.0.weight": torch.zeros(3, WIDTH)}}, teacher
    beside = {"backbone.mask_token": torch.zeros(1, 1, WIDTH), "decoder.decoder_embed.weight": torch.zeros(8, WIDTH)}
    unused = below("backbone.vit.", linear("head", 1000, WIDTH))  # timm's, which nothing trained
    yield "mae", {"state_dict": below("backbone.vit.", student) | unused | beside, "callbacks": {}}, student
    online = linear("classifier", 7, WIDTH)
    yield "mae", {"state_dict": below("backbone.", student) | online | below("decoder.", mae_decoder())}, student
    both = below("backbone.", student) | below("momentum_backbone.", teacher) | online | linear("projector.0", 3, WIDTH)
    yield "moco_v3", {"state_dict": both}, student
    yield "dino", {"state_dict": both}, teacher


@pytest.mark.parametrize("case", range(len(list(packages()))))
def test_another_packages_encoder_computes_what_the_public_code_does(model, tmp_path, case):
    method, checkpoint, state = list(packages())[case]
    main(params=model(method, checkpoint), output=tmp_path / "imported")
    assert_computes_as_published(timms(tmp_path / "imported"), method, state)
    assert "The file is of " in (tmp_path / "imported/README.md").read_text()


def test_transformers_beit_takes_pixels_as_the_public_code_does(model, tmp_path):
    """It has no record of statistics: (x - 0.5) / 0.5, as the released BEiTs."""
    *_, (method, checkpoint, state) = [case for case in packages() if case[0] == "beit"][:1]
    main(params=model(method, checkpoint["model"]), output=tmp_path / "imported")
    pixels = torch.rand(2, 3, 12, 12)
    mean, std = (torch.tensor(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.no_grad():
        ours = timms(tmp_path / "imported").forward_features((pixels - mean) / std)
    torch.testing.assert_close(ours, run_vit((pixels - 0.5) / 0.5, state), atol=2e-5, rtol=1e-5)


def test_every_tensor_of_another_package_is_taken_or_listed(model, tmp_path):
    *_, (method, checkpoint, _) = (case for case in packages() if case[0] == "dino")
    main(params=model(method, checkpoint), output=tmp_path / "imported")
    taken = {f"momentum_backbone.{name}" for name in timms(tmp_path / "imported").state_dict()}
    left = dropped(tmp_path / "imported")
    assert taken.isdisjoint(left) and taken | left == checkpoint["state_dict"].keys()


# Refusing.

NAN = torch.full((WIDTH,), float("nan"))
TORCHVISION = {
    "conv_proj.weight": torch.zeros(WIDTH, 3, 4, 4),
    "encoder.layers.encoder_layer_0.ln_1.bias": torch.zeros(WIDTH),
}
REFUSED = {
    "transformers' classifier": ("mae", lambda: below("vit.", hugging_face(vit())) | linear("classifier", 3, WIDTH),
                                 r"a classifier of mae \(classifier.weight\).*fine-tuned"),
    "transformers' distilled": ("deit", lambda: hugging_face(vit()) | {"embeddings.distillation_token": torch.zeros(1, 1, WIDTH)},
                                "a distilled DeiT"),
    "transformers' BEiT as MAE": ("mae", lambda: below("beit.", hugging_face(beit())), "Hugging Face's.*looks like .* beit"),
    "part of transformers'": ("mae", lambda: without(hugging_face(vit()), "encoder.layer.0.attention.attention.key.weight"),
                              r"layer.0.attention.attention.query.weight.*whole\?; the file is of Hugging Face's"),
    "mmpretrain's classifier": ("mae", lambda: openmmlab(vit()) | linear("head.fc", 3, WIDTH), "classifier of mae .head.fc.w"),
    "mmsegmentation's": ("mae", lambda: openmmlab(vit()) | linear("decode_head.conv_seg", 3, WIDTH), "fine-tuned .* decode_head"),
    "solo-learn's classifier": ("mae", lambda: below("backbone.", vit()) | linear("classifier", 3, WIDTH),
                                "a classifier of solo-learn.*fine-tuned, or may be.*facebookresearch/mae"),
    "Lightly's DINO as MAE": ("mae", lambda: below("student_backbone.", vit()) | below("teacher_backbone.", vit()),
                              "a file of Lightly with student_backbone, teacher_backbone; of mae backbone is taken"),
    "an unknown module's": ("mae", lambda: below("learner.online.", vit()) | linear("loss.queue", 3, WIDTH),
                            "its encoder is under `learner.online.`, beside loss: no file of .*facebookresearch/mae"),
    "torchvision's": ("mae", lambda: TORCHVISION, "a ViT of torchvision .it has conv_proj.weight., no pretrained encoder of mae"),
    "a ResNet": ("moco_v3", lambda: below("module.base_encoder.", {"layer1.0.conv1.weight": torch.zeros(1)}), "a ResNet"),
    "DINOv2's": ("dino", lambda: vit() | {"register_tokens": torch.zeros(1, 4, WIDTH)}, "register tokens"),
    "NaN": ("mae", lambda: vit() | {"blocks.1.norm1.bias": NAN}, r"blocks.1.norm1.bias \(16 of 16\): NaN or infinite"),
    "infinite in float16": ("mae", lambda: {n: (1e9 * v if n == "norm.bias" else v).half() for n, v in vit().items()},
                            r"norm.bias \(16 of 16\): NaN or infinite"),
    "too large for float32": ("mae", lambda: vit() | {"norm.bias": 1e300 * torch.ones(WIDTH, dtype=torch.float64)}, "norm.bias"),
    "NaN beside a CAE": ("cae", lambda: ATTEN4VIS.state() | {"decoder.norm.bias": NAN}, r"decoder.norm.bias \(16 of 16\)"),
    "NaN in transformers' names": ("mae", lambda: hugging_face(vit()) | {"layernorm.bias": NAN}, r"layernorm.bias \(16 of 16\)"),
    "quantised": ("mae", lambda: vit() | {"norm.bias": torch.ones(WIDTH).to(torch.int8)}, r"norm.bias \(torch.int8\).*quantised"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_taken_is_refused_by_what_it_is(model, tmp_path, case):
    method, checkpoint, message = REFUSED[case]
    params = model(method, checkpoint())
    with pytest.raises(UserError, match=message) as refusal:
        main(params=params, output=tmp_path / "imported")
    text = str(refusal.value)
    assert text.startswith(f"{params.file}: ") and "\n" not in text and "`size`" not in text
    assert not (tmp_path / "imported").exists()


def test_a_nan_that_is_left_out_does_no_harm(model, tmp_path):
    for i, (method, checkpoint) in enumerate([("mae", vit() | mae_decoder() | {"decoder_pred.bias": NAN}), ("moco_v3", moco()),
                                              ("dino", {**dino(), "dino_loss": {"center": NAN}})]):  # fmt: skip
        main(params=model(method, checkpoint), output=tmp_path / str(i))
