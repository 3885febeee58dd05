"""Mask R-CNN (He et al. 2017) and Cascade Mask R-CNN (Cai & Vasconcelos 2021) over a plain ViT (§4.4, Appendix A).

torchvision's, with what mmdetection has different: an anchor size of 8 strides a level, as many proposals in training as in
tests, predictors that start close to zero. The ViT's four maps (BEiT's and CAE's public code) go into a feature pyramid
network.

`heads: torchvision` are two fully connected layers and smooth L1 of box deltas. `heads: public` are the public code's, on
which the paper is silent: four convolutions with BatchNorm and one fully connected layer, generalised IoU of decoded boxes
with weight 10.

The cascade has three stages, each fed with the boxes of the one before; each shares a box among classes. Logits of classes
and probabilities of masks are averaged over them. Unlike in mmdetection the moved boxes of the ground truth stay among the
next stage's.
"""

from collections import OrderedDict

import torch
import torch.nn.functional as F
from timm.models import Beit, VisionTransformer
from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNConvFCHead, FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.roi_heads import RoIHeads, fastrcnn_loss, maskrcnn_inference, maskrcnn_loss
from torchvision.models.detection.rpn import RPNHead
from torchvision.ops import (
    FeaturePyramidNetwork,
    MultiScaleRoIAlign,
    clip_boxes_to_image,
    generalized_box_iou_loss,
)
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool
from torchvision.ops.poolers import LevelMapper

from cae.data.pixels import MEAN, STD
from cae.models.backbone import Backbone
from cae.params import Detection

# Of each stage: IoU of a positive box, weights of its deltas, weight of its loss.
ONE = [(0.5, (10.0, 10.0, 5.0, 5.0), 1.0)]
CASCADE = [*ONE, (0.6, (20.0, 20.0, 10.0, 10.0), 0.5), (0.7, (30.0, 30.0, 15.0, 15.0), 0.25)]
GIOU_WEIGHT = 10.0
ROI, MASK_ROI = 7, 14  # cells a side
TERMS = "classes", "boxes", "masks"  # of a stage's loss


class Detector(nn.Module):
    """`encoder`: of any input size (see `Backbone`); `classes`: without the background."""

    def __init__(self, encoder: VisionTransformer | Beit, params: Detection, classes: int, cascade: bool):
        super().__init__()
        p, patch = params, encoder.patch_embed.patch_size[0]
        pyramid = Pyramid(encoder, p.channels)
        anchors = AnchorGenerator([(8 * patch * i // 4,) for i in (1, 2, 4, 8, 16)], [(0.5, 1.0, 2.0)] * 5)
        self.model = MaskRCNN(
            pyramid, classes + 1, min_size=p.short_sides[-1], max_size=p.long_side,
            _skip_resize=True,  # in training: each image's size is drawn where it is loaded, whatever device it goes to
            size_divisible=2 * patch, rpn_anchor_generator=anchors, rpn_pre_nms_top_n_train=2 * p.proposals,
            rpn_pre_nms_top_n_test=p.proposals, rpn_post_nms_top_n_train=p.proposals, rpn_post_nms_top_n_test=p.proposals,
        )  # fmt: skip
        # torchvision's own would send mean and deviation to the device for each image, and wait.
        self.model.transform.normalize = itself
        for name, value in (("mean", MEAN), ("std", STD)):
            self.register_buffer(name, torch.tensor(value)[:, None, None], persistent=False)
        self.model.rpn.head = ProposalHead(p.channels, 3)
        self.model.roi_heads = Stages(p, classes + 1, patch, cascade)

    def forward(self, batch: dict) -> dict[str, Tensor] | list[dict[str, Tensor]]:
        """batch: images, a list of uint8 [3, H, W] of any sizes; in training also targets (torchvision's), and seen at these
        sizes; else at the largest of `short_sides`.

        In training loss terms and their sum, `loss`. Else of each image, in its own pixels, the detections: boxes [n, 4]
        (left, top, right, bottom), labels [n] from 1, scores [n], masks float [n, 1, H, W] in [0, 1].
        """
        images = [(image / 255 - self.mean) / self.std for image in batch["images"]]
        if not self.training:
            return self.model(images)
        losses = self.model(images, batch["targets"])
        return {"loss": sum(losses.values()), **{name.removeprefix("loss_"): value for name, value in losses.items()}}


def itself(image: Tensor) -> Tensor:
    return image


class Pyramid(nn.Module):
    """A feature pyramid network over the ViT's four maps, and a fifth, half as large as the last."""

    def __init__(self, encoder: VisionTransformer | Beit, channels: int):
        super().__init__()
        self.backbone, self.out_channels = Backbone(encoder), channels
        self.fpn = FeaturePyramidNetwork([encoder.embed_dim] * 4, channels, LastLevelMaxPool())

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        """In float32: anchors have the maps' type, and boxes need more digits than bfloat16 has."""
        maps = self.fpn(OrderedDict((str(i), level) for i, level in enumerate(self.backbone(images))))
        return OrderedDict((name, level.float()) for name, level in maps.items())


class ProposalHead(RPNHead):
    def forward(self, maps: list[Tensor]) -> list[list[Tensor]]:
        """Logits and box deltas of each map's anchors, in float32."""
        return [[part.float() for part in parts] for parts in super().forward(maps)]


class Stage(RoIHeads):
    """torchvision's heads, as one stage: how it samples regions, what it says of them, how it learns."""

    def __init__(self, params: Detection, classes: int, shared: bool, iou: float, deltas: tuple, weight: float):
        """`classes`: with the background; `shared`: one box for all of them; `weight`: of the stage's losses."""
        p, c = params, params.channels
        if p.heads == "public":
            head = FastRCNNConvFCHead((c, ROI, ROI), [c] * 4, [p.head_width], norm_layer=nn.BatchNorm2d)
        else:
            head = TwoMLPHead(c * ROI**2, p.head_width)
        super().__init__(
            box_roi_pool=None, box_head=head, box_predictor=BoxPredictor(p.head_width, classes, shared),
            fg_iou_thresh=iou, bg_iou_thresh=iou, batch_size_per_image=p.regions, positive_fraction=0.25,
            bbox_reg_weights=deltas, score_thresh=0.05, nms_thresh=0.5, detections_per_img=100,
            mask_head=MaskRCNNHeads(c, [c] * 4, 1), mask_predictor=MaskRCNNPredictor(c, c, classes),
        )  # fmt: skip
        self.giou, self.weight = p.heads == "public", weight

    def box_losses(self, logits, deltas, proposals, labels, wanted) -> tuple[Tensor, Tensor]:
        """Cross-entropy of all regions; of the boxes of positive ones, over the number of all."""
        if not self.giou:
            return fastrcnn_loss(logits, deltas, labels, wanted)
        labels = torch.cat(labels)
        positive = torch.where(labels > 0)[0]
        deltas = deltas.reshape(len(labels), -1, 4)[positive, labels[positive]]
        boxes = torch.cat(proposals)[positive]
        found, truth = (self.box_coder.decode_single(codes, boxes) for codes in (deltas, torch.cat(wanted)[positive]))
        loss = GIOU_WEIGHT * generalized_box_iou_loss(found, truth, reduction="sum")
        return F.cross_entropy(logits, labels), loss / len(labels)

    def mask_logits(self, regions: Tensor) -> Tensor:
        return self.mask_predictor(self.mask_head(regions)).float()

    def refined(self, proposals: list[Tensor], deltas: Tensor, image_shapes) -> list[Tensor]:
        """Boxes [n, 4] of each image moved by shared deltas."""
        boxes = self.box_coder.decode(deltas.detach(), proposals)[:, 0].split([len(boxes) for boxes in proposals])
        return [clip_boxes_to_image(*pair) for pair in zip(boxes, image_shapes)]


class BoxPredictor(FastRCNNPredictor):
    """Logits [n, classes] and deltas [n, 4 classes] in float32: boxes need more digits than bfloat16 has. They start close to
    zero, as mmdetection's."""

    def __init__(self, width: int, classes: int, shared: bool):
        super().__init__(width, classes)
        if shared:
            self.bbox_pred = nn.Linear(width, 4)
        for layer, std in ((self.cls_score, 0.01), (self.bbox_pred, 0.001)):
            nn.init.normal_(layer.weight, std=std)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logits, deltas = (part.float() for part in super().forward(x))
        return logits, deltas.repeat(1, 4 * logits.shape[1] // deltas.shape[1])


class Stages(nn.Module):
    """In place of torchvision's `RoIHeads`, with any number of stages."""

    def __init__(self, params: Detection, classes: int, patch: int, cascade: bool):
        super().__init__()
        self.stages = nn.ModuleList(Stage(params, classes, cascade, *stage) for stage in (CASCADE if cascade else ONE))
        self.box_pool, self.mask_pool = pool(ROI, patch), pool(MASK_ROI, patch)

    def forward(self, features, proposals, image_shapes, targets=None):
        """Detections of each image, masks inside their boxes; or losses in training."""
        losses, scores = {}, []
        for i, stage in enumerate(self.stages):
            if self.training:
                proposals, matched, labels, wanted = stage.select_training_samples(proposals, targets)
            logits, deltas = stage.box_predictor(stage.box_head(self.box_pool(features, proposals, image_shapes)))
            if self.training:
                parts = (
                    *stage.box_losses(logits, deltas, proposals, labels, wanted),
                    self.mask_loss(stage, features, proposals, image_shapes, targets, matched, labels),
                )
                number = f"_{i + 1}" if len(self.stages) > 1 else ""
                losses |= {f"loss_{name}{number}": stage.weight * part for name, part in zip(TERMS, parts)}
            scores.append(logits)
            if stage is not self.stages[-1]:
                proposals = stage.refined(proposals, deltas, image_shapes)
        if self.training:
            return [], losses
        boxes, scores, labels = stage.postprocess_detections(
            torch.stack(scores).mean(0), deltas, proposals, image_shapes
        )
        regions = self.mask_pool(features, boxes, image_shapes)
        masks = zip(*(maskrcnn_inference(stage.mask_logits(regions), labels) for stage in self.stages))
        masks = [torch.stack(parts).mean(0) for parts in masks]
        names = "boxes", "scores", "labels", "masks"
        return [dict(zip(names, image)) for image in zip(boxes, scores, labels, masks)], {}

    def mask_loss(self, stage, features, proposals, image_shapes, targets, matched, labels) -> Tensor:
        positive = [torch.where(label > 0)[0] for label in labels]
        boxes, matched = ([part[which] for part, which in zip(parts, positive)] for parts in (proposals, matched))
        logits = stage.mask_logits(self.mask_pool(features, boxes, image_shapes))
        masks, labels = ([target[key] for target in targets] for key in ("masks", "labels"))
        return maskrcnn_loss(logits, boxes, masks, labels, matched)


def pool(side: int, patch: int) -> MultiScaleRoIAlign:
    """RoIAlign from the map that suits a box's size.

    torchvision would guess the maps' scales from the first batch, and wrongly where a small image is padded much.
    """
    align = MultiScaleRoIAlign(["0", "1", "2", "3"], side, sampling_ratio=2)
    align.scales = [4 / patch, 2 / patch, 1 / patch, 0.5 / patch]
    align.map_levels = LevelMapper(2, 5, canonical_scale=14 * patch, canonical_level=4)  # 224 pixels with patches of 16
    return align
