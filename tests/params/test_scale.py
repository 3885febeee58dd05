"""Scales are differences to the paper; sections fit each other."""

import pytest
import yaml

from cae.errors import UserError
from cae.params import load, read
from tests.params.conftest import PARAMS


def test_appendix_a_probing(paper):
    p = paper.probes
    assert (p.epochs, p.warmup_epochs) == (90, 10)
    assert (p.linear.batch_size, p.linear.lr) == (16384, 6.4)
    assert (p.attentive.batch_size, p.attentive.lr) == (8192, 0.4)


@pytest.mark.parametrize("scale", ["demo", "demo-all", "small"])
def test_smaller_scales_build_everything(scale):
    params = load(PARAMS / f"{scale}.yaml")
    assert {recipe.source for recipe in params.pretrainings().values()} == {"built"}
    assert params.pretraining("beit-b-300").view == params.view  # one token cache


@pytest.mark.parametrize("scale", ["demo", "small"])
def test_scales_are_differences_to_the_paper(scale):
    raw = yaml.safe_load((PARAMS / f"{scale}.yaml").read_text())
    assert raw["base"] == "paper.yaml"
    paper = read(PARAMS / "paper.yaml")

    def repeated(part, base, path=""):
        for key, value in part.items():
            if isinstance(value, dict) and isinstance(base.get(key), dict):
                yield from repeated(value, base[key], f"{path}{key}.")
            elif key in base and base[key] == value:
                yield path + key

    allowed = {"resources", "probes"}  # a machine's needs are written out whole
    said_twice = [key for key in repeated(raw, paper) if key.split(".")[0] not in allowed]
    assert said_twice == []
    assert load(PARAMS / f"{scale}.yaml").models.keys() == load(PARAMS / "paper.yaml").models.keys()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ade20k": {"lrs": [0.1]}}, "ade20k: unknown key 'lrs'"),
        ({"ade20k": {"sizes": {"base": {"lrs": []}}}}, "ade20k.sizes.base.lrs: List should have at least 1 item"),
        ({"ade20k": {"micro_batch": 3}}, "ade20k: batch_size 16 is not a multiple of micro_batch 3"),
        ({"ade20k": {"warmup_steps": 160000}}, "ade20k: warmup_steps 160000 leaves none of the 160000 steps"),
        ({"ade20k": {"stride": 513}}, "ade20k: stride 513 is above crop 512: windows would leave gaps"),
        ({"ade20k": {"scale": [512, 2048]}}, "ade20k: scale [512, 2048] is not the long side and then the short one"),
        ({"ade20k": {"micro_batch": 1}}, "ade20k.micro_batch: Input should be greater than or equal to 2"),
        ({"ade20k": {"crop": 520}}, "ade20k.crop: 520 is not a multiple of two patches of 16 pixels"),
        ({"ade20k": {"sizes": {"bass": {"lrs": [0.1], "layer_decay": 0.5, "drop_path": 0.0, "channels": 8}}}},
         "ade20k.sizes: unknown key 'bass'; did you mean 'base'?"),
        ({"resources": {"segment": {"gpus": 3}}}, "ade20k.batch_size 16 is not a multiple of micro_batch x 3 GPUs"),
        ({"coco": {"heads": "publik"}}, "coco.heads"),
        ({"coco": {"milestones": [9, 12]}}, "coco: milestones: 12 is not before the last of 12 epochs"),
        ({"coco": {"short_sides": [800, 480]}}, "coco: short_sides: not in increasing order"),
        ({"coco": {"crop": {"sides": [1]}}}, "coco.crop: unknown key 'sides'"),
        ({"resources": {"detect": {"gpus": 3}}}, "coco.batch_size 32 is not a multiple of micro_batch x 3 GPUs"),
        ({"panels": ["cae-b-16000"]}, "panels: unknown key 'cae-b-16000'; did you mean 'cae-b-1600'?"),
    ],
)  # fmt: skip
def test_mistakes_of_dense_prediction_are_named(change, message):
    with pytest.raises(UserError) as error:
        load(PARAMS / "paper.yaml", change)
    assert message in str(error.value)


@pytest.mark.parametrize("protocol", ["segmenting", "detecting"])
def test_a_size_without_a_recipe_of_dense_prediction_is_named(protocol):
    own = {"sizes": {"tiny": {"width": 192, "depth": 12, "heads": 12, "layer_scale": 0.1}},
           "models": {"cae-t": {"method": "cae", "size": "tiny", "epochs": 1}}}  # fmt: skip
    with pytest.raises(UserError, match="sizes: no recipe for the size 'tiny' of cae-t; there is: small, base, large"):
        getattr(load(PARAMS / "paper.yaml", own), protocol)("cae-t")
