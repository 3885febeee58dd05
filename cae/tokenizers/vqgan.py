"""The encoder of VQGAN with Gumbel quantisation, OpenImages, f8, 8192 codes (Esser et al. 2021; Table 7's tokenizer).

Architecture and parameter names are those of the published checkpoint (github.com/CompVis/taming-transformers,
taming/modules/diffusionmodules/model.py and taming/modules/vqvae/quantize.py), without what only the decoder needs.

The token of a patch is the argmax of its logits. The published `encode()` samples it, even in evaluation, by
Gumbel-softmax at a temperature that is no part of the checkpoint, and CAE's code takes its targets from there: another
call, other targets. Cached tokens must be a function of the image; the argmax is the most likely of those samples.
"""

from collections import OrderedDict

import torch.nn.functional as F
from torch import Tensor, nn

from cae.params import VQGAN

WIDTH, FACTORS, BLOCKS = 128, (1, 1, 2, 4), 2  # channels, their multiples at 4 resolutions, residual blocks at each
LATENT = 256

# The released file: last.ckpt, a checkpoint of PyTorch Lightning, or a plain state dict
SOURCE = (
    "Get VQGAN (OpenImages, f8, 8192 codes, Gumbel quantisation) from "
    "https://heibox.uni-heidelberg.de/d/2e5662443a6b4307b470/ (ckpts/last.ckpt)"
)
CLASSES = ()
UNUSED = ("decoder.", "post_quant_conv.", "quantize.embed.", "loss.")


def published_name(name: str) -> str:
    return name


def norm(width: int) -> nn.GroupNorm:
    return nn.GroupNorm(32, width, eps=1e-6)


class ResidualBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.norm1, self.conv1 = norm(inputs), nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm2, self.conv2 = norm(outputs), nn.Conv2d(outputs, outputs, 3, padding=1)
        if inputs != outputs:
            self.nin_shortcut = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(F.silu(self.norm1(x)))
        y = self.conv2(F.silu(self.norm2(y)))
        return y + (self.nin_shortcut(x) if hasattr(self, "nin_shortcut") else x)


class Attention(nn.Module):
    """One head over all positions."""

    def __init__(self, width: int):
        super().__init__()
        self.norm = norm(width)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(width, width, 1) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        q, k, v = (layer(y).flatten(2).transpose(1, 2) for layer in (self.q, self.k, self.v))  # [B, H * W, width]
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(x.shape)
        return x + self.proj_out(y)


class Downsample(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (0, 1, 0, 1)))  # right and bottom only


class Stage(nn.Module):
    """The blocks of one resolution. The last has attention, and no step down.

    (The published config asks for attention at 32 pixels a side of 256: at the last resolution, whatever the input.)
    """

    def __init__(self, inputs: int, outputs: int, last: bool):
        super().__init__()
        self.block = nn.ModuleList(ResidualBlock(outputs if i else inputs, outputs) for i in range(BLOCKS))
        self.attn = nn.ModuleList(Attention(outputs) for _ in self.block if last)
        if not last:
            self.downsample = Downsample(outputs)

    def forward(self, x: Tensor) -> Tensor:
        for i, block in enumerate(self.block):
            x = block(x)
            x = self.attn[i](x) if self.attn else x
        return x if self.attn else self.downsample(x)


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        widths = [WIDTH, *(WIDTH * factor for factor in FACTORS)]
        width, last = widths[-1], len(FACTORS) - 1
        self.conv_in = nn.Conv2d(3, WIDTH, 3, padding=1)
        self.down = nn.ModuleList(Stage(widths[i], widths[i + 1], i == last) for i in range(last + 1))
        middle = {
            "block_1": ResidualBlock(width, width),
            "attn_1": Attention(width),
            "block_2": ResidualBlock(width, width),
        }
        self.mid = nn.Sequential(OrderedDict(middle))
        self.norm_out, self.conv_out = norm(width), nn.Conv2d(width, LATENT, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3, S, S] in [-1, 1] to [B, LATENT, S / 8, S / 8]."""
        x = self.conv_in(x)
        for stage in self.down:
            x = stage(x)
        return self.conv_out(F.silu(self.norm_out(self.mid(x))))


class VQGANEncoder(nn.Module):
    def __init__(self, vocabulary: int = 8192):
        super().__init__()
        self.encoder = Encoder()
        self.quant_conv = nn.Conv2d(LATENT, LATENT, 1)
        self.quantize = nn.ModuleDict({"proj": nn.Conv2d(LATENT, vocabulary, 1)})

    def tokens(self, pixels: Tensor) -> Tensor:
        """The most likely token of each patch: uint8 pixels [B, S, S, 3] to int64 [B, S / 8, S / 8]."""
        images = (pixels.float() / 127.5 - 1).permute(0, 3, 1, 2)
        return self.quantize["proj"](self.quant_conv(self.encoder(images))).argmax(1)


def build(params: VQGAN, grid: int) -> VQGANEncoder:
    return VQGANEncoder(params.vocabulary)
