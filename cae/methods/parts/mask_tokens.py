"""What BEiT, SimMIM and data2vec share: first weights, which decay, and an encoder that sees masked patches as a mask token."""

import math

import torch
from timm.models import Beit
from torch import Tensor, nn

from cae.models.vit import truncated_normal
from cae.training.optim import matrices_decay


def initialise(model: nn.Module) -> None:
    """Normal(0.02) truncated at one standard deviation, or linear layers and patch embedding Xavier-uniform, as the model's
    params say; what writes to the encoder's residual stream, less by depth."""
    draw = nn.init.xavier_uniform_ if model.params.init == "xavier" else truncated_normal
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            draw(module.weight.flatten(1))
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    truncated_normal(model.mask_token)
    truncated_normal(model.encoder.cls_token)
    with torch.no_grad():
        for depth, block in enumerate(model.encoder.blocks, 1):
            for layer in (block.attn.proj, block.mlp.fc2):
                layer.weight /= math.sqrt(2 * depth)


def decays(name: str, parameter: nn.Parameter) -> bool:
    return matrices_decay(name, parameter) and name != "encoder.cls_token"


def encode_masked(vit: Beit, images: Tensor, masked: Tensor, mask_token: Tensor) -> Tensor:
    """Images [B, 3, S, S] with the patches `masked` [B, m] replaced by the mask token, to latents [B, 1 + N, D]."""
    x = vit.patch_embed(images)
    x = x.scatter(1, masked[..., None].expand(-1, -1, x.shape[-1]), mask_token.to(x.dtype).expand(*masked.shape, -1))
    x = torch.cat([vit.cls_token.expand(len(x), -1, -1), x], 1)
    bias = vit.rel_pos_bias()
    for block in vit.blocks:
        x = block(x, shared_rel_pos_bias=bias)
    return vit.norm(x)
