"""What fine-tuning starts from: the pretrained encoder's own function under other names, and a head close to zero."""

import pytest
import timm
import torch
from timm.models import Beit

from cae.models.backbone import TABLE
from cae.models.classifier import HEAD_SCALE, classifier

COMMON = dict(img_size=24, patch_size=8, embed_dim=16, depth=3, num_heads=2, num_classes=0)
VIT = "vit_base_patch16_224", COMMON | {"init_values": 0.1}
PLAIN = "vit_base_patch16_224", COMMON | {"init_values": None}  # no layer scale
DEIT = "vit_base_patch16_224", COMMON | {"init_values": None, "num_classes": 5}
BEIT = "beit_base_patch16_224", COMMON | {
    "init_values": 0.1, "global_pool": "token", "use_rel_pos_bias": False, "use_shared_rel_pos_bias": True
}  # fmt: skip


def encoder(name, arguments):
    """An encoder in which no parameter is at its first value, key biases and bias tables included; and its config."""
    vit = timm.create_model(name, **arguments).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in vit.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return vit.requires_grad_(False), {"architecture": name, "arguments": arguments}


@pytest.mark.parametrize("about", [VIT, PLAIN, DEIT, BEIT], ids=["vit", "plain", "deit", "beit"])
@pytest.mark.parametrize("relative", [True, False])
def test_before_training_tokens_and_pooled_features_are_the_encoders(about, relative):
    vit, config = encoder(*about)
    model, name, arguments = classifier(vit, config, 7, relative, drop_path=0.1)
    assert isinstance(model, Beit) == (relative or isinstance(vit, Beit))
    model.eval()
    images = torch.randn(2, 3, 24, 24)
    last = model.forward_features(images)
    torch.testing.assert_close(vit.norm(last), vit.forward_features(images), atol=1e-5, rtol=1e-5)
    pooled = torch.nn.functional.layer_norm(last[:, 1:].mean(1), (16,), vit.norm.weight, vit.norm.bias, eps=1e-6)
    torch.testing.assert_close(model.forward_head(last, pre_logits=True), pooled, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(model(images), pooled @ model.head.weight.T, atol=1e-5, rtol=1e-5)

    again = timm.create_model(name, **arguments).eval()
    again.load_state_dict(model.state_dict())
    torch.testing.assert_close(again(images), model(images))


def test_relative_positions_start_from_zero_or_from_the_bias_that_beit_shares():
    for about, expected in ((VIT, torch.zeros(5 * 5 + 3, 2)), (BEIT, None)):
        vit, config = encoder(*about)
        model, _, _ = classifier(vit, config, 7, True)
        tables = {name: value for name, value in model.named_parameters() if name.endswith(TABLE)}
        assert tables.keys() == {f"blocks.{i}.attn.{TABLE}" for i in range(3)}
        start = vit.rel_pos_bias.relative_position_bias_table if expected is None else expected
        assert all(torch.equal(table, start) and table.requires_grad for table in tables.values())
        assert len({table.data_ptr() for table in tables.values()}) == 3  # each its own


def test_head_is_new_and_small_and_positions_stay():
    vit, config = encoder(*DEIT)
    torch.manual_seed(0)
    model, _, _ = classifier(vit, config, 1000, True)
    assert model.head.weight.shape == (1000, 16) and not model.head.bias.any()
    assert model.head.weight.std().item() == pytest.approx(0.02 * HEAD_SCALE, rel=0.05)
    fixed = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert fixed == {"pos_embed"} and torch.equal(model.pos_embed, vit.pos_embed)


def test_drop_path_grows_to_its_rate():
    vit, config = encoder(*VIT)
    model, _, arguments = classifier(vit, config, 7, True, drop_path=0.2)
    assert [getattr(block.drop_path1, "drop_prob", 0.0) for block in model.blocks] == pytest.approx([0.0, 0.1, 0.2])
    assert "drop_path_rate" not in arguments  # of training, not of what is used afterwards


def test_an_encoder_that_lacks_a_tensor_is_refused():
    vit, config = encoder(*VIT)
    del vit.blocks[1].norm1.bias
    vit.blocks[1].norm1.bias = None
    with pytest.raises(RuntimeError, match="blocks.1.norm1.bias"):
        classifier(vit, config, 7, True)
