"""Detectors: torchvision's own where they should be, the cascade's stages, the public heads, any input size."""

import pytest
import torch
from torchvision.models.detection.faster_rcnn import TwoMLPHead
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.ops import generalized_box_iou

from cae.models.backbone import trainable
from cae.models.detector import CASCADE, GIOU_WEIGHT, Detector, pool
from cae.params import Detection, load
from tests.conftest import ROOT
from tests.models.test_classifier import BEIT, VIT, encoder

SMALL = dict(channels=8, head_width=16, proposals=20, regions=8, short_sides=[24], long_side=64, crop=None)


def params(**changes) -> Detection:
    paper = load(ROOT / "params" / "paper.yaml").detecting("cae-b-300")
    return Detection(**paper.model_dump() | SMALL | changes)


def detector(about=VIT, cascade=False, **changes) -> Detector:
    torch.manual_seed(0)
    options = {} if about is BEIT else {"dynamic_img_size": True}
    vit, _, _ = trainable(*encoder(*about), relative_positions=False, drop_path=0.0, num_classes=0, **options)
    return Detector(vit, params(**changes), 3, cascade)


def scene(height=30, width=44):
    masks = torch.zeros(2, height, width, dtype=torch.uint8)
    boxes = torch.tensor([[2.0, 3, 20, 25], [22, 5, 40, 20]])
    for mask, (left, top, right, bottom) in zip(masks, boxes.int()):
        mask[top:bottom, left:right] = 1
    image = torch.randint(0, 256, (3, height, width), dtype=torch.uint8)
    return {"images": [image], "targets": [{"boxes": boxes, "labels": torch.tensor([1, 3]), "masks": masks}]}


@pytest.mark.parametrize("about", [VIT, BEIT], ids=["vit", "beit"])
@pytest.mark.parametrize("cascade", [False, True])
@pytest.mark.parametrize("heads", ["public", "torchvision"])
def test_trains_and_detects_at_sizes_that_are_not_square(about, cascade, heads):
    model = detector(about, cascade, heads=heads)
    batch = scene()
    batch["images"].append(torch.zeros(3, 50, 20, dtype=torch.uint8))  # one without objects
    nothing = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64), "masks": torch.zeros(0, 50, 20)}
    batch["targets"].append(nothing | {"masks": nothing["masks"].byte()})
    terms = model(batch)
    parts = [value for name, value in terms.items() if name != "loss"]
    torch.testing.assert_close(terms["loss"], sum(parts))
    assert len(parts) == 2 + 3 * (3 if cascade else 1)
    terms["loss"].backward()
    still = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not still
    found = model.eval()({"images": batch["images"]})
    for image, one in zip(batch["images"], found):
        assert one["masks"].shape == (len(one["boxes"]), 1, *image.shape[1:])
        assert one["boxes"].shape[0] == len(one["scores"]) and set(one["labels"].tolist()) <= {1, 2, 3}
        if len(one["boxes"]):  # in the image's own pixels
            assert (
                one["boxes"].min() >= 0 and (one["boxes"].amax(0)[2:] <= torch.tensor(image.shape[:0:-1]) + 0.01).all()
            )


def test_images_are_trained_on_as_they_come_and_tested_at_the_largest_size():
    model, seen = detector(short_sides=[16, 32, 40]), []
    model.model.backbone.register_forward_pre_hook(lambda _, given: seen.append(tuple(given[0].shape[-2:])))
    patch = model.model.transform.size_divisible
    for training, expected in ((True, (30, 44)), (False, (40, 58))):
        seen.clear()
        model.train(training)(scene())
        assert seen == [tuple(-(-side // patch) * patch for side in expected)]


def maps():
    return {str(i): torch.randn(1, 8, 16 // 2**i, 24 // 2**i) for i in range(4)}


def test_one_stage_with_torchvisions_heads_is_torchvisions_mask_rcnn():
    ours = detector(heads="torchvision").model.roi_heads
    stage = ours.stages[0]
    theirs = RoIHeads(
        ours.box_pool, stage.box_head, stage.box_predictor, 0.5, 0.5, 8, 0.25, None, 0.05, 0.5, 100,
        ours.mask_pool, stage.mask_head, stage.mask_predictor,
    )  # fmt: skip
    assert isinstance(stage.box_head, TwoMLPHead)
    features, targets = maps(), scene()["targets"]
    proposals = [torch.tensor([[1.0, 2, 21, 26], [23, 4, 41, 21], [0, 0, 10, 10], [5, 5, 30, 28]])]
    losses = []
    for heads in (ours, theirs):
        torch.manual_seed(1)
        losses.append(heads.train()(features, [each.clone() for each in proposals], [(32, 48)], targets)[1])
    names = {"loss_classes": "loss_classifier", "loss_boxes": "loss_box_reg", "loss_masks": "loss_mask"}
    for name, other in names.items():
        torch.testing.assert_close(losses[0][name], losses[1][other])
    stage.score_thresh = theirs.score_thresh = 0.0
    with torch.no_grad():
        (one,), (two,) = (heads.eval()(features, proposals, [(32, 48)])[0] for heads in (ours, theirs))
    for key in ("boxes", "labels", "scores", "masks"):
        torch.testing.assert_close(one[key], two[key])


def test_cascade_has_the_published_stages():
    heads = detector(cascade=True).model.roi_heads
    assert [(s.proposal_matcher.high_threshold, s.box_coder.weights, s.weight) for s in heads.stages] == [
        (0.5, (10, 10, 5, 5), 1.0), (0.6, (20, 20, 10, 10), 0.5), (0.7, (30, 30, 15, 15), 0.25)]  # fmt: skip
    assert len(CASCADE) == 3 and all(stage.box_predictor.bbox_pred.out_features == 4 for stage in heads.stages)
    assert all(stage.box_predictor.cls_score.out_features == 4 for stage in heads.stages)
    (stage,) = detector().model.roi_heads.stages
    assert stage.box_predictor.bbox_pred.out_features == 4 * 4  # of each class


def test_losses_of_a_stage_have_its_weight(monkeypatch):
    heads = detector(cascade=True).model.roi_heads.train()
    for stage in heads.stages:
        monkeypatch.setattr(stage, "box_losses", lambda *_: (torch.tensor(1.0), torch.tensor(10.0)))
    monkeypatch.setattr(heads, "mask_loss", lambda *_: torch.tensor(100.0))
    _, losses = heads(maps(), [torch.tensor([[1.0, 2, 21, 26]])], [(32, 48)], scene()["targets"])
    expected = {1: 1.0, 2: 0.5, 3: 0.25}
    assert {name: loss.item() for name, loss in losses.items()} == {
        f"loss_{name}_{i}": weight * size for i, weight in expected.items()
        for name, size in {"classes": 1, "boxes": 10, "masks": 100}.items()}  # fmt: skip


def test_each_stage_sees_the_boxes_that_the_one_before_has_moved(monkeypatch):
    heads = detector(cascade=True).model.roi_heads.eval()
    seen = []

    def pooled(_, boxes, __):
        seen.append(boxes[0])
        return torch.zeros(len(boxes[0]), 8, 7, 7)

    monkeypatch.setattr(heads.box_pool, "forward", pooled)
    step = torch.tensor([0.3, -0.2, 0.1, 0.4])
    for stage in heads.stages:
        stage.box_predictor.bbox_pred.weight.data.zero_()
        stage.box_predictor.bbox_pred.bias.data.copy_(step)
    start = torch.tensor([[10.0, 8, 20, 18]])
    heads(maps(), [start], [(32, 48)])
    expected = start
    for box, (_, weights, _) in zip(seen, CASCADE):
        torch.testing.assert_close(box, expected)
        (left, top, right, bottom), w = expected[0].tolist(), weights
        width, height = right - left, bottom - top
        x, y = (left + right) / 2 + step[0] / w[0] * width, (top + bottom) / 2 + step[1] / w[1] * height
        width, height = width * torch.exp(step[2] / w[2]), height * torch.exp(step[3] / w[3])
        expected = torch.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2])[None]
    assert len(seen) == 3


def test_moved_boxes_end_at_the_image():
    stage = detector(cascade=True).model.roi_heads.stages[0]
    (boxes,) = stage.refined([torch.tensor([[0.0, 0, 30, 30]])], torch.tensor([[0.0, 0, 5, 5] * 4]), [(20, 40)])
    assert boxes.tolist() == [[0, 0, 40, 20]]


def test_logits_of_stages_are_averaged():
    heads = detector(cascade=True).model.roi_heads.eval()
    for i, stage in enumerate(heads.stages):
        stage.box_predictor.cls_score.weight.data.zero_()
        stage.box_predictor.cls_score.bias.data.copy_(torch.tensor([0.0, float(i), 0.0, 0.0]))
        stage.box_predictor.bbox_pred.weight.data.zero_()
    with torch.no_grad():
        (found,), _ = heads(maps(), [torch.tensor([[10.0, 8, 20, 18]])], [(32, 48)])
    assert found["scores"].max().item() == pytest.approx(torch.tensor([0.0, 1, 0, 0]).softmax(0)[1].item())


def test_scales_of_the_maps_are_known_however_much_is_padded():
    align = pool(7, 16)
    features = {str(i): torch.full((1, 1, 64 // 2**i, 64 // 2**i), float(i)) for i in range(4)}  # 256 pixels, padded
    sides = torch.tensor([40.0, 130, 240, 500])
    boxes = torch.stack([torch.zeros(4), torch.zeros(4), sides, sides], 1)
    found = align(features, [boxes], [(33, 21)])  # the image itself is small
    assert found[:, 0, 0, 0].tolist() == [0, 1, 2, 3]  # by the side: below 112, 224, 448 pixels, and above


def test_public_heads_have_four_convolutions_and_giou():
    heads = detector(heads="public").model.roi_heads
    (stage,) = heads.stages
    for kind in (torch.nn.Conv2d, torch.nn.BatchNorm2d):
        assert sum(isinstance(m, kind) for m in stage.box_head.modules()) == 4
    boxes = torch.tensor([[0.0, 0, 10, 10], [5, 5, 15, 25], [0, 0, 4, 4]])
    truth = torch.tensor([[1.0, 0, 12, 9], [4, 7, 16, 20], [0, 0, 1, 1]])
    wanted = stage.box_coder.encode_single(truth, boxes)
    deltas = torch.zeros(3, 4 * 4)  # boxes as they are
    labels = torch.tensor([2, 1, 0])
    _, loss = stage.box_losses(torch.zeros(3, 4), deltas, [boxes], [labels], [wanted])
    giou = torch.diagonal(generalized_box_iou(boxes[:2], truth[:2]))
    assert loss.item() == pytest.approx(GIOU_WEIGHT * (1 - giou).sum().item() / 3, rel=1e-5)
    assert GIOU_WEIGHT == 10


def test_appendix_a():
    paper = load(ROOT / "params" / "paper.yaml")
    base, large = (paper.detecting(name) for name in ("cae-b-300", "cae-l-1600"))
    assert (base.epochs, base.milestones, base.batch_size) == (12, [9, 11], 32)
    assert (base.short_sides[0], base.short_sides[-1], base.long_side) == (480, 800, 1333)
    assert (base.lr, base.layer_decay, base.drop_path) == (3e-4, 0.75, 0.2)
    assert (large.lr, large.layer_decay, large.drop_path) == (2e-4, 0.8, 0.2)
    assert paper.detecting("cae-s-300").drop_path == 0.1


def test_anchors_are_eight_strides_at_the_papers_size():
    vit, _, _ = trainable(*encoder("vit_base_patch16_224", VIT[1] | {"patch_size": 16, "img_size": 48}),
                          relative_positions=False, drop_path=0.0, num_classes=0, dynamic_img_size=True)  # fmt: skip
    model = Detector(vit, params(), 3, False).model
    assert model.rpn.anchor_generator.sizes == [(32,), (64,), (128,), (256,), (512,)]
    assert model.transform.size_divisible == 32
