"""The DALL-E encoder (Ramesh et al. 2021), the tokenizer of the paper's main results (§2.2).

53.8 M parameters, 8x downsampling, 8192 tokens; the token of a patch is the argmax of its logits. Parameter names are
those of the published encoder (github.com/openai/DALL-E, dall_e/encoder.py). Input is squeezed to [0.1, 0.9] as in
training. On a GPU the published class computes in float16; here tokens are float32's on every device.
"""

from collections import OrderedDict

import torch.nn.functional as F
from torch import Tensor, nn

from cae.params import DALLE

GROUPS, BLOCKS, WIDTH = 4, 2, 256  # 4 groups of 2 blocks, 256 to 2048 channels

# The released file: encoder.pkl, a pickled module of the package DALL-E; or a state dict under the same names
# (OpenMMLab's dalle_encoder.pth) or those of Hugging Face's copy (facebook/flava-image-codebook).
SOURCE = "Get the DALL-E encoder from https://cdn.openai.com/dall-e/encoder.pkl"
CLASSES = (
    "dall_e.encoder.Encoder", "dall_e.encoder.EncoderBlock", "dall_e.utils.Conv2d",
    "torch.nn.modules.container.Sequential", "torch.nn.modules.activation.ReLU",
    "torch.nn.modules.pooling.MaxPool2d", "torch.nn.modules.linear.Identity",
)  # fmt: skip
UNUSED = ()  # beginnings of names that the file holds and tokens do not need


def published_name(name: str) -> str:
    """The published name of a parameter; Hugging Face's copy calls blocks.group_1.block_1.res_path.conv_1.w
    blocks.group_1.group.block_1.res_path.path.conv_1.weight (transformers, convert_dalle_to_flava_codebook.py)."""
    path, dot, kind = name.replace(".group.", ".").replace(".res_path.path.", ".res_path.").rpartition(".")
    return path + dot + {"weight": "w", "bias": "b"}.get(kind, kind)


class Conv(nn.Module):
    """A convolution whose parameters are called w and b, as in the published weights."""

    def __init__(self, inputs: int, outputs: int, kernel: int):
        super().__init__()
        conv = nn.Conv2d(inputs, outputs, kernel)
        self.w, self.b = conv.weight, conv.bias

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.w, self.b, padding=self.w.shape[-1] // 2)


class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        hidden = outputs // 4
        widths = [inputs, hidden, hidden, hidden]
        layers = OrderedDict()
        for i, (width, kernel) in enumerate(zip(widths, (3, 3, 3, 1)), 1):
            layers[f"relu_{i}"] = nn.ReLU()
            layers[f"conv_{i}"] = Conv(width, hidden if i < 4 else outputs, kernel)
        self.id_path = Conv(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        self.res_path = nn.Sequential(layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.id_path(x) + self.res_path(x) / (GROUPS * BLOCKS) ** 2


class DALLEEncoder(nn.Module):
    def __init__(self, vocabulary: int = 8192):
        super().__init__()
        blocks = OrderedDict(input=Conv(3, WIDTH, 7))
        width = WIDTH
        for i in range(GROUPS):
            group = OrderedDict()
            for j in range(BLOCKS):
                group[f"block_{j + 1}"] = Block(width, WIDTH * 2**i)
                width = WIDTH * 2**i
            if i < GROUPS - 1:
                group["pool"] = nn.MaxPool2d(2)
            blocks[f"group_{i + 1}"] = nn.Sequential(group)
        blocks["output"] = nn.Sequential(OrderedDict(relu=nn.ReLU(), conv=Conv(width, vocabulary, 1)))
        self.blocks = nn.Sequential(blocks)

    def tokens(self, pixels: Tensor) -> Tensor:
        """The most likely token of each patch: uint8 pixels [B, S, S, 3] to int64 [B, S / 8, S / 8]."""
        images = (0.8 / 255 * pixels.float() + 0.1).permute(0, 3, 1, 2)
        return self.blocks(images).argmax(1)


def build(params: DALLE, grid: int) -> DALLEEncoder:
    return DALLEEncoder(params.vocabulary)
