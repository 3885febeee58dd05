"""Figure 4: images decoded straight from the encoder's latents, with and without the alignment constraint (§3.1).

Two CAEs predict pixels. At test time all patches are visible: encoder, then decoder, the regressor skipped. If
predicted latents live in the encoder's space the decoder understands the encoder; else the picture is noise.
"""

import numpy as np
import torch

from cae.data.datasets import Images
from cae.data.pixels import MEAN, STD
from cae.data.views import centre_crop
from cae.errors import UserError
from cae.files import atomic
from cae.methods.cae import CAE
from cae.models.vit import encode, normalise, patchify
from cae.options import Data, Models, OutputFile, params_of
from cae.params import Figure4, Strict
from cae.tasks.pretrain import load_model


class ReconstructionJob(Strict):
    figure4: Figure4
    seed: int


@torch.no_grad()
def reconstruct(model: CAE, pixels: torch.Tensor) -> torch.Tensor:
    """uint8 pixels [B, S, S, 3] to what encoder and decoder make of them, float [B, S, S, 3] in [0, 1]."""
    if not isinstance(model, CAE) or model.params.target != "pixels":
        raise UserError("a CAE whose target is pixels is needed to draw images")
    patch, grid = model.params.image.patch, model.params.image.grid
    patches = patchify(normalise(pixels), patch)
    ids = torch.arange(grid**2).expand(len(pixels), -1)
    decoded = model.decode(encode(model.encoder, patches, ids), model.positions[ids])
    decoded = decoded.reshape(len(pixels), grid, grid, 3, patch, patch).permute(0, 1, 4, 2, 5, 3)
    images = decoded.reshape(len(pixels), grid * patch, grid * patch, 3)
    return (images * torch.tensor(STD) + torch.tensor(MEAN)).clamp(0, 1)


def main(*, data: Data, models: Models, params: params_of(ReconstructionJob), output: OutputFile) -> None:
    """Decode images straight from latents (Figure 4).

    Of two CAEs, with and without the alignment constraint: images, with_alignment, without_alignment uint8 [n, S, S, 3]; mse
    [2, n] of pixels in [0, 1].
    """
    images = Images(data, 1)
    order = np.random.default_rng(params.seed).permutation(len(images))[: params.figure4.images]
    loaded = [load_model(folder) for folder in models]
    pixels = np.stack([centre_crop(images[i], loaded[0].params.image.size) for i in order])
    decoded = [reconstruct(model, torch.from_numpy(pixels)).numpy() for model in loaded]
    mse = [((d - pixels / 255) ** 2).mean((1, 2, 3)) for d in decoded]
    with_alignment, without_alignment = ((255 * d).round().astype(np.uint8) for d in decoded)
    with atomic(output) as temporary:
        np.savez(temporary, images=pixels, with_alignment=with_alignment, without_alignment=without_alignment, mse=mse)
