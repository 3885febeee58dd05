"""First weights of the methods whose encoder sees mask tokens."""

import math

import pytest

from tests.methods.examples import MASK_TOKENS, make


@pytest.mark.parametrize("name", MASK_TOKENS)
def test_first_weights_are_the_public_codes_or_xaviers(tiny, name):
    for init in "public", "xavier":
        model = make(tiny, name, init=init)
        block = model.encoder.blocks[1]
        less = math.sqrt(2 * 2)  # what the second block writes to the residual stream
        for layer, factor in ((model.encoder.patch_embed.proj, 1), (block.mlp.fc1, 1), (block.mlp.fc2, less)):
            weight = factor * layer.weight.flatten(1)
            bound = 0.02 if init == "public" else math.sqrt(6 / sum(weight.shape))
            assert 0.95 * bound < weight.abs().max() <= 1.001 * bound
        assert model.mask_token.abs().max() <= 0.02
