"""Formulas of FLOPs and parameters against what PyTorch counts of the networks themselves."""

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from cae import params
from cae.data.masks import draw_masks, split_ids
from cae.models import flops
from cae.models.backbone import trainable
from cae.models.classifier import classifier
from cae.models.detector import Detector
from cae.models.probes import AttentiveProbe
from cae.models.segmenter import Segmenter
from cae.models.vit import create_encoder, timm_model
from cae.tasks.pretrain import build
from cae.tokenizers import store
from tests.conftest import MODELS, ROOT

# As wide as to make norms and biases small beside matrices, and otherwise small.
PAPER = params.load(ROOT / "params/paper.yaml", {
    "image": {"size": 64, "patch": 8}, "sizes": {"base": {"width": 192, "depth": 3, "heads": 3}},
    "mask": {"min_block": 4}, "recipes": {
        "cae": {"regressor_depth": 2, "decoder_depth": 1}, "mae": {"decoder_width": 128, "decoder_heads": 4, "decoder_depth": 2},
        "beit": {"mask": {"count": 20}}, "moco_v3": {"hidden_width": 256, "output_width": 64},
        "dino": {"hidden_width": 256, "bottleneck": 64, "outputs": 512, "local_size": 32, "local_crops": 3}},
    "tokenizers": {"dalle": {"input_size": 64}, "vqgan-openimages": {"input_size": 64},
                   "dvae-imagenet": {"input_size": 64, "width": 64, "codebook_dim": 48, "vocabulary": 512}},
    "models": {"cae-b-ema": {"method": "cae", "size": "base", "epochs": 9, "alignment_momentum": 0.9},
               "mae-b-tokens": {"method": "mae", "size": "base", "epochs": 50, "target": "tokens"}},
    "ade20k": {"crop": 64, "stride": 32, "sizes": {"base": {"channels": 96}}},
    "coco": {"channels": 64, "head_width": 128, "proposals": 20, "regions": 16, "short_sides": [64], "long_side": 128},
})  # fmt: skip
NAMES = [
    *MODELS.values(),
    "cae-b-300-no-align",
    "cae-b-300-no-align-no-decoder",
    "cae-b-300-pixels",
    "cae-b-ema",
    "mae-b-tokens",
]


def counted(function) -> int:
    """Attention as two plain products, which are counted."""
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        function()
    return counter.get_total_flops()


def weights(module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def batch_of(p, n: int) -> dict:
    images = torch.randint(0, 256, (n, p.image.size, p.image.size, 3), dtype=torch.uint8)
    if hasattr(p, "mask"):
        visible, masked = split_ids(draw_masks(p.mask, np.arange(n), seed=0, epoch=0, grid=p.image.grid))
        tokens = torch.zeros(n, p.image.grid**2, dtype=torch.long)
        ids = {"visible": torch.from_numpy(visible), "masked": torch.from_numpy(masked)}
        return {"pixels": images, **ids, "tokens": tokens}
    small, count = getattr(p, "local_size", 0), getattr(p, "local_crops", 0)
    crops = [images] * ((p.crops or 1) - count) + [images[:, :small, :small]] * count
    return {"views": crops, "labels": torch.zeros(n, dtype=torch.long), "epoch": torch.tensor(0)}


@pytest.mark.parametrize("name", NAMES)
def test_a_step_of_pretraining(name):
    p = PAPER.pretraining(name)
    outputs = p.choices(512, 100)
    model = build(p, outputs).eval()
    step = flops.pretraining_step(p, outputs or 0)
    assert counted(lambda: model(batch_of(p, 2))["loss"].backward()) / 2 == pytest.approx(step.flops, rel=0.01)
    assert weights(model) == pytest.approx(step.trained + step.frozen, rel=0.02)
    assert weights(create_encoder(p)) == pytest.approx(flops.encoder(p).weights, rel=0.02)


def encoder(p, **options):
    config = dict(zip(("architecture", "arguments"), timm_model(p)))
    return trainable(create_encoder(p), config, drop_path=0.0, num_classes=0, **options)[0]


def test_classifier_and_probe():
    p = PAPER.pretraining("cae-b-300")
    images = torch.rand(1, 3, p.image.size, p.image.size)
    config = dict(zip(("architecture", "arguments"), timm_model(p)))
    model, _, _ = classifier(create_encoder(p), config, 100, relative_positions=True)
    net = flops.classifier(p, 100)
    assert counted(lambda: model(images)) == pytest.approx(net.flops, rel=0.01)
    assert weights(model) == pytest.approx(net.weights, rel=0.02)
    probe, net = AttentiveProbe(p.width, p.heads, 100).eval(), flops.attentive_probe(p, 100)
    assert counted(lambda: probe(torch.rand(1, 65, p.width))) == pytest.approx(net.flops, rel=0.01)
    assert weights(probe) == pytest.approx(net.weights, rel=0.02)


def test_segmenter():
    p, (recipe, *_) = PAPER.pretraining("cae-b-300"), PAPER.segmenting("cae-b-300").values()
    model = Segmenter(encoder(p, relative_positions=True), recipe.channels, 50).eval()
    batch = {
        "pixels": torch.zeros(1, 64, 64, 3, dtype=torch.uint8),
        "labels": torch.zeros(1, 64, 64, dtype=torch.long),
    }
    net = flops.segmenter(p, recipe, 50)
    assert counted(lambda: model(batch)) == pytest.approx(net.flops, rel=0.01)
    assert weights(model) == pytest.approx(net.weights, rel=0.02)


@pytest.mark.parametrize("cascade", [False, True])
@pytest.mark.parametrize("heads", ["public", "torchvision"])
def test_detector(cascade, heads):
    """Of regions a step has as many as are sampled; of masks as many as are found to hold objects, counted here."""
    p, recipe = PAPER.pretraining("cae-b-300"), PAPER.detecting("cae-b-300").model_copy(update={"heads": heads})
    model = Detector(encoder(p, relative_positions=False, dynamic_img_size=True), recipe, 20, cascade)
    seen, regions = [], []
    for stage in model.model.roi_heads.stages:
        stage.mask_head.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
        stage.box_head.register_forward_pre_hook(lambda _, inputs: regions.append(len(inputs[0])))
    target = {"boxes": torch.tensor([[8.0, 8.0, 40.0, 40.0]]), "labels": torch.tensor([1]),
              "masks": torch.ones(1, 64, 128, dtype=torch.uint8)}  # fmt: skip
    batch = {"images": [torch.randint(0, 256, (3, 64, 128), dtype=torch.uint8)], "targets": [target]}
    torch.manual_seed(0)
    measured = counted(lambda: model(batch))
    stages = len(seen)
    recipe = recipe.model_copy(update={"regions": sum(regions) / stages})
    net = flops.detector(p, recipe, 20, cascade, 64, 128, masks=sum(seen) / stages)
    assert stages == (3 if cascade else 1) and measured == pytest.approx(net.flops, rel=0.01)
    assert weights(model) == pytest.approx(net.weights, rel=0.02)


@pytest.mark.parametrize("name", ["dvae-imagenet", "dalle", "vqgan-openimages"])
def test_tokenizer(name):
    t, grid = PAPER.tokenizers[name], PAPER.image.grid
    model, net = store.build(t, grid), flops.tokenizer(t, grid)
    pixels = torch.zeros(1, t.input_size, t.input_size, 3, dtype=torch.uint8)
    with torch.inference_mode():
        assert counted(lambda: model.tokens(pixels)) == pytest.approx(net.flops, rel=0.01)
    if t.source == "released":
        assert weights(model) == pytest.approx(net.weights, rel=0.02)
        return
    step = flops.dvae_step(t, grid)
    measured = counted(lambda: model({"pixels": pixels, "progress": 0.5})["loss"].backward())
    assert measured == pytest.approx(step.flops, rel=0.03)  # the first convolution's pixels need no gradient
    assert weights(model) == pytest.approx(step.trained, rel=0.02)
