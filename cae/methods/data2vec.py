"""data2vec for images (Baevski et al. 2022, arXiv 2202.03555; github.com/facebookresearch/data2vec_vision, beit).

A student sees all positions, the masked ones as a mask token, and predicts what its moving average, the teacher, makes of
the whole image at the masked positions: the mean of its top blocks' outputs, each normalised, and normalised again. The
encoder, its first weights and the blocks that are masked are BEiT's. As the public code (ViT-B): the teacher has no drop path
and a fixed momentum; the head is one linear layer; the student is what is kept.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cae.data.batches import MaskedViews
from cae.methods.parts import ema
from cae.methods.parts.collapse import spread
from cae.methods.parts.mask_tokens import decays, encode_masked, initialise
from cae.models.vit import create_encoder, gather, normalise
from cae.params.methods.data2vec import Data2VecModel


class Data2Vec(nn.Module):
    def __init__(self, params: Data2VecModel):
        super().__init__()
        self.params = p = params
        self.encoder = create_encoder(p, attn_drop_rate=p.attention_drop)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, p.width))
        self.head = nn.Linear(p.width, p.width)
        initialise(self)
        self.teacher = create_encoder(p, drop_path_rate=0.0).requires_grad_(False)
        self.teacher.load_state_dict(self.encoder.state_dict())

    @staticmethod
    def batches(images, params: Data2VecModel) -> MaskedViews:
        return MaskedViews(images, params)

    decays = staticmethod(decays)

    def after_step(self, progress: float) -> None:
        ema.update(self.teacher, self.encoder, self.params.momentum)

    @torch.no_grad()
    def targets(self, images: Tensor, masked: Tensor) -> Tensor:
        """Of images [B, 3, S, S], at the patches `masked` [B, m]: [B, m, D], float32."""
        last = min(self.params.target_blocks, self.params.depth)
        blocks = self.teacher.forward_intermediates(images, last, output_fmt="NLC", intermediates_only=True)
        outputs = torch.stack([normalised(gather(block, masked)) for block in blocks])
        return normalised(outputs.mean(0))

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Loss terms; batch: pixels uint8 [B, S, S, 3], masked [B, m] patch indices.

        `spread` of the targets is 0 where all patches have got the same one.
        """
        images, masked = normalise(batch["pixels"]), batch["masked"]
        target = self.targets(images, masked)
        latents = encode_masked(self.encoder, images, masked, self.mask_token)
        prediction = self.head(gather(latents[:, 1:], masked)).float()
        loss = F.smooth_l1_loss(prediction, target, beta=self.params.beta)
        return {"loss": loss, "spread": spread(target.flatten(0, 1))}


build = Data2Vec


def normalised(x: Tensor) -> Tensor:
    """Each vector [..., D] with mean 0 and variance 1, float32."""
    return F.layer_norm(x.float(), x.shape[-1:])
