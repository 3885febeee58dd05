"""This machine's processor as a card, where it has no GPU: its rate is measured, in a second or two."""

import time

from cae.params import Pretraining
from workflow.cost.cards import Card
from workflow.cost.work import Costs
from workflow.machine import cores

REACHED = (
    0.5  # a whole training step's share of a block's rate: 48 pretrainings of reports/photos reached 18 of 38 GFLOP/s
)
TOKENS, SECONDS = 1024, 1.0  # of a pass, and of all passes that are timed
NOTE = (
    "Hours are those of this processor with all {cores} cores at work: on one, a transformer block as wide as this scale's "
    "reached {rate:.3g} GFLOP/s just now, and whole training steps reach about half of that (narrow models with small batches "
    "less). Starting programs, some seconds a job, reading images, and what other programs take are not in them."
)


def processor(costs: Costs, recipe: Pretraining) -> tuple[Card, str]:
    """Return this processor as a card, all cores together, for models like `recipe`; and what is to be said of its hours."""
    rate = block_rate(recipe)
    flops = dict.fromkeys(("float32", "bfloat16"), REACHED * rate * cores())
    card = Card("this processor", {}, flops, costs, unit="hours of", has_chain=False)
    return card, NOTE.format(cores=cores(), rate=rate / 1e9)


def block_rate(recipe: Pretraining) -> float:
    """Measure FLOP/s of a transformer block on one core, forwards and backwards, by the time that the processor gave to it: other
    programs do not lower it."""
    import torch
    from timm.models.vision_transformer import Block

    from cae.training.devices import autocast

    width, tokens = recipe.width, recipe.image.grid**2
    torch.set_num_threads(1)
    block, batch = Block(width, recipe.heads, qkv_bias=True), max(1, TOKENS // tokens)
    images = torch.randn(batch, tokens, width, requires_grad=True)

    def seconds() -> float:
        began = time.process_time()
        with autocast("cpu", recipe.precision):
            loss = block(images).square().mean()
        loss.backward()
        return time.process_time() - began

    seconds()  # which allocates
    times = [seconds()]
    while sum(times) < SECONDS:
        times.append(seconds())
    multiplied = 3 * batch * tokens * (24 * width**2 + 4 * tokens * width)
    return multiplied * len(times) / sum(times)
