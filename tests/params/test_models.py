"""The paper's models, complete; what a model's params hang on."""

import json
import re

import pytest
import yaml

from cae.errors import UserError
from cae.params import METHODS, Params, load, read_model
from cae.released.models import PAGES
from tests.params.conftest import PARAMS


@pytest.mark.parametrize(
    "model,width,depth,epochs,warmup",
    [
        ("cae-s-300", 384, 12, 300, 10),
        ("cae-b-300", 768, 12, 300, 10),
        ("cae-b-800", 768, 12, 800, 20),
        ("cae-b-1600", 768, 12, 1600, 40),
        ("cae-l-1600", 1024, 24, 1600, 40),
    ],
)
def test_appendix_a_pretraining(paper, model, width, depth, epochs, warmup):
    p = paper.pretraining(model)
    assert (p.width, p.depth, p.epochs, p.warmup_epochs) == (width, depth, epochs, warmup)
    assert (p.batch_size, p.lr, p.weight_decay, p.drop_path) == (2048, 1.5e-3, 0.05, 0.1)
    assert (p.alignment_weight, p.regressor_depth, p.decoder_depth, p.target) == (2.0, 4, 4, "tokens")
    assert (p.image.size, p.image.grid, p.mask.count) == (224, 14, 98)
    assert paper.tokenizers[p.tokenizer].input_size == 112 and paper.tokenizers[p.tokenizer].vocabulary == 8192


def test_recipes_of_other_methods(paper):
    beit, mae, moco, dino, deit = map(
        paper.pretraining, ("beit-b-300", "mae-b-300", "moco-v3-b-300", "dino-b-400", "deit-b-300")
    )
    assert (beit.mask.kind, beit.mask.count, beit.view.jitter, beit.layer_scale) == ("block", 75, 0.4, 0.1)
    assert (mae.mask.kind, mae.mask.count, mae.view.scale, mae.batch_size) == ("random", 147, [0.2, 1.0], 4096)
    assert (moco.temperature, moco.momentum, moco.view.scale) == (0.2, 0.99, [0.08, 1.0])
    assert (dino.local_crops, dino.teacher_temperature, dino.view.scale) == (10, [0.04, 0.07], [0.4, 1.0])
    assert (deit.mixup, deit.cutmix, deit.repeats, deit.drop_path) == (0.8, 1.0, 3, 0.1)
    for model in (mae, moco, dino, deit):  # in place of the size's
        assert model.layer_scale == 0.0
    for model in (beit, mae, moco, dino, deit):  # what a recipe does not say of views and masks is everyone's
        assert model.view.ratio == paper.view.ratio and (model.width, model.depth) == (768, 12)
    assert beit.mask.min_aspect == mae.mask.min_aspect == paper.mask.min_aspect


def test_a_released_model_names_its_file_and_needs_no_tokens(paper):
    released = {name for name in paper.models if paper.pretraining(name).source == "released"}
    assert released == {
        "mae-b-1600",
        "mae-l-1600",
        "moco-v3-s-300",
        "moco-v3-b-300",
        "dino-b-400",
        "deit-s-300",
        "deit-b-300",
    }
    assert all(paper.pretraining(name).file.startswith("$CHECKPOINTS/") for name in released)
    needs = {name: paper.pretraining(name).target_tokenizer for name in paper.models}
    assert needs["beit-b-300"] == needs["cae-b-300"] == "dalle" and needs["cae-b-800-vqgan"] == "vqgan-openimages"
    assert {needs[name] for name in (*released, "random-b", "cae-b-300-pixels", "mae-b-300")} == {None}
    imported = load(PARAMS / "paper.yaml", {"models": {"cae-b-300": {"source": "released", "file": "cae.pth"}}})
    assert imported.pretraining("cae-b-300").target_tokenizer is None


def test_ablations_of_table_2_differ_in_what_they_ablate_alone(paper):
    base = paper.pretraining("cae-b-300").model_dump()
    for name, change in {
        "cae-b-300-no-align": {"alignment_weight": 0.0},
        "cae-b-300-no-align-no-decoder": {"alignment_weight": 0.0, "decoder_depth": 0},
        "cae-b-300-pixels": {"target": "pixels"},
        "cae-b-300-pixels-no-align": {"target": "pixels", "alignment_weight": 0.0},
    }.items():
        assert paper.pretraining(name).model_dump() == {**base, **change}


def test_a_null_removes_what_the_recipe_says(tmp_path):
    assert load(PARAMS / "paper.yaml").pretraining("cae-b-300").clip == 3.0
    change = {"base": str(PARAMS / "paper.yaml"), "models": {"cae-b-300": {"clip": None}}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(change))
    assert load(tmp_path / "mine.yaml").pretraining("cae-b-300").clip is None


def test_what_a_method_does_not_see_is_none_of_its_params():
    """So that another mask, or number of cached views, trains no contrastive model again."""
    other = load(PARAMS / "demo-all.yaml", {"mask": {"count": 10}, "view": {"views": 3, "jitter": 0.1}})
    demo = load(PARAMS / "demo-all.yaml")
    same = {name for name in demo.models if demo.pretraining(name) == other.pretraining(name)}
    assert same == {"moco-v3-s-300", "moco-v3-b-300", "dino-b-400", "deit-s-300", "deit-b-300"}


def test_what_a_model_predicts_is_a_word_of_its_params():
    """The token cache follows from that; what came later is left out of a job's JSON where it is as it was before."""
    own = {
        "mae-b-tokens": {"method": "mae", "size": "base", "epochs": 300, "target": "tokens"},
        "cae-b-normalised": {
            "method": "cae",
            "size": "base",
            "epochs": 300,
            "target": "pixels",
            "normalise_targets": True,
        },
    }
    params = load(PARAMS / "paper.yaml", {"models": own})
    models = params.pretrainings()
    assert (
        models["mae-b-tokens"].target_tokenizer == "dalle" and models["mae-b-tokens"].model_dump()["target"] == "tokens"
    )
    assert models["mae-b-300"].target_tokenizer is None and models["cae-b-normalised"].target_tokenizer is None
    assert not {"target", "tokenizer"} & models["mae-b-300"].model_dump().keys()
    before, after = (json.loads(models[name].model_dump_json()) for name in ("cae-b-300-pixels", "cae-b-normalised"))
    assert "normalise_targets" not in before and after["normalise_targets"] is True
    assert read_model(before) == models["cae-b-300-pixels"]
    other = load(PARAMS / "paper.yaml", {"models": own, "recipes": {"mae": {"tokenizer": "dvae-imagenet"}}})
    assert [n for n in models if models[n] != other.pretraining(n)] == ["mae-b-tokens"]


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"target": "token"}, "models.mae-b-300.target: Input should be 'tokens' or 'pixels'"),
        (
            {"target": "tokens", "tokenizer": "dale"},
            "models.mae-b-300.tokenizer: unknown key 'dale'; did you mean 'dalle'?",
        ),
        ({"target": "tokens", "tokenizer": None}, "models.mae-b-300.tokenizer: `target: tokens` needs one"),
    ],
)
def test_mistakes_in_targets_are_named(own, message):
    with pytest.raises(UserError, match=re.escape(message)):
        load(PARAMS / "paper.yaml", {"models": {"mae-b-300": own}})


def test_methods_without_releases_are_built():
    change = {"simmim-b-800": {"source": "released", "file": "simmim.pth"}}
    with pytest.raises(UserError, match="models.simmim-b-800.source: no official checkpoint of SimMIM can be imported"):
        load(PARAMS / "paper.yaml", {"models": change})
    assert {name for name, model in METHODS.items() if model.has_releases} == PAGES.keys()


def test_a_released_model_is_not_held_to_how_it_would_be_trained():
    change = {"mae-b-1600": {"batch_size": 10, "warmup_epochs": 2000, "mask": {"count": 196}}}
    assert load(PARAMS / "paper.yaml", {"models": change}).pretraining("mae-b-1600").source == "released"


@pytest.mark.parametrize(
    ("shared", "recipe", "own", "count"),
    [
        ({}, {}, {}, 98),
        ({"count": 90}, {}, {}, 90),  # over the paper's share
        ({}, {"count": 75}, {}, 75),
        ({}, {}, {"count": 10}, 10),
        ({"count": 90}, {"share": 0.25}, {}, 49),
        ({}, {"count": 75}, {"share": 0.75}, 147),
        ({}, {}, {"share": 0.001}, 1),
        ({}, {}, {"share": 0.999}, 195),
        ({}, {"share": 0.25}, {"share": None}, None),
    ],
)
def test_a_mask_is_a_share_or_a_count_whichever_is_said_last(shared, recipe, own, count):
    changes = {"mask": shared, "recipes": {"cae": {"mask": recipe}}, "models": {"cae-b-300": {"mask": own}}}
    if count is None:
        with pytest.raises(UserError, match="models.cae-b-300.mask: needs either `count` or `share`"):
            load(PARAMS / "paper.yaml", changes)
    else:
        mask = load(PARAMS / "paper.yaml", changes).pretraining("cae-b-300").mask
        assert mask.model_dump() == {"kind": "block", "count": count, "min_block": 16, "min_aspect": 0.3}


def test_a_mask_is_not_a_share_and_a_count():
    for key, changes in {
        "mask": {"mask": {"count": 9, "share": 0.5}},
        "recipes.mae.mask": {"recipes": {"mae": {"mask": {"count": 9, "share": 0.5}}}},
    }.items():
        with pytest.raises(UserError, match=f"^overrides: {key}: needs either `count` or `share`$"):
            load(PARAMS / "paper.yaml", changes)


def test_only_some_models_are_run_and_the_others_stay_known(paper):
    few = load(
        PARAMS / "paper.yaml",
        {"only": ["mae-b-300", "cae-b-300"], "models": {"cae-b-300": {"epochs": 7, "warmup_epochs": 1}}},
    )
    assert list(few.pretrainings()) == ["cae-b-300", "mae-b-300"] and few.pretraining("cae-b-300").epochs == 7
    assert few.models.keys() == paper.models.keys()
    assert Params(**json.loads(few.model_dump_json())) == few  # as the page is told them
    less = load(PARAMS / "paper.yaml", {"models": {"cae-b-1600": None}})  # though figure 5 shows it
    assert less.pretrainings().keys() == paper.models.keys() - {"cae-b-1600"}


def test_seeds_add_models_and_leave_those_that_are_there_as_they_are(paper):
    few = load(PARAMS / "paper.yaml", {"models": {"cae-b-300": {"seeds": [0, 7, 3]}}})
    names = list(few.pretrainings())
    assert [name for name in names if name not in paper.models] == ["cae-b-300@7", "cae-b-300@3"]
    at = names.index("cae-b-300")
    assert names[at : at + 3] == few.seeded("cae-b-300") and few.seeded("cae-b-800") == ["cae-b-800"]
    for name in paper.models:
        assert few.pretraining(name).model_dump_json() == paper.pretraining(name).model_dump_json()
    assert few.pretraining("cae-b-300@7").model_dump() == paper.pretraining("cae-b-300").model_dump() | {"seed": 7}
    assert [few.seed_of(name) for name in few.seeded("cae-b-300")] == [0, 7, 3]
    assert few.segmenting("cae-b-300@7") == few.segmenting("cae-b-300")
    assert Params(**json.loads(few.model_dump_json())) == few  # as the page is told them


def test_a_scales_seeds_are_those_of_every_model_without_its_own():
    models = {
        "mae-b-300": {"seed": 5},
        "cae-b-800": {"seed": 5, "seeds": [5, 1]},
        "cae-b-1600": None,
        "random-b": {"seeds": [0]},
    }
    params = load(PARAMS / "demo-all.yaml", {"seeds": [0, 1], "models": models})
    assert params.seeded("cae-b-300") == ["cae-b-300", "cae-b-300@1"] and params.seeded("mae-b-300") == ["mae-b-300"]
    assert params.seeded("cae-b-800") == ["cae-b-800", "cae-b-800@1"] and params.seeded("random-b") == ["random-b"]
    assert [params.pretraining(name).seed for name in params.seeded("cae-b-800")] == [5, 1]
    assert not {"cae-b-1600", "cae-b-1600@1"} & params.pretrainings().keys()
    assert len(params.pretrainings()) == 2 * (len(params.models) - 1) - 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seeds": [1, 0]}, "seeds: the first must be 0, the `seed` without further ones"),
        ({"seeds": [0, 2, 2]}, "seeds: 2 is there twice"),
        ({"seeds": []}, "seeds: List should have at least 1 item"),
        ({"seeds": [0, -1]}, "seeds.1: Input should be greater than or equal to 0"),
        ({"seed": 3, "seeds": [0, 3]}, "seeds: the first must be 3, "),
        ({"models": {"cae-b-300": {"seeds": [1]}}}, "models.cae-b-300.seeds: the first must be 0, "),
        ({"models": {"cae-b-300": {"seed": 4, "seeds": [0, 4]}}}, "models.cae-b-300.seeds: the first must be 4, "),
        ({"models": {"cae-b-300": {"seeds": [0, 1, 1]}}}, "models.cae-b-300.seeds: 1 is there twice"),
        ({"models": {"cae-b-300": {"seeds": 2}}}, "models.cae-b-300.seeds: Input should be a valid list"),
        ({"models": {"cae-b-300": {"seeds": [0, "1"]}}}, "models.cae-b-300.seeds.1: Input should be a valid integer"),
        ({"models": {"cae-b@1": {"method": "cae", "size": "base", "epochs": 1}}}, "not a name: 'cae-b@1'"),
        ({"panels": ["cae-b-300@1"], "seeds": [0, 1]}, "panels: unknown key 'cae-b-300@1'; did you mean 'cae-b-300'?"),
    ],
)
def test_mistakes_in_seeds_are_named(change, message):
    with pytest.raises(UserError) as error:
        load(PARAMS / "paper.yaml", change)
    assert str(error.value).startswith("overrides: ") and message in str(error.value)
