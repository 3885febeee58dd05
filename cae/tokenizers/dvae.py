"""Discrete VAE: an image tokenizer that the DAG trains itself (paper G.1, "train a d-VAE on ImageNet-1K").

Gumbel-softmax relaxation (Jang et al. 2017; Ramesh et al. 2021, "DALL-E") with the architecture of BEiT's discrete VAE:
stride-2 convolutions, residual blocks, 1x1 convolution to the codebook's logits, and their mirror image. Neither the
paper nor the public code says how it was trained; the recipe is ours.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cae.params import DVAE


class ResidualBlock(nn.Sequential):
    def __init__(self, width: int):
        super().__init__(
            nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1), nn.ReLU(),
            nn.Conv2d(width, width, 1),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)


class DiscreteVAE(nn.Module):
    def __init__(self, params: DVAE, grid: int):
        """`grid`: tokens a side. `layers` convolutions halve the side; a projection of pixel patches does the rest."""
        super().__init__()
        self.params, width = params, params.width
        patch, rest = divmod(params.input_size, grid * 2**params.layers)
        if rest:
            raise ValueError(
                f"{params.input_size} pixels cannot be halved {params.layers} times to {grid} tokens a side"
            )
        down = [nn.Conv2d(3, width, patch, patch), nn.ReLU()] if patch > 1 else []
        up = []
        for _ in range(params.layers):
            down += [nn.Conv2d(width if down else 3, width, 4, 2, 1), nn.ReLU()]
            up += [nn.ConvTranspose2d(width, width, 4, 2, 1), nn.ReLU()]
        blocks = [[ResidualBlock(width) for _ in range(params.blocks)] for _ in range(2)]
        self.encoder = nn.Sequential(*down, *blocks[0], nn.Conv2d(width, params.vocabulary, 1))
        self.codebook = nn.Embedding(params.vocabulary, params.codebook_dim)
        project = nn.ConvTranspose2d(width, 3, patch, patch) if patch > 1 else nn.Conv2d(width, 3, 1)
        self.decoder = nn.Sequential(nn.Conv2d(params.codebook_dim, width, 1), *blocks[1], *up, project)

    def scale(self, pixels: Tensor) -> Tensor:
        """uint8 [B, S, S, 3] to [-1, 1], [B, 3, S, S]."""
        return (pixels.float() / 127.5 - 1).permute(0, 3, 1, 2)

    def decode(self, tokens: Tensor) -> Tensor:
        """Tokens [B, g, g] to pixels in [-1, 1], [B, 3, S, S]."""
        return self.decoder(self.codebook(tokens).permute(0, 3, 1, 2))

    def tokens(self, pixels: Tensor) -> Tensor:
        """The most likely token of each patch: uint8 pixels [B, S, S, 3] to int64 [B, g, g]."""
        return self.encoder(self.scale(pixels)).argmax(1)

    def forward(self, batch: dict) -> dict[str, Tensor]:
        """Loss terms: reconstruction error plus a penalty on codes that the batch leaves unused.

        The usage term is the KL divergence of the batch's mean posterior from the uniform distribution. (The KL of
        each posterior, as in a VAE, is known to make posteriors uninformative here.) Temperature falls geometrically.
        """
        start, end = self.params.temperature
        temperature = start * (end / start) ** batch["progress"]
        images = self.scale(batch["pixels"])
        logits = self.encoder(images).float()
        codes = F.gumbel_softmax(logits, tau=temperature, dim=1)
        latents = torch.einsum("bvhw,vd->bdhw", codes, self.codebook.weight)
        reconstruction = F.mse_loss(self.decoder(latents).float(), images)
        mean = logits.softmax(1).mean((0, 2, 3))
        usage = (mean * (mean + 1e-10).log()).sum() + torch.log(torch.tensor(float(len(mean))))
        hard = F.one_hot(logits.argmax(1).flatten(), len(mean)).float().mean(0)
        perplexity = torch.exp(-(hard * (hard + 1e-10).log()).sum())
        loss = reconstruction + self.params.usage_weight * usage
        return {"loss": loss, "reconstruction": reconstruction, "usage": usage, "perplexity": perplexity}


build = DiscreteVAE
