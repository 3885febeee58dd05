"""MoCo v3: an empirical study of training self-supervised vision transformers (Chen, Xie & He 2021, arXiv 2104.02057;
github.com/facebookresearch/moco-v3).

Two views of an image are each other's positives, the other images of the batch the negatives; keys come from a moving
average of the encoder. The patch embedding stays as drawn.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cae.data import contrastive
from cae.data.colours import recoloured
from cae.data.views import BILINEAR
from cae.methods.parts import ema
from cae.methods.parts.collapse import spread
from cae.models.vit import create_encoder, fix_positions, normalise
from cae.params.methods.moco_v3 import MoCoV3Model
from cae.training.devices import all_gather
from cae.training.optim import cosine


class MoCoV3(nn.Module):
    def __init__(self, params: MoCoV3Model):
        super().__init__()
        self.params = p = params
        self.encoder = create_encoder(p, weight_init="moco")
        nn.init.normal_(self.encoder.cls_token, std=1e-6)
        fix_positions(self.encoder)
        embed = self.encoder.patch_embed.proj
        bound = math.sqrt(6 / (3 * p.image.patch**2 + p.width))
        nn.init.uniform_(embed.weight, -bound, bound)
        nn.init.zeros_(embed.bias)
        embed.requires_grad_(False)
        self.projector = mlp(3, p.width, p.hidden_width, p.output_width)
        self.predictor = mlp(2, p.output_width, p.hidden_width, p.output_width)
        self.key_encoder, self.key_projector = ema.frozen_copy(self.encoder), ema.frozen_copy(self.projector)

    @staticmethod
    def batches(images, params: MoCoV3Model) -> contrastive.Views:
        looks = [
            contrastive.Look(params.view, params.image.size, *often, BILINEAR) for often in ((1.0, 0.0), (0.1, 0.2))
        ]
        return contrastive.Views(images, looks, params.seed, params.image.size)

    @staticmethod
    def decays(name: str, parameter: nn.Parameter) -> bool:
        return True

    def after_step(self, progress: float) -> None:
        momentum = cosine(progress, self.params.momentum, 1.0)
        ema.update(self.key_encoder, self.encoder, momentum)
        ema.update(self.key_projector, self.projector, momentum)

    def forward(self, batch: dict) -> dict[str, Tensor]:
        """Loss terms; batch: views, two uint8 [B, S, S, 3]; colours, how each is to change (none: as they
        are). `spread` of the keys is near 0 where they collapse."""
        views = normalise(recoloured(batch, slice(2))).chunk(2)
        queries = [self.predictor(self.projector(class_token(self.encoder, view))) for view in views]
        with torch.no_grad():
            keys = [self.key_projector(class_token(self.key_encoder, view)) for view in views]
        losses = [self.contrast(q, k) for q, k in zip(queries, reversed(keys))]
        return {"loss": sum(loss for loss, _ in losses), "accuracy": sum(right for _, right in losses) / 2,
                "spread": spread(keys[0])}  # fmt: skip

    def contrast(self, queries: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
        """InfoNCE of queries with keys [B, D], row by row positives; and how many queries find theirs."""
        t = self.params.temperature
        queries, keys = F.normalize(queries.float(), dim=1), F.normalize(keys.float(), dim=1)
        keys, rank = all_gather(keys)
        with torch.autocast(queries.device.type, enabled=False):  # bfloat16 is too coarse to be divided by t
            logits = queries @ keys.T / t
        labels = torch.arange(len(queries), device=queries.device) + rank * len(queries)
        return 2 * t * F.cross_entropy(logits, labels), (logits.detach().argmax(1) == labels).float().mean()


build = MoCoV3


def class_token(vit: nn.Module, images: Tensor) -> Tensor:
    return vit.forward_features(images)[:, 0]


def mlp(layers: int, inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Linear layers without bias, each with BatchNorm, all but the last with ReLU; the last BatchNorm is not affine."""
    widths = [inputs, *[hidden] * (layers - 1), outputs]
    parts = []
    for i, (a, b) in enumerate(zip(widths, widths[1:]), 1):
        last = i == layers
        parts += [nn.Linear(a, b, bias=False), nn.BatchNorm1d(b, affine=not last), *([] if last else [nn.ReLU()])]
    return nn.Sequential(*parts)
