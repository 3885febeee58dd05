"""DeiT: training data-efficient image transformers (Touvron et al. 2020, arXiv 2012.12877; github.com/facebookresearch/deit).

Supervised, for reference. Learning rates change step by step and the warm-up starts from 0, where the public code's
change epoch by epoch and start from 1e-6. Its ten cool-down epochs are never reached there, and are not here.
"""

from torch import nn

from cae.data.batches import Augmented
from cae.methods.parts import ema
from cae.models.supervised import Supervised, augmented
from cae.models.vit import create_encoder
from cae.params.methods.deit import DeiTModel
from cae.training.optim import matrices_decay


class DeiT(Supervised):
    def __init__(self, params: DeiTModel, classes: int = 0):
        super().__init__(create_encoder(params, classes), params, classes)
        nn.init.trunc_normal_(self.encoder.cls_token, std=0.02)
        self.average = ema.frozen_copy(self.encoder)  # kept in last.ckpt; the public results are the model's own

    @staticmethod
    def batches(images, params: DeiTModel) -> Augmented:
        return augmented(images, params.image.size, params.view, params.randaugment, params.seed)

    @staticmethod
    def decays(name: str, parameter: nn.Parameter) -> bool:
        return matrices_decay(name, parameter) and name not in ("encoder.cls_token", "encoder.pos_embed")

    def after_step(self, progress: float) -> None:
        ema.update(self.average, self.encoder, self.params.ema)


build = DeiT
