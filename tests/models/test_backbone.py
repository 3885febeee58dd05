"""The ViT as a backbone: levels, positions and biases at other sizes, the published layers of learning rates."""

import numpy as np
import pytest
import timm
import torch

from cae.models.backbone import TABLE, Backbone, levels, trainable
from cae.training.optim import adamw_by_layer
from tests.models.test_classifier import BEIT, PLAIN, VIT, encoder

DENSE = dict(relative_positions=False, drop_path=0.0, num_classes=0)


def any_size(about, pretrained=None):
    options = {} if about[0].startswith("beit") else {"dynamic_img_size": True}
    return trainable(*(pretrained or encoder(*about)), **DENSE, **options)[0].eval()


def test_levels_are_the_published_ones():
    assert levels(12) == [3, 5, 7, 11] and levels(24) == [7, 11, 15, 23]
    assert levels(3) == [0, 0, 1, 2] and levels(1) == [0, 0, 0, 0]


@pytest.mark.parametrize("about", [VIT, PLAIN, BEIT], ids=["vit", "plain", "beit"])
@pytest.mark.parametrize("size", [(24, 24), (16, 48), (64, 40)])
def test_maps_have_four_sizes_at_any_input(about, size):
    h, w = size[0] // 8, size[1] // 8
    backbone = Backbone(any_size(about)).eval()
    maps = backbone(torch.randn(2, 3, *size))
    assert [tuple(each.shape) for each in maps] == [
        (2, 16, 4 * h, 4 * w), (2, 16, 2 * h, 2 * w), (2, 16, h, w), (2, 16, h // 2, w // 2)]  # fmt: skip


@pytest.mark.parametrize("about", [VIT, BEIT], ids=["vit", "beit"])
def test_third_map_is_a_blocks_output_without_the_norm(about):
    vit, config = encoder(*about)
    images = torch.randn(1, 3, 24, 24)
    with torch.no_grad():
        expected = vit.forward_intermediates(images, indices=[1], norm=False, intermediates_only=True)[0]
        found = Backbone(any_size(about, (vit, config))).eval()(images)[2]
    torch.testing.assert_close(found, expected)


def cubic(x):
    """Keys' kernel with a = -0.5, PyTorch's where it antialiases."""
    x, a = abs(x), -0.5
    if x < 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0


def resampled(values: np.ndarray, length: int) -> np.ndarray:
    """values [n, ...] at `length` places by weighted sums; a wider kernel where there are fewer places than values."""
    n, out = len(values), []
    scale = max(1.0, n / length)
    for i in range(length):
        centre = (i + 0.5) * n / length
        weights = np.array([cubic((k + 0.5 - centre) / scale) for k in range(n)])
        out.append(np.tensordot(weights / weights.sum(), values, 1))
    return np.array(out)


@pytest.mark.parametrize("grid", [(3, 3), (2, 6), (5, 4), (8, 1)])
def test_positions_are_exact_at_their_own_size_and_bicubic_at_others(grid):
    vit = any_size(VIT)
    seen = []
    vit.blocks[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        vit.patch_embed.proj.weight.zero_(), vit.patch_embed.proj.bias.zero_(), vit.cls_token.zero_()
        vit.forward_features(torch.zeros(1, 3, 8 * grid[0], 8 * grid[1]))
    own = vit.pos_embed[0].detach().numpy()
    expected = own[1:].reshape(3, 3, -1)
    if grid != (3, 3):
        expected = resampled(resampled(expected, grid[0]).swapaxes(0, 1), grid[1]).swapaxes(0, 1)
    found = seen[0][0].numpy()
    np.testing.assert_allclose(found[0], own[0], atol=1e-6)
    np.testing.assert_allclose(found[1:].reshape(*grid, -1), expected, atol=0 if grid == (3, 3) else 1e-5)


def test_a_shared_bias_is_exact_at_its_own_grid_and_of_offsets_at_others():
    vit = any_size(BEIT)
    with torch.no_grad():
        before = vit.rel_pos_bias()
        shared = Backbone(vit).encoder.rel_pos_bias
        assert torch.equal(shared(), before)
        shared.grid = 2, 5
        bias = shared()
        assert bias.shape == (2, 11, 11)
        places = [(y, x) for y in range(2) for x in range(5)]
        by_offset = {}
        for i, (y, x) in enumerate(places):
            for j, (v, u) in enumerate(places):
                by_offset.setdefault((y - v, x - u), []).append(bias[:, 1 + i, 1 + j])
        assert len(by_offset) == 3 * 9
        assert all(torch.equal(each, same[0]) for same in by_offset.values() for each in same)
        table = shared.relative_position_bias_table
        assert torch.equal(bias[:, 0, 0], table[-1])  # the class token with itself


def test_a_square_input_can_be_larger_with_biases_of_each_block():
    vit, config = encoder(*VIT)
    model, _, _ = trainable(vit, config, relative_positions=True, drop_path=0.0, num_classes=0)
    model.set_input_size((48, 48))
    assert model.pos_embed.shape == (1, 37, 16) and not model.pos_embed.requires_grad
    tables = {name: p for name, p in model.named_parameters() if name.endswith(TABLE)}
    assert len(tables) == 3 and all(p.shape == (11 * 11 + 3, 2) and p.requires_grad for p in tables.values())
    assert Backbone(model)(torch.randn(2, 3, 48, 48))[0].shape == (2, 16, 24, 24)


def test_an_encoder_with_a_head_gives_it_up():
    vit, config = encoder("vit_base_patch16_224", VIT[1] | {"num_classes": 5})
    model, _, arguments = trainable(vit, config, **DENSE)
    assert not [name for name in model.state_dict() if name.startswith("head")] and arguments["num_classes"] == 0


@pytest.mark.parametrize("about", [VIT, BEIT], ids=["vit", "beit"])
def test_everything_but_positions_and_the_final_norm_learns(about):
    backbone = Backbone(any_size(about).train())
    sum(level.square().mean() for level in backbone(torch.randn(2, 3, 32, 16))).backward()
    still = {name for name, p in backbone.named_parameters() if p.grad is None or not p.grad.any()}
    assert still <= {"encoder.pos_embed", "encoder.norm.weight", "encoder.norm.bias"}
    assert all(not p.requires_grad for name, p in backbone.named_parameters() if name in still)


def test_rates_of_12_blocks_inside_a_larger_model_are_the_published_ones():
    vit, config = encoder(VIT[0], VIT[1] | {"depth": 12})
    model, _, _ = trainable(vit, config, **DENSE)
    whole = torch.nn.Sequential(Backbone(model), torch.nn.Linear(3, 3))
    optimizer = adamw_by_layer(model, whole, lr=1.0, betas=(0.9, 0.999), weight_decay=0.05, layer_decay=0.65)
    names = {id(p): name for name, p in whole.named_parameters()}
    scales = {names[id(p)]: group["lr_scale"] for group in optimizer.param_groups for p in group["params"]}
    assert len(scales) == sum(len(group["params"]) for group in optimizer.param_groups)  # each once
    for name, scale in scales.items():
        block = int(name.split(".")[3]) + 1 if ".blocks." in name else 0 if ".encoder." in name else 13
        assert scale == pytest.approx(0.65 ** (13 - block)), name
    assert scales["1.weight"] == 1 and "0.encoder.norm.weight" not in scales and "0.encoder.pos_embed" not in scales


def test_timm_builds_what_was_made():
    vit, config = encoder(*VIT)
    model, name, arguments = trainable(vit, config, relative_positions=True, drop_path=0.1, num_classes=0)
    again = timm.create_model(name, **arguments).eval()
    again.load_state_dict(model.state_dict())
    images = torch.randn(1, 3, 24, 24)
    torch.testing.assert_close(again.forward_features(images), vit.forward_features(images), atol=1e-5, rtol=1e-5)
