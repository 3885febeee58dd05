"""A pretrained encoder as the classifier that fine-tuning starts from (BEiT's and CAE's public code).

Patch tokens are averaged, normalised by what was the encoder's final norm, and classified by a linear head that starts a
thousandth of its usual size.
"""

import torch
from timm.models import Beit, VisionTransformer
from torch import nn

from cae.models.backbone import trainable

HEAD_SCALE = 1e-3


def classifier(
    encoder: VisionTransformer | Beit, config: dict, classes: int, relative_positions: bool, drop_path: float = 0.0
) -> tuple[VisionTransformer | Beit, str, dict]:
    """The model with a new head, and timm's name and arguments to build it again; `config`: load_encoder's."""
    model, name, arguments = trainable(
        encoder, config, relative_positions=relative_positions, drop_path=drop_path, num_classes=classes, global_pool="avg"
    )  # fmt: skip
    nn.init.trunc_normal_(model.head.weight, std=0.02)
    nn.init.zeros_(model.head.bias)
    with torch.no_grad():
        model.head.weight.mul_(HEAD_SCALE)
    return model, name, arguments
