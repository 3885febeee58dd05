"""Training a classifier on labels, as DeiT does (Touvron et al. 2020, arXiv 2012.12877) and as fine-tuning does after it."""

import random

import numpy as np
import torch
import torch.nn.functional as F
from timm.data import Mixup
from timm.data.random_erasing import RandomErasing
from torch import Tensor, nn
from torchvision import transforms as T

from cae.data.augment import rand_augment
from cae.data.batches import Augmented
from cae.data.datasets import Images
from cae.models.vit import normalise
from cae.params import Crop, Supervision


class Supervised(nn.Module):
    """Cross-entropy of `encoder`, which has a head, on erased and mixed images against mixed and smoothed labels."""

    def __init__(self, encoder: nn.Module, params: Supervision, classes: int):
        super().__init__()
        self.params = p = params
        self.encoder = encoder
        # timm's mixes an image with the one as far from the batch's other end; its neighbours may show the same image.
        mixes = p.mixup > 0 or p.cutmix > 0
        self.mix = Mixup(p.mixup, p.cutmix, label_smoothing=p.smoothing, num_classes=classes) if mixes else None

    def forward(self, batch: dict) -> dict[str, Tensor]:
        """The loss; batch: views, one uint8 [B, S, S, 3], B even; labels int64 [B].

        In training images are first erased in part (timm's areas and aspects, pixels of normal noise), then mixed.
        """
        images, labels, smoothing = normalise(batch["views"][0]), batch["labels"], self.params.smoothing
        if self.training:
            images, labels = self.disturbed(images, labels)
            smoothing = 0.0 if self.mix else smoothing  # mixed labels are smoothed
        return {"loss": F.cross_entropy(self.encoder(images).float(), labels, label_smoothing=smoothing)}

    @torch.compiler.disable  # its shares and boxes are numbers, other ones at each step
    def disturbed(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Erase parts of the images, mix them, and mix their labels [B], to [B, classes] where there is something to mix."""
        seed = int(torch.randint(2**32, ()))  # timm draws from these two; the loop seeds PyTorch's alone
        random.seed(seed)
        np.random.seed(seed)
        images = RandomErasing(self.params.erasing, mode="pixel", device=images.device)(images)
        return self.mix(images, labels) if self.mix else (images, labels)


def augmented(images: Images, size: int, view: Crop, randaugment: str, seed: int) -> Augmented:
    """Micro-batches of random crops of `view` at `size` pixels, changed by RandAugment (in timm's notation): timm's own, on
    PIL's images where they are loaded, since results of DeiT hang on each of its operations."""
    augment = T.Compose([
        T.RandomResizedCrop(size, tuple(view.scale), tuple(view.ratio), interpolation=T.InterpolationMode.BICUBIC),
        T.RandomHorizontalFlip(view.flip),
        rand_augment(randaugment, size),
    ])  # fmt: skip
    return Augmented(images, lambda image: [augment(image)], seed)
