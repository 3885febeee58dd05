"""What is told of params that are allowed and hardly meant."""

import numpy as np
import pytest

from cae.analysis.masks_and_crops import frequencies
from cae.data.masks import random_masks
from cae.params import Mask, load
from tests.conftest import ROOT
from workflow.plan import Plan
from workflow.plan.advice import advice, most_masked

TABLES, CLAIMS = ROOT / "params/tables.yaml", ROOT / "params/claims.yaml"


def told(scale: str, changes: dict | None = None) -> list[str]:
    params = load(ROOT / f"params/{scale}.yaml", changes)
    return advice(Plan(params, TABLES, CLAIMS, paper=ROOT / "params/paper.yaml"))


def blocks(count: int, min_block: int = 16) -> Mask:
    return Mask(kind="block", count=count, min_block=min_block, min_aspect=0.3)


def test_how_often_the_most_masked_patch_is_masked():
    """As 60,000 masks of the public generator (CAE's), as Figure 3 measures it, and as all patches where masks are random."""
    assert most_masked(blocks(98), 14) == pytest.approx(0.864, abs=0.01)
    params = load(ROOT / "params/small.yaml", {"mask": {"share": 0.75}})
    job = type("Job", (), dict(seed=1, image=params.image, view=params.view, mask=params.shared_mask))
    assert most_masked(params.shared_mask, 8) == pytest.approx(frequencies(job)["mask_frequency"].max(), abs=0.01)
    alike = random_masks(np.arange(1000), seed=0, epoch=0, grid=14, count=98).mean(0)
    assert most_masked(Mask(kind="random", count=98, min_block=1, min_aspect=1.0), 14) < alike.max() < 0.56


def test_masks_that_nearly_always_hide_the_same_patches_are_told_with_their_models():
    (line,) = told("demo", {"mask": {"share": 0.75}})
    assert "cae-b-300, cae-b-1600" in line and "beit" not in line and "mae" not in line
    assert "27 of 36 patches, min_block 3" in line and "is masked in 9" in line and "`kind: random`" in line
    assert told("demo", {"mask": {"share": 0.75, "kind": "random"}}) == []
    (line,) = told("paper", {"mask": {"min_block": 80}})  # half of the patches, in one or two blocks
    assert "98 of 196 patches, min_block 80" in line


@pytest.mark.parametrize("scale", ["demo", "demo-all", "small", "photos", "photos-gpu", "paper", "released"])
def test_the_scales_need_no_advice(scale):
    assert told(scale) == []


def test_views_that_no_epoch_reads_are_told_with_the_number_that_is_enough():
    (line,) = told("paper", {"view": {"views": 2000}})
    assert "2,000 views" in line and "no more than 1,600 are read" in line and "`view: {views: 1600}`" in line
    (line,) = told("demo", {"view": {"views": 20}})
    assert "by cae-b-1600" in line and "`view: {views: 15}`" in line
    (line,) = told(
        "demo", {"view": {"views": 20}, "tokenizers": {"dvae": {"epochs": 18}}}
    )  # which learns from views, too
    assert "by dvae" in line and "`view: {views: 18}`" in line
