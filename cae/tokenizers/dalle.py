"""The DALL-E encoder (Ramesh et al. 2021), the tokenizer of the paper's main results (§2.2).

53.8 M parameters, 8x downsampling, 8192 tokens; the token of a patch is the argmax of its logits. The network is that of
the published package (github.com/openai/DALL-E, `dall_e.Encoder`). On a GPU the package computes in float16, whose rounding
may turn an argmax; that is switched off: tokens are float32's on every device. (With random weights and either rounding
emulated, float16 and TF32 keep 99.3 to 99.6 % of float32's tokens, bfloat16 94 to 96 %; see benchmarks/gpu.py.)
"""

from dall_e import Encoder, map_pixels
from dall_e.utils import Conv2d
from torch import Tensor

from cae.params import DALLE

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


class DALLEEncoder(Encoder):
    def __init__(self, vocabulary: int = 8192):
        super().__init__(vocab_size=vocabulary)
        for module in self.modules():
            if isinstance(module, Conv2d):
                module.use_float16 = False

    def tokens(self, pixels: Tensor) -> Tensor:
        """The most likely token of each patch: uint8 pixels [B, S, S, 3] to int64 [B, S / 8, S / 8]."""
        return self(map_pixels(pixels.permute(0, 3, 1, 2) / 255)).argmax(1)


def build(params: DALLE, grid: int) -> DALLEEncoder:
    return DALLEEncoder(params.vocabulary)
