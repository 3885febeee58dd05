"""Mask R-CNN (He et al. 2017) and Cascade Mask R-CNN (Cai & Vasconcelos 2021) over a plain ViT (§4.4, Appendix A).

torchvision's, with what mmdetection has different: an anchor size of 8 strides a level, and as many proposals in training as
in tests. The ViT's four maps (BEiT's and CAE's public code) go into a feature pyramid network.

`heads: torchvision` are two fully connected layers and smooth L1 of box deltas. `heads: public` are the public code's, on
which the paper is silent: four convolutions with BatchNorm and one fully connected layer, generalised IoU of decoded boxes
with weight 10.

The cascade has three box heads, each fed with the boxes of the one before, that share a box among classes; their scores are
averaged. Unlike mmdetection's it has one mask head, not one a stage: it learns from the last stage's boxes, as it is used.
"""

from collections import OrderedDict

import torch
import torch.nn.functional as F
from timm.models import Beit, VisionTransformer
from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection._utils import BoxCoder, Matcher
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNConvFCHead, FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.roi_heads import RoIHeads, maskrcnn_inference, maskrcnn_loss
from torchvision.ops import (
    FeaturePyramidNetwork,
    MultiScaleRoIAlign,
    clip_boxes_to_image,
    generalized_box_iou_loss,
)
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from cae.models.backbone import Backbone
from cae.models.vit import MEAN, STD
from cae.params import Detection

ONE = [
    (0.5, (10.0, 10.0, 5.0, 5.0), 1.0)
]  # of each stage: IoU of a positive box, weights of its deltas, weight of its loss
CASCADE = [*ONE, (0.6, (20.0, 20.0, 10.0, 10.0), 0.5), (0.7, (30.0, 30.0, 15.0, 15.0), 0.25)]
GIOU_WEIGHT = 10.0
ROI, MASK_ROI = 7, 14  # cells a side


class Detector(nn.Module):
    """`encoder`: of any input size (see `Backbone`); `classes`: without the background."""

    def __init__(self, encoder: VisionTransformer | Beit, params: Detection, classes: int, cascade: bool):
        super().__init__()
        p, patch = params, encoder.patch_embed.patch_size[0]
        pyramid = Pyramid(encoder, p.channels)
        anchors = AnchorGenerator([(8 * patch * i // 4,) for i in (1, 2, 4, 8, 16)], [(0.5, 1.0, 2.0)] * 5)
        self.model = MaskRCNN(
            pyramid, classes + 1, min_size=p.short_sides, max_size=p.long_side, image_mean=MEAN, image_std=STD,
            size_divisible=2 * patch, rpn_anchor_generator=anchors, rpn_pre_nms_top_n_train=2 * p.proposals,
            rpn_pre_nms_top_n_test=p.proposals, rpn_post_nms_top_n_train=p.proposals, rpn_post_nms_top_n_test=p.proposals,
        )  # fmt: skip
        self.model.roi_heads = StagedRoIHeads(p, classes, cascade)

    def forward(self, batch: dict) -> dict[str, Tensor] | list[dict[str, Tensor]]:
        """batch: images, a list of uint8 [3, H, W] of any sizes; in training also targets (torchvision's).

        In training loss terms and their sum, `loss`. Else of each image, in its own pixels, the detections: boxes [n, 4]
        (left, top, right, bottom), labels [n] from 1, scores [n], masks float [n, 1, H, W] in [0, 1].
        """
        images = [image / 255 for image in batch["images"]]
        if not self.training:
            return self.model(images)
        losses = self.model(images, batch["targets"])
        return {"loss": sum(losses.values()), **{name.removeprefix("loss_"): value for name, value in losses.items()}}


class Pyramid(nn.Module):
    """A feature pyramid network over the ViT's four maps, and a fifth, half as large as the last."""

    def __init__(self, encoder: VisionTransformer | Beit, channels: int):
        super().__init__()
        self.backbone, self.out_channels = Backbone(encoder), channels
        self.fpn = FeaturePyramidNetwork([encoder.embed_dim] * 4, channels, LastLevelMaxPool())

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        return self.fpn(OrderedDict((str(i), level) for i, level in enumerate(self.backbone(images))))


class Stage(nn.Module):
    """A box head: regions' features to class logits [n, 1 + classes] and box deltas, of each class or shared."""

    def __init__(self, params: Detection, classes: int, shared: bool, iou: float, deltas: tuple, weight: float):
        super().__init__()
        c, width = params.channels, params.head_width
        if params.heads == "public":
            self.head = FastRCNNConvFCHead((c, ROI, ROI), [c] * 4, [width], norm_layer=nn.BatchNorm2d)
        else:
            self.head = TwoMLPHead(c * ROI**2, width)
        self.predictor = FastRCNNPredictor(width, classes + 1)
        if shared:
            self.predictor.bbox_pred = nn.Linear(width, 4)
        self.matcher = Matcher(iou, iou, allow_low_quality_matches=False)
        self.coder, self.weight = BoxCoder(deltas), weight

    def forward(self, regions: Tensor) -> tuple[Tensor, Tensor]:
        return self.predictor(self.head(regions))


class StagedRoIHeads(RoIHeads):
    """torchvision's heads on regions, with any number of box stages."""

    def __init__(self, params: Detection, classes: int, cascade: bool):
        p, c, levels = params, params.channels, ["0", "1", "2", "3"]
        super().__init__(
            box_roi_pool=MultiScaleRoIAlign(levels, ROI, sampling_ratio=2), box_head=None, box_predictor=None,
            fg_iou_thresh=0.5, bg_iou_thresh=0.5, batch_size_per_image=p.regions, positive_fraction=0.25,
            bbox_reg_weights=None, score_thresh=0.05, nms_thresh=0.5, detections_per_img=100,
            mask_roi_pool=MultiScaleRoIAlign(levels, MASK_ROI, sampling_ratio=2),
            mask_head=MaskRCNNHeads(c, [c] * 4, 1), mask_predictor=MaskRCNNPredictor(c, c, classes + 1),
        )  # fmt: skip
        self.giou = p.heads == "public"
        self.stages = nn.ModuleList(Stage(p, classes, cascade, *stage) for stage in (CASCADE if cascade else ONE))

    def forward(self, features, proposals, image_shapes, targets=None):
        losses, scores = {}, []
        for i, stage in enumerate(self.stages):
            self.proposal_matcher, self.box_coder = stage.matcher, stage.coder  # for the inherited methods
            if self.training:
                proposals, matched, labels, wanted = self.select_training_samples(proposals, targets)
            logits, deltas = stage(self.box_roi_pool(features, proposals, image_shapes))
            if self.training:
                name = f"_{i + 1}" if len(self.stages) > 1 else ""
                classes, boxes = self.box_losses(logits, deltas, proposals, labels, wanted)
                losses |= {f"loss_classes{name}": stage.weight * classes, f"loss_boxes{name}": stage.weight * boxes}
            scores.append(logits.softmax(-1))
            if stage is not self.stages[-1]:
                proposals = refined(proposals, deltas.detach(), stage.coder, image_shapes)
        if self.training:
            positive = [torch.where(label > 0)[0] for label in labels]
            regions = [boxes[which] for boxes, which in zip(proposals, positive)]
            matched = [truth[which] for truth, which in zip(matched, positive)]
            truth = ([target[key] for target in targets] for key in ("masks", "labels"))
            masks = self.mask_logits(features, regions, image_shapes)
            return [], losses | {"loss_masks": maskrcnn_loss(masks, regions, *truth, matched)}
        logits = torch.stack(scores).mean(0).log()  # softmax gives the mean back
        if deltas.shape[1] == 4:
            deltas = deltas.repeat(1, logits.shape[1])
        found = zip(*self.postprocess_detections(logits, deltas, proposals, image_shapes))
        found = [dict(zip(("boxes", "scores", "labels"), image)) for image in found]
        masks = self.mask_logits(features, [image["boxes"] for image in found], image_shapes)
        masks = maskrcnn_inference(masks, [image["labels"] for image in found])
        return [image | {"masks": mask} for image, mask in zip(found, masks)], {}

    def mask_logits(self, features, regions, image_shapes) -> Tensor:
        return self.mask_predictor(self.mask_head(self.mask_roi_pool(features, regions, image_shapes)))

    def box_losses(self, logits, deltas, proposals, labels, wanted) -> tuple[Tensor, Tensor]:
        """Cross-entropy of all regions; of the boxes of positive ones, over the number of all."""
        labels = torch.cat(labels)
        positive = torch.where(labels > 0)[0]
        deltas = deltas.reshape(len(labels), -1, 4)
        deltas = deltas[positive, labels[positive] if deltas.shape[1] > 1 else 0]
        wanted = torch.cat(wanted)[positive]
        if self.giou:
            boxes = torch.cat(proposals)[positive]
            found, truth = (self.box_coder.decode_single(codes, boxes) for codes in (deltas, wanted))
            loss = GIOU_WEIGHT * generalized_box_iou_loss(found, truth, reduction="sum")
        else:
            loss = F.smooth_l1_loss(deltas, wanted, beta=1 / 9, reduction="sum")
        return F.cross_entropy(logits, labels), loss / len(labels)


def refined(proposals: list[Tensor], deltas: Tensor, coder: BoxCoder, image_shapes) -> list[Tensor]:
    """Boxes [n, 4] of each image moved by a stage's shared deltas."""
    boxes = coder.decode(deltas, proposals).squeeze(1).split([len(boxes) for boxes in proposals])
    return [clip_boxes_to_image(*pair) for pair in zip(boxes, image_shapes)]
