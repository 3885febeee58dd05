"""What params may ask for and hardly ever mean: told when a scale is planned, refused by nothing."""

import json

import numpy as np

from cae.data.masks import draw_masks
from cae.params import Mask
from workflow.plan import Plan

HARDLY_SEEN = 0.95  # of all draws; the paper's masks hide the patch that they hide most often in 87 %, BEiT's in 74 %
DRAWS = 1000


def advice(plan: Plan) -> list[str]:
    """Return a line for each mask that nearly always hides the same patches, and for views whose tokens no model reads."""
    return [*_same_patches(plan), *_unread_views(plan)]


def most_masked(mask: Mask, grid: int) -> float:
    """Return the share of draws in which the patch that is masked most often is masked; by symmetry, the mean over the
    patches that mirroring and transposing make of it."""
    often = draw_masks(mask, np.arange(DRAWS), seed=0, epoch=0, grid=grid).mean(0)
    for mirrored in (np.flipud, np.fliplr, np.transpose):
        often = (often + mirrored(often)) / 2
    return float(often.max())


def _same_patches(plan: Plan) -> list[str]:
    masked: dict[tuple[str, int], list[str]] = {}
    for name in plan.trained:
        recipe = plan.recipes[name]
        if getattr(recipe, "mask", None) and recipe.mask.kind == "block":
            masked.setdefault((recipe.mask.model_dump_json(), recipe.image.grid), []).append(name)
    lines = []
    for (text, grid), models in masked.items():
        mask = Mask.model_validate_json(text)
        if (share := most_masked(mask, grid)) >= HARDLY_SEEN:
            lines.append(
                f"Masks of {', '.join(models)} (blocks, {mask.count} of {grid**2} patches, min_block {mask.min_block}): "
                f"the patch that is masked most often is masked in {share:.0%} of all draws, and the encoder hardly ever sees "
                "the middle of an image. Set a smaller `share` or `min_block` of `mask`, or `kind: random`"
            )
    return lines


def _unread_views(plan: Plan) -> list[str]:
    """A view is read in an epoch, by the models that predict its tokens and by the tokenizer that learns from it."""
    epochs: dict[str, dict[str, int]] = {}  # of what reads the views of each recipe
    for cache in plan.wanted_caches:
        tokenizer, recipe = plan.caches[cache]
        reads = epochs.setdefault(recipe, {})
        reads |= {name: plan.recipes[name].epochs for name in plan.models if plan.cache_of.get(name) == cache}
        if tokenizer in plan.built_tokenizers:
            reads[tokenizer] = plan.params.tokenizers[tokenizer].epochs
    lines = []
    for recipe, reads in epochs.items():
        views, longest = json.loads(recipe)["view"]["views"], max(reads, key=reads.get)
        if views > reads[longest]:
            lines.append(
                f"Tokens are made of {views:,} views of each image, and no more than {reads[longest]:,} are read, one an epoch, "
                f"by {longest}. Set `view: {{views: {reads[longest]}}}`: that costs less, and the results are the same"
            )
    return lines
