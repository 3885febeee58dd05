"""What the plan makes of params, without Snakemake."""

import pytest
import yaml

from cae.errors import UserError
from cae.params import load
from cae.reporting.figures import KINDS, caption_of, module_of
from tests.conftest import ROOT
from workflow.plan import Plan

TABLES = str(ROOT / "params/tables.yaml")


@pytest.fixture(scope="module")
def paper() -> Plan:
    return Plan(load(ROOT / "params/paper.yaml"), TABLES)


def demo(**changes) -> Plan:
    return Plan(load(ROOT / "params/demo.yaml", changes), TABLES)


def test_facts_of_the_paper_are_those_that_it_prints(paper):
    for name, table in paper.tables.items():
        facts = paper.facts_of(name)
        rows = [row for row in table.rows if row.model]  # the others are quoted
        assert facts.keys() == {row.model for row in rows}
        for row in rows:
            assert list(facts[row.model]) == table.facts
            for fact in ("epochs", "crops"):
                if row.paper and fact in table.facts:
                    assert facts[row.model][fact] == row.paper.get(fact), row


def test_facts_say_what_a_scale_does():
    plan = demo(
        models={"dino-b-400": {"epochs": 5, "local_crops": 2}, "cae-b-800-dvae": {"epochs": 7}},
        tokenizers={"dvae-64": {"vocabulary": 60}},
    )
    assert plan.facts_of("table1")["dino-b-400"] == {"epochs": 5, "crops": 4}
    assert plan.facts_of("table1")["random-b"] == {"epochs": 0, "crops": None}
    assert plan.facts_of("table7")["cae-b-800-dvae"] == {"tokenizer": "dvae-64 (d-VAE, 60 codes)", "epochs": 7}


def test_tokenizers_are_told_by_kind_and_vocabulary(paper):
    said = {facts["tokenizer"] for facts in paper.facts_of("table7").values()}
    assert said == {
        "dalle (DALL-E, 8192 codes)", "vqgan-openimages (VQGAN, 8192 codes)", "dvae-imagenet (d-VAE, 8192 codes)"
    }  # fmt: skip


def test_what_makes_other_tokens_makes_another_cache():
    """Views, and seed: both are of the model."""
    caches = [
        demo(models={"cae-s-300": change}).cache_of["cae-s-300"]
        for change in (
            {},
            {"view": {"jitter": 0.1}},
            {"view": {"views": 9}},
            {"seed": 1},
            {"lr": 1.0},
            {"mask": {"count": 9}},
        )
    ]
    assert caches[0] == caches[4] == caches[5] == "dvae"
    assert len(set(caches[:4])) == 4 and all(name.startswith("dvae-") for name in caches[1:4])


def test_a_tokenizer_that_no_model_wants_is_not_planned():
    plan = demo(models={f"cae-b-{epochs}-vqgan": {"tokenizer": "dvae"} for epochs in (800, 1600)})
    assert plan.tokenizers == plan.wanted_caches == ["dvae", "dvae-64"]
    assert "dvae-256" in plan.caches  # though it can be asked for, and drawn
    assert "tokenizer-dvae-256" in plan.drawn_from.keys() - set(plan.figures)


def test_rows_of_models_that_a_scale_leaves_out_ask_for_nothing():
    plan = demo(models={"mae-l-1600": None, "cae-b-800-dvae": None})
    assert not {"mae-l-1600", "cae-b-800-dvae"} & {*plan.models, *plan.facts_of("table1"), *plan.facts_of("table7")}


def test_training_is_drawn_of_what_is_trained_here(paper):
    assert {"cae-b-300", "mae-b-300", "beit-b-300"} <= set(paper.trained)
    assert not {"random-b", "mae-b-1600", "dino-b-400", "deit-b-300"} & set(paper.trained)


def test_a_size_without_a_recipe_for_fine_tuning_is_told_before_any_work():
    changes = {"sizes": {"tiny": {"width": 32, "depth": 2, "heads": 2, "layer_scale": 1.0}},
               "models": {"cae-b-300": {"size": "tiny"}}}  # fmt: skip
    with pytest.raises(UserError, match="no recipe for the size 'tiny' of cae-b-300"):
        demo(**changes)


def test_only_a_supervised_model_classifies(tmp_path):
    table = {"title": "T", "columns": {"attentive": "ATT"},
             "rows": [{"method": "CAE", "model": "cae-b-300", "cells": {"attentive": "supervised"}}]}  # fmt: skip
    (tmp_path / "tables.yaml").write_text(yaml.safe_dump({"table1": table}))
    with pytest.raises(UserError, match="tables.yaml: cae-b-300: cells: supervised: it has no classifier"):
        Plan(load(ROOT / "params/demo.yaml"), str(tmp_path / "tables.yaml"))


def test_a_data_set_that_a_scale_leaves_out_asks_for_nothing():
    plan = demo(datasets={"coco": None, "food101": None})
    protocols = {protocol for protocol, _ in plan.cells}
    assert {"ade20k", "clipart", "finetune"} <= protocols and not protocols & {"coco-mask", "coco-cascade", "food101"}
    assert "segmentation" in plan.figures and "detection" not in plan.drawn_from
    assert plan.metrics_of("table4", "demo") == [] and plan.facts_of("table4")  # its rows stay, their cells not run


def test_every_figure_has_its_module_and_a_caption(paper):
    for plan in (paper, demo()):
        assert {"figure3", "figure4", "figure5", "training"} <= set(plan.figures) <= set(plan.drawn_from)
        for figure in plan.drawn_from:
            assert len(caption_of(figure)) > 50 and module_of(figure).endswith(f".{figure.partition('-')[0]}")
    assert {figure.partition("-")[0] for figure in plan.drawn_from} | {"dag"} == set(KINDS)  # no module is forgotten


@pytest.mark.parametrize("lr", [1e-4, 3e-5, 1.0, 3.3333333333e-4])
def test_a_learning_rate_survives_its_path(lr):
    plan = demo(ade20k={"sizes": {"base": {"lrs": [lr]}}})
    (path,) = plan.searched("cae-b-300", "demo")
    assert list(plan.params.segmenting("cae-b-300")) == [float(path.split("/")[-2])] == [lr]


def test_figures_and_panels_are_left_out_with_what_they_need():
    plan = demo(datasets={"ade20k": None})
    assert plan.left_out == dict.fromkeys(("figure5", "segmentation"), "it needs the data set ade20k, which is null")
    assert plan.analyses == ["figure3", "figure4"] and plan.counted == ["imagenet"]
    assert list(plan.shown) == ["detection", "figure3", "figure4"]
    plan = demo(models={"cae-b-300-pixels": None, "random-b": None})
    assert plan.left_out == {
        "figure4": "it needs the model cae-b-300-pixels, which is null",
        "figure5": "it needs the model random-b, which is null",
    }
    assert plan.shown["segmentation"].models == plan.shown["detection"].models == ["cae-b-1600"]  # those that are there
    assert "cae-b-300-pixels-no-align" not in plan.models  # for figure 4 alone


def test_only_some_models_are_asked_for():
    own = {"cae-b-ema": {"method": "cae", "size": "base", "epochs": 5, "alignment_momentum": 0.9}}
    plan = demo(only=["mae-b-300", "cae-b-ema"], models=own)
    assert plan.models == ["mae-b-300", "cae-b-ema"] and {model for _, model in plan.cells} == {"mae-b-300"}
    assert set(plan.left_out) == {"figure4", "figure5", "segmentation", "detection"}
    assert plan.left_out["figure5"] == "it needs the model cae-b-1600, which is not in `only`"
    assert plan.figures == ["figure3", "tokenizer-dvae", "training"]
    assert plan.metrics_of("table7", "demo") == [] and plan.tables["table7"].rows
    assert demo(only=["cae-b-300-pixels", "cae-b-300-pixels-no-align"]).analyses == ["figure3", "figure4"]


def test_a_model_is_pretrained_on_imagenet():
    with pytest.raises(UserError, match="datasets.imagenet: null, but random-b is pretrained here"):
        demo(datasets={"imagenet": None}, only=["random-b"])
    released = {"mae-b-300": {"source": "released", "file": "mae.pth"}}
    plan = demo(datasets={"imagenet": None}, only=["mae-b-300"], models=released, panels=["mae-b-300"])
    assert plan.figures == ["segmentation", "detection"]
    assert {plan.data_of(protocol) for protocol, _ in plan.cells} == {"ade20k", "coco"}
