"""UperNet (Xiao et al. 2018) over a plain ViT (§4.4; public code of BEiT and CAE).

The decoder is segmentation_models_pytorch's. It is mmsegmentation's, but that it normalises each of the ViT's four maps
(LayerNorm) before it uses them.
"""

import torch.nn.functional as F
from segmentation_models_pytorch.decoders.upernet.decoder import UPerNetDecoder
from timm.models import Beit, VisionTransformer
from torch import Tensor, nn

from cae.data.pixels import IGNORED
from cae.models.backbone import Backbone
from cae.models.vit import normalise

AUXILIARY_WEIGHT, AUXILIARY_CHANNELS, AUXILIARY_LEVEL = 0.4, 256, 2  # of the head on the map at the patches' own stride
DROPOUT = 0.1


class Segmenter(nn.Module):
    def __init__(self, encoder: VisionTransformer | Beit, channels: int, classes: int):
        super().__init__()
        width, auxiliary = encoder.embed_dim, AUXILIARY_CHANNELS
        self.backbone = Backbone(encoder)
        self.decoder = UPerNetDecoder([0, 0, width, width, width, width], encoder_depth=5, decoder_channels=channels)
        self.classify = nn.Sequential(nn.Dropout2d(DROPOUT), nn.Conv2d(channels, classes, 1))
        self.auxiliary = nn.Sequential(
            nn.Conv2d(width, auxiliary, 3, padding=1, bias=False), nn.BatchNorm2d(auxiliary), nn.ReLU(),
            nn.Dropout2d(DROPOUT), nn.Conv2d(auxiliary, classes, 1),
        )  # fmt: skip

    def forward(self, batch: dict) -> dict[str, Tensor]:
        """Loss terms; batch: pixels uint8 [B, S, S, 3], labels int64 [B, S, S], IGNORED where there is none."""
        labels, levels = batch["labels"], self.backbone(normalise(batch["pixels"]))
        decoding = cross_entropy(self.decode(levels), labels)
        auxiliary = cross_entropy(self.auxiliary(levels[AUXILIARY_LEVEL]), labels)
        return {"loss": decoding + AUXILIARY_WEIGHT * auxiliary, "decoding": decoding, "auxiliary": auxiliary}

    def logits(self, pixels: Tensor) -> Tensor:
        """Pixels uint8 [B, S, S, 3] to logits [B, classes, S, S]."""
        return enlarged(self.decode(self.backbone(normalise(pixels))), pixels.shape[1:3])

    def decode(self, levels: list[Tensor]) -> Tensor:
        return self.classify(self.decoder([None, None, *levels]))  # it leaves out two finer maps, which a ViT has not


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean over all pixels, where IGNORED ones have a loss of 0: so each labelled pixel weighs the same in any batch (public
    code)."""
    loss = F.cross_entropy(enlarged(logits, labels.shape[1:]), labels, ignore_index=IGNORED, reduction="sum")
    return loss / labels.numel()


def enlarged(logits: Tensor, size) -> Tensor:
    return F.interpolate(logits.float(), size=tuple(size), mode="bilinear", align_corners=False)
