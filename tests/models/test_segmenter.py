"""UperNet over the ViT: sizes, the auxiliary loss, pixels that nobody labelled."""

import pytest
import torch
import torch.nn.functional as F

from cae.data.pixels import IGNORED
from cae.models.backbone import trainable
from cae.models.segmenter import AUXILIARY_WEIGHT, Segmenter
from cae.models.vit import normalise
from tests.models.test_classifier import BEIT, PLAIN, VIT, encoder


def segmenter(about=VIT, relative=True, size=48):
    torch.manual_seed(0)
    vit, _, _ = trainable(*encoder(*about), relative_positions=relative, drop_path=0.0, num_classes=0)
    vit.set_input_size((size, size))
    return Segmenter(vit, 8, 5)


def batch(size=48, seed=0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 5, (2, size, size), generator=generator)
    labels[:, :10] = IGNORED
    return {
        "pixels": torch.randint(0, 256, (2, size, size, 3), generator=generator, dtype=torch.uint8),
        "labels": labels,
    }


@pytest.mark.parametrize("about", [VIT, PLAIN, BEIT], ids=["vit", "plain", "beit"])
@pytest.mark.parametrize("relative", [True, False])
def test_every_encoder_learns_but_for_its_positions(about, relative):
    model = segmenter(about, relative)
    model(batch())["loss"].backward()
    still = {name for name, p in model.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())}
    assert still == set()
    assert model.logits(batch()["pixels"]).shape == (2, 5, 48, 48)


def test_loss_is_the_decoders_and_two_fifths_of_the_auxiliary_heads():
    model = segmenter().eval()  # no dropout
    given = batch()
    terms = model(given)
    assert AUXILIARY_WEIGHT == 0.4
    torch.testing.assert_close(terms["loss"], terms["decoding"] + 0.4 * terms["auxiliary"])
    share = (given["labels"] != IGNORED).float().mean()  # the others count as pixels without loss
    expected = share * F.cross_entropy(model.logits(given["pixels"]), given["labels"], ignore_index=IGNORED)
    torch.testing.assert_close(terms["decoding"], expected)
    level = model.backbone(normalise(given["pixels"]))[2]
    coarse = model.auxiliary(level)
    assert coarse.shape == (2, 5, 6, 6) and model.auxiliary[0].out_channels == 256
    fine = F.interpolate(coarse, size=(48, 48), mode="bilinear", align_corners=False)
    expected = share * F.cross_entropy(fine, given["labels"], ignore_index=IGNORED)
    torch.testing.assert_close(terms["auxiliary"], expected)


def test_what_nobody_labelled_teaches_nothing():
    model = segmenter()
    given = batch() | {"labels": torch.full((2, 48, 48), IGNORED)}
    loss = model(given)["loss"]
    loss.backward()
    assert loss == 0 and not any(p.grad.any() for p in model.parameters() if p.grad is not None)
