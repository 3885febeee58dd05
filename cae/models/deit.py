"""DeiT: training data-efficient image transformers (Touvron et al. 2020, arXiv 2012.12877; github.com/facebookresearch/deit).

Supervised, for reference. Learning rates change step by step and the warm-up starts from 0, where the public code's
change epoch by epoch and start from 1e-6. Its ten cool-down epochs are never reached there, and are not here.
"""

import random

import numpy as np
import torch
import torch.nn.functional as F
from timm.data import Mixup
from timm.data.random_erasing import RandomErasing
from torch import Tensor, nn
from torchvision import transforms as T

from cae.data.augment import BICUBIC, rand_augment
from cae.data.batches import Augmented
from cae.models import ema
from cae.models.vit import create_encoder, normalise
from cae.params import DeiTModel
from cae.training.optim import matrices_decay


class DeiT(nn.Module):
    def __init__(self, params: DeiTModel, classes: int):
        super().__init__()
        self.params = p = params
        self.encoder = create_encoder(p, classes)
        nn.init.trunc_normal_(self.encoder.cls_token, std=0.02)
        self.average = ema.frozen_copy(self.encoder)  # kept in last.ckpt; the public results are the model's own
        # timm's mixes an image with the one as far from the batch's other end; its neighbours may show the same image.
        mixes = p.mixup > 0 or p.cutmix > 0
        self.mix = Mixup(p.mixup, p.cutmix, label_smoothing=p.smoothing, num_classes=classes) if mixes else None

    @staticmethod
    def batches(images, params: DeiTModel, tokens) -> Augmented:
        p, size = params, params.image.size
        augment = T.Compose([
            T.RandomResizedCrop(size, tuple(p.view.scale), tuple(p.view.ratio), interpolation=BICUBIC),
            T.RandomHorizontalFlip(p.view.flip),
            rand_augment(p.randaugment, size),
        ])  # fmt: skip
        return Augmented(images, lambda image: [augment(image)], p.seed)

    @staticmethod
    def decays(name: str, parameter: nn.Parameter) -> bool:
        return matrices_decay(name, parameter) and name not in ("encoder.cls_token", "encoder.pos_embed")

    def after_step(self, progress: float) -> None:
        ema.update(self.average, self.encoder, self.params.ema)

    def forward(self, batch: dict) -> dict[str, Tensor]:
        """The loss; batch: views, one uint8 [B, S, S, 3], B even; labels int64 [B].

        In training images are first erased in part (timm's areas and aspects, pixels of normal noise), then mixed.
        """
        images, labels = normalise(batch["views"][0]), batch["labels"]
        if self.training:
            random.seed(torch.initial_seed())  # timm draws from these two; the loop seeds PyTorch's alone
            np.random.seed(torch.initial_seed() % 2**32)
            images = RandomErasing(self.params.erasing, mode="pixel", device=images.device)(images)
        smoothing = self.params.smoothing
        if self.training and self.mix:
            images, labels = self.mix(images, labels)
            smoothing = 0.0  # the mixed labels are smoothed
        return {"loss": F.cross_entropy(self.encoder(images).float(), labels, label_smoothing=smoothing)}
