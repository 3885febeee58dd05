"""Attention maps: the weights that timm computes, and where their mass lies."""

import itertools
import json

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from cae.analysis.attention import (
    CENTRE,
    AttentionJob,
    Crops,
    class_attention,
    covered,
    half_mass,
    main,
    outside_centre,
    probe_attention,
    shares,
)
from cae.data.views import crop_boxes, render
from cae.errors import UserError
from cae.models.probes import AttentiveProbe
from cae.params import View
from tests.models.test_encoders import saved

VIEW = View(scale=[0.2, 0.6], ratio=[0.75, 1.3], flip=0.5, jitter=0.0, views=4)


def encoder(name, **options):
    """A tiny encoder of random weights, biases of positions included."""
    torch.manual_seed(0)
    vit = timm.create_model(
        name, img_size=24, patch_size=8, embed_dim=16, depth=2, num_heads=2, num_classes=0, **options
    )
    for parameter in vit.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return vit.eval()


BEIT = {"use_rel_pos_bias": False, "use_shared_rel_pos_bias": True}
ENCODERS = [
    ("vit_base_patch16_224", {}),
    ("vit_base_patch16_224", {"reg_tokens": 2}),
    ("beit_base_patch16_224", BEIT),
    ("beit_base_patch16_224", {"init_values": None}),  # biases of each block
]


@pytest.mark.parametrize("name,options", ENCODERS)
@torch.no_grad()
def test_the_map_is_the_softmax_of_the_last_blocks_own_weights(name, options):
    vit, images = encoder(name, **options), torch.randn(2, 3, 24, 24)
    last, seen = vit.blocks[-1], []
    with last.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0])):
        before = vit.forward_features(images)
    x = last.norm1(seen[0]).double()
    weight, bias = last.attn.qkv.weight.double(), last.attn.qkv.bias
    if bias is None:
        bias = torch.cat([last.attn.q_bias, torch.zeros(16), last.attn.v_bias])
    q, k, _ = (x @ weight.T + bias).unflatten(-1, (3, 2, 8)).unbind(2)  # of 2 heads, 8 wide
    logits = torch.einsum("bihd,bjhd->bhij", q, k) / 8**0.5
    if getattr(vit, "rel_pos_bias", None) is not None:
        logits = logits + vit.rel_pos_bias()
    if getattr(last.attn, "relative_position_bias_table", None) is not None:
        logits = logits + last.attn._get_rel_pos_bias()
    expected = logits.softmax(-1)[:, :, 0, -9:].mean(1)
    torch.testing.assert_close(class_attention(vit, images), expected.float())
    torch.testing.assert_close(vit.forward_features(images), before)


@torch.no_grad()
def test_the_probes_map_leaves_out_the_encoders_class_token():
    vit, images, probe = (
        encoder("vit_base_patch16_224"),
        torch.randn(2, 3, 24, 24),
        AttentiveProbe(16, 2, 3, 0.5).eval(),
    )
    torch.nn.init.normal_(probe.query)
    torch.testing.assert_close(
        probe_attention(probe, vit, images), probe.attention(vit.forward_features(images))[:, 1:]
    )


def test_the_half_mass_is_on_the_fewest_patches_that_hold_it():
    maps = np.random.default_rng(0).dirichlet(np.full(7, 0.5), 50).astype(np.float32)
    for one, half in zip(maps, half_mass(maps)):
        enough = [k for k in range(1, 8) if max(sum(chosen) for chosen in itertools.combinations(one, k)) >= 0.5]
        assert one[half].sum() >= 0.5 and half.sum() == enough[0]


@pytest.mark.parametrize("grid,count", [(6, 18), (7, 25), (14, 98)])
def test_half_of_uniform_attention_is_on_half_of_the_patches(grid, count):
    assert half_mass(np.full((1, grid**2), grid**-2, np.float32)).sum() == count


@pytest.mark.parametrize("grid", [6, 7, 14])
def test_half_of_uniform_attention_lies_outside_of_the_centre(grid):
    outside = outside_centre(np.array([0, 0, 1, 1]), grid)
    numbers = shares(np.full((1, 3, grid**2), grid**-2), {"outside": np.tile(outside, (3, 1))})
    np.testing.assert_allclose(numbers["outside"], [[0.5, 0]], atol=1e-12)
    assert numbers["outside_area"] == pytest.approx(0.5)
    corner, middle = outside.reshape(grid, grid)[[0, grid // 2], [0, grid // 2]]
    assert corner == pytest.approx(1 - max(0, 1 - grid * CENTRE[0]) ** 2) and middle == pytest.approx(0)


def test_a_patch_of_a_crop_counts_by_its_part_outside_of_the_images_centre():
    low, high = CENTRE
    box = np.array([low - 0.1, 0.5 - 0.05, low + 0.1, 0.5 + 0.15])  # astride the left border of the centre
    np.testing.assert_allclose(outside_centre(box, 2), [1, 0, 1, 0], atol=1e-12)
    np.testing.assert_allclose(outside_centre(box, 1), [0.5])
    np.testing.assert_allclose(outside_centre(np.array([low, low, high, high]), 3), np.zeros(9), atol=1e-12)


def test_the_mass_on_an_object_and_its_area_by_hand():
    mask = np.zeros((4, 6), bool)
    mask[:2, :3] = True  # the upper left quarter
    mask[3, 5] = True
    region = covered(mask, np.array([0, 0, 6, 4]), 2)
    np.testing.assert_allclose(region, [1, 0, 0, 1 / 6])
    np.testing.assert_allclose(covered(mask, np.array([1, 1, 6, 4]), 1), [3 / 15])
    np.testing.assert_allclose(covered(mask, np.array([0, 0, 6, 4]), 4)[:4], [1, 1, 0, 0])  # 1.5 pixels wide
    maps = np.array([[[0.4, 0.3, 0.3, 0], [0.1, 0.2, 0.1, 0.6]]])
    numbers = shares(maps, {"object": np.stack([region, np.zeros(4)])})
    assert numbers["object_area"] == pytest.approx(7 / 48)
    # of the two images 0.4 and 0; their distances from the areas 7 / 24 and 0
    np.testing.assert_allclose(numbers["object"], [[0.2, (0.4 - 7 / 24) / 2]])


def test_a_crop_is_that_of_the_view_and_not_flipped():
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8))
    crops = Crops(lambda i: (image, np.ones((40, 60), bool)), 5, AttentionJob(images=1, seed=3, view=VIEW), 16, 2)
    batch = crops[np.arange(5)]
    boxes, flips = crop_boxes(VIEW, 3, np.arange(5), 0, np.full(5, 60), np.full(5, 40))
    for pixels, box in zip(batch["pixels"].numpy(), boxes):
        assert np.array_equal(pixels, render(image, box, False, 16))
    assert flips.any() and batch["object"].numpy() == pytest.approx(1)
    assert set(batch) == {"pixels", "object", "outside", "outside_original"}


@pytest.mark.parametrize("probed", [False, True])
@pytest.mark.parametrize("view", [None, VIEW])
def test_arrays_of_a_vit_and_a_beit(tmp_path, data, probed, view):
    models, probes = [tmp_path / name for name in ("cae-b-300", "beit-b-300")], []
    for folder in models:
        saved(folder, folder.name)
        probes += [folder / "probe.safetensors"]
        probe = AttentiveProbe(16, 2, 10, 0.5)
        torch.nn.init.normal_(probe.query)
        save_file(probe.state_dict(), probes[-1])
    job, output = AttentionJob(images=5, seed=0, view=view), tmp_path / "out.npz"
    given = {
        "data": data["imagenet"],
        "models": models,
        "probes": probes if probed else None,
        "params": job,
        "output": output,
    }
    main(**given, objects=data["coco"])
    arrays = dict(np.load(output))
    assert arrays["models"].tolist() == ["cae-b-300", "beit-b-300"]
    assert arrays["images"].shape == (5, 24, 24, 3) and arrays["half"].shape == arrays["maps"].shape == (2, 5, 3, 3)
    np.testing.assert_allclose(arrays["maps"].sum((2, 3)), 1, rtol=1e-5)
    assert not np.allclose(arrays["maps"][0], arrays["maps"][1])
    for name in ("outside", "object", "half_patches", *(["outside_original"] if view else [])):
        mean, error = arrays[name].T
        assert ((mean > 0) & (mean < 1)).all() and (error < 0.2).all()
    assert ("outside_original" in arrays) == bool(view) and 0 < arrays["object_area"] < 1
    main(**given)
    again = dict(np.load(output))
    assert "object" not in again and all(np.array_equal(again[name], arrays[name]) for name in again)


def test_an_encoder_without_class_token_is_refused_before_any_image_is_read(tmp_path):
    saved(tmp_path / "mine", "cae-b-300")
    config = json.loads((tmp_path / "mine" / "config.json").read_text())
    config["model_args"] |= {"class_token": False, "global_pool": "avg", "fc_norm": False}
    vit = timm.create_model(config["architecture"], **config["model_args"])
    save_file(vit.state_dict(), tmp_path / "mine" / "model.safetensors")
    (tmp_path / "mine" / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="mine: the encoder has no class token"):
        job = AttentionJob(images=1, seed=0)
        main(data=tmp_path / "no.json", models=[tmp_path / "mine"], params=job, output=tmp_path / "x.npz")


def test_models_of_other_patches_and_a_probe_that_is_missing_are_told_before_any_image_is_read(tmp_path, data):
    for name in ("a", "b"):
        saved(tmp_path / name, "cae-b-300")
    config = json.loads((tmp_path / "b" / "config.json").read_text())
    config["model_args"]["img_size"] = 16
    (tmp_path / "b" / "config.json").write_text(json.dumps(config))
    vit = timm.create_model(config["architecture"], **config["model_args"])
    save_file(vit.state_dict(), tmp_path / "b" / "model.safetensors")
    given = {"params": AttentionJob(images=1, seed=0), "output": tmp_path / "x.npz"}
    with pytest.raises(UserError, match="b: another number of patches than in .*a; one figure shows one"):
        main(data=tmp_path / "no.json", models=[tmp_path / "a", tmp_path / "b"], **given)
    with pytest.raises(UserError, match="probe.safetensors: missing; make it with `snakemake .*probe.safetensors`"):
        main(data=data["imagenet"], models=[tmp_path / "a"], probes=[tmp_path / "probe.safetensors"], **given)
