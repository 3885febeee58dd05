"""DeiT: its loss against plain formulas, known numbers, what disturbs images and labels."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from cae.data.datasets import Images
from cae.models.vit import normalise
from cae.tasks.pretrain import build
from tests.methods.examples import PAPER, count, make, matrices_without_decay, view_batch

LONGER = {"epochs": 30}  # its loss falls slowly


@pytest.mark.parametrize("name,expected", [("deit-s-300", 22_050_664), ("deit-b-300", 86_567_656)])
def test_deit_has_the_published_numbers(tiny, name, expected):
    params = PAPER.pretraining(name)
    assert params.lr == pytest.approx(5e-4 * 1024 / 512) and PAPER.pretraining("deit-s-300").heads == 6
    with torch.device("meta"):
        encoder = build(params, 1000).encoder
    assert count(encoder.parameters()) == expected
    assert matrices_without_decay(make(tiny, name)) == {"encoder.cls_token", "encoder.pos_embed"}


def test_deit_loss_by_hand(tiny):
    """In evaluation mode: smoothed labels, no mixing."""
    model = make(tiny, "deit-b-300").eval()
    data = view_batch(model.params, views=1)
    logits = model.encoder(normalise(data["views"][0])).detach().double().numpy()
    logs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    target = np.full((6, 10), 0.01)
    target[np.arange(6), data["labels"]] += 0.9
    assert model(data)["loss"].item() == pytest.approx(-(target * logs).sum(1).mean(), rel=1e-4)


def test_deit_mixes_and_erases_as_the_seed_says(tiny, monkeypatch):
    model = make(tiny, "deit-b-300", mixup=0.8, cutmix=1.0, erasing=0.25)
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
    model = make(tiny, "deit-b-300", mixup=0.8, cutmix=0.0, erasing=0.0)
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
    model = make(tiny, "deit-b-300")
    before = model.average.head.weight.clone()
    with torch.no_grad():
        model.encoder.head.weight.add_(1.0)
    model.after_step(0.5)
    torch.testing.assert_close(model.average.head.weight, before + 0.01)


def test_supervised_encoder_classifies_as_its_metrics_say(run, tiny, data, pretrained, tmp_path):
    from cae.data.views import centre_crop
    from cae.errors import UserError
    from cae.models.encoders import load_encoder
    from cae.tasks.classify import ClassifyJob
    from cae.tasks.classify import main as classify

    output = tmp_path / "deit.json"
    about = {"data": data["imagenet"], "params": ClassifyJob(micro_batch=33), "output": output}
    classify(**about, encoder=pretrained("deit-b-300"))
    metrics = json.loads(output.read_text())
    vit, _ = load_encoder(pretrained("deit-b-300"))
    images = Images(data["imagenet"], 1)
    crops = torch.from_numpy(np.stack([centre_crop(images[i], 48) for i in range(100)]))
    right = vit(normalise(crops)).argmax(1).numpy() == images.labels
    assert metrics["top1"] == pytest.approx(100 * np.mean(right)) and metrics["val_images"] == 100
    with pytest.raises(UserError, match="classifies 0 classes, the data set has 10"):
        classify(**about, encoder=pretrained("mae-b-300"))
