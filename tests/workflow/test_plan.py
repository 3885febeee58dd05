"""What the plan makes of params, without Snakemake."""

import json

import pytest
import yaml

from cae.errors import UserError
from cae.params import load
from cae.reporting.figures import KINDS, caption_of, module_of
from tests.conftest import ROOT
from workflow.machine import threads_side_by_side
from workflow.plan import Plan

TABLES = str(ROOT / "params/tables.yaml")


@pytest.fixture(scope="module")
def paper() -> Plan:
    return Plan(load(ROOT / "params/paper.yaml"), TABLES)


def demo(**changes) -> Plan:
    """Of the demo with all models."""
    return Plan(load(ROOT / "params/demo-all.yaml", changes), TABLES)


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


def test_only_data_that_are_made_can_be_of_so_many_scenes():
    with pytest.raises(UserError, match=r"datasets.coco.scenes: .* only read; those below data/demo-all/ are made"):
        demo(datasets={"coco": {"root": "$COCO_ROOT"}})


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


def test_a_training_is_told_to_recompute_where_its_resources_say_so():
    plan = demo(resources={"detect": {"recompute": True}})
    told = {step: plan.machines(step)["recompute"] for step in ("pretrain", "finetune", "segment", "detect")}
    assert told == {"pretrain": "", "finetune": "", "segment": "", "detect": "--recompute"}


def test_a_data_set_that_a_scale_leaves_out_asks_for_nothing():
    plan = demo(datasets={"coco": None, "food101": None})
    protocols = {protocol for protocol, _ in plan.cells}
    assert {"ade20k", "clipart", "finetune"} <= protocols and not protocols & {"coco-mask", "coco-cascade", "food101"}
    assert "segmentation" in plan.figures and "detection" not in plan.drawn_from
    assert plan.metrics_of("table4", "demo") == [] and plan.facts_of("table4")  # its rows stay, their cells not run


def test_all_figures_of_the_paper_are_on_the_page_in_its_order_behind_the_panels(paper):
    for plan in (paper, demo()):
        assert plan.figures[:11] == ["segmentation", "detection", *(f"figure{i}" for i in range(1, 10))]
        assert [plan.drawn_from[f"figure{i}"] for i in (1, 2, 8)] == [[], [], []]


def test_attention_is_of_the_encoders_of_figures_6_and_9_and_of_the_probe_of_figure_7(paper):
    probes = {figure: paper.probes_of(figure, "paper") for figure in ("figure6", "figure7", "figure9")}
    assert probes == {"figure6": [], "figure7": ["results/paper/attentive/cae-b-1600/model.safetensors"], "figure9": []}
    jobs = {figure: json.loads(paper.attention_json(figure)) for figure in probes}
    shared = {"seed", "precision", "images"}
    assert {figure: job.keys() for figure, job in jobs.items()} == {
        "figure6": shared, "figure7": shared, "figure9": shared | {"view"}
    }  # fmt: skip
    assert jobs["figure9"]["view"]["scale"] == [0.08, 1.0]
    for figure in ("figure6", "figure9"):
        assert paper.shown[figure].models == ["moco-v3-b-300", "cae-b-1600"]  # in the paper's order


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
    assert plan.analyses == ["figure3", "figure4", "figure6", "figure7", "figure9"]
    assert plan.counted == ["imagenet", "coco", "food101", "clipart", "sketch"]
    assert list(plan.shown) == ["detection", *(f"figure{i}" for i in (1, 2, 3, 4, 6, 7, 8, 9)), "epochs"]
    plan = demo(models={"cae-b-300-pixels": None, "random-b": None}, tables=[])
    assert plan.left_out == {
        "figure4": "it needs the model cae-b-300-pixels, which is null in `models`",
        "figure5": "it needs the model random-b, which is null in `models`",
    }
    assert plan.shown["segmentation"].models == plan.shown["detection"].models == ["cae-b-1600"]  # those that are there
    assert "cae-b-300-pixels-no-align" not in plan.models  # for figure 4 alone
    plan = demo(cells={"coco-mask": [], "ade20k": ["random-b"]})
    assert plan.left_out == {"detection": "none of its models is in `cells.coco-mask`"}
    assert plan.shown["segmentation"].models == ["random-b"]  # what is evaluated anyway


def test_curves_are_of_the_models_that_a_scale_has_and_of_all_their_seeds():
    plan = demo(only=["cae-b-300", "mae-b-300"], models={"cae-b-300": {"seeds": [0, 3]}})
    assert plan.shown["epochs"].models == ["mae-b-300", "cae-b-300"]
    assert plan.drawn_from["epochs"][-3:] == [
        "evaluate/linear/cae-b-300@3.json", "evaluate/attentive/cae-b-300@3.json", "pretrain/cae-b-300@3/provenance.json"
    ]  # fmt: skip
    assert len(plan.drawn_from["epochs"]) == 9
    assert demo(only=["cae-b-300-pixels"]).left_out["epochs"] == "it needs the model random-b, which is not in `only`"


def test_seeds_of_a_model_are_evaluated_wherever_it_is_and_shown_by_the_first():
    one, several = demo(), demo(models={name: {"seeds": [0, 3]} for name in ("cae-b-1600", "random-b", "deit-b-300")})
    more = {"cae-b-1600@3", "random-b@3", "deit-b-300@3"}
    assert set(several.cells) - set(one.cells) == {
        (protocol, f"{model}@3") for protocol, model in one.cells if f"{model}@3" in more
    }
    assert set(several.models) - set(one.models) == more and several.trained != one.trained
    assert several.drawn_from["epochs"] != one.drawn_from["epochs"]  # bars
    assert (
        several.drawn_from | {"epochs": one.drawn_from["epochs"]} == one.drawn_from and several.figures == one.figures
    )
    assert several.facts_of("table1") == one.facts_of("table1")
    assert several.tokenizers == one.tokenizers
    seeds = [json.loads(several.evaluation_json(model))["seed"] for model in ("random-b", "random-b@3")]
    assert seeds == [0, 3]
    # Its views are its own, so its tokens are; which tokenizer, is not.
    cache = several.cache_of["cae-b-1600@3"]
    assert set(several.wanted_caches) - set(one.wanted_caches) == {cache} and several.caches[cache][0] == "dvae"
    both = demo(seeds=[0, 3])
    assert both.cache_of["cae-b-300@3"] == both.cache_of["cae-b-800@3"] == cache
    assert len(both.cells) == 2 * len(one.cells)


def test_seeds_of_a_released_model_are_those_of_its_evaluations():
    released = {"deit-b-300": {"source": "released", "file": "deit.pth", "seeds": [0, 1]}}
    plan = demo(models=released)
    cells = {protocol for protocol, model in plan.cells if model == "deit-b-300@1"}
    assert {"ade20k", "coco-mask", "food101"} <= cells and "supervised" not in cells  # its own classifier is what it is
    assert plan.release_json("deit-b-300@1") == plan.release_json("deit-b-300")


def test_only_some_models_with_their_seeds():
    assert demo(only=["mae-b-300"], seeds=[0, 1], panels=["mae-b-300"]).models == ["mae-b-300", "mae-b-300@1"]


def test_an_evaluation_is_run_on_the_models_that_cells_name():
    every, some = demo(), demo(cells={"finetune": ["cae-b-300"], "ade20k": []})
    assert set(some.cells) == {
        cell for cell in every.cells if cell[0] not in ("finetune", "ade20k") or cell == ("finetune", "cae-b-300")
    }
    assert some.models == every.models  # rows stay
    assert set(demo(cells={"finetune": ["cae-b-300"]}, models={"cae-b-300": {"seeds": [0, 2]}}).cells) >= {
        ("finetune", "cae-b-300"), ("finetune", "cae-b-300@2")
    }  # fmt: skip
    with pytest.raises(UserError, match="cells.finetune: unknown key 'cae-b-30'; did you mean 'cae-b-300'?"):
        demo(cells={"finetune": ["cae-b-30"]})
    with pytest.raises(UserError, match="cells.finetun: unknown key 'finetun'; did you mean 'finetune'?"):
        demo(cells={"finetun": []})


def test_a_table_of_our_own_is_of_scales_that_ask_for_it(paper):
    assert "labels" not in paper.tables and not any("finetune-" in protocol for protocol, _ in paper.cells)
    none, one = demo(tables=[]), demo(tables=["labels"])
    assert list(one.tables) == [*none.tables, "labels"]
    assert set(one.cells) - set(none.cells) == {
        (protocol, row.model) for protocol in ("finetune-10", "finetune-1") for row in one.tables["labels"].rows
    } | {("finetune", "cae-b-300-no-align")}  # fmt: skip
    keys = {"few_labels.finetune-10.batch_size", "few_labels.finetune-1.batch_size"}
    assert one.batches["imagenet"].keys() - none.batches["imagenet"].keys() == keys
    both, further = demo(tables=["labels", "methods"]), {"simmim-b-800", "data2vec-b-800"}
    assert set(both.models) - set(one.models) == further and not further & set(paper.models)
    assert {protocol for protocol, model in both.cells if model in further} == {"finetune", "linear", "attentive"}
    ablated = set(demo(tables=["ablations"]).cells) - set(none.cells)
    parts = {
        "no-align", "no-align-no-decoder", "random-masks", "pixels", "pixels-no-align", "xavier", "xavier-no-align",
    }  # fmt: skip
    longer = {"cae-b-1600-no-align", "cae-b-1600-xavier"}
    assert {model for protocol, model in ablated if protocol == "linear"} == {
        f"cae-b-300-{part}" for part in parts
    } | longer
    with pytest.raises(UserError, match="tables: unknown key 'table1'; did you mean 'labels'?"):
        demo(tables=["table1"])


def test_a_share_of_labels_needs_a_recipe():
    with pytest.raises(UserError, match="tables.yaml: finetune-1: `few_labels` of the params says nothing"):
        demo(tables=["labels"], few_labels={"finetune-1": None})
    plan = demo(tables=["labels"], few_labels={"finetune-1": None}, cells={"finetune-1": []})
    assert {protocol for protocol, _ in plan.cells if "-" in protocol} >= {"finetune-10"}


def test_only_some_models_are_asked_for():
    own = {"cae-b-ema": {"method": "cae", "size": "base", "epochs": 5, "alignment_momentum": 0.9}}
    plan = demo(only=["mae-b-300", "cae-b-ema"], models=own)
    assert plan.models == ["mae-b-300", "cae-b-ema"] and {model for _, model in plan.cells} == {"mae-b-300"}
    assert set(plan.left_out) == {"segmentation", "detection", *(f"figure{i}" for i in (4, 5, 6, 7, 9))}
    assert plan.left_out["figure5"] == "it needs the model cae-b-1600, which is not in `only`"
    assert plan.figures == ["figure1", "figure2", "figure3", "figure8", "epochs", "tokenizer-dvae", "training"]
    assert plan.metrics_of("table7", "demo") == [] and plan.tables["table7"].rows
    assert demo(only=["cae-b-300-pixels", "cae-b-300-pixels-no-align"]).analyses == ["figure3", "figure4"]


def test_a_model_is_pretrained_on_imagenet():
    with pytest.raises(UserError, match="datasets.imagenet: null, but mae-b-1600 is pretrained here"):
        demo(datasets={"imagenet": None}, only=["mae-b-1600"])
    assert demo(datasets={"imagenet": None}, only=["random-b"]).untrained_models == ["random-b"]
    released = {"mae-b-300": {"source": "released", "file": "mae.pth"}}
    plan = demo(datasets={"imagenet": None}, only=["mae-b-300"], models=released, panels=["mae-b-300"])
    assert plan.figures == ["segmentation", "detection", "figure1", "figure2", "figure8"]
    assert {plan.data_of(protocol) for protocol, _ in plan.cells} == {"ade20k", "coco"}


def test_every_batch_is_known_by_its_key(paper):
    assert paper.batches == {
        "imagenet": {
            **{f"recipes.{method}.batch_size": size for method, size in (("cae", 2048), ("beit", 2048), ("mae", 4096))},
            "tokenizers.dvae-imagenet.batch_size": 512, "probes.linear.batch_size": 16384,
            "probes.attentive.batch_size": 8192, "finetune.batch_size": 4096,
        },
        "ade20k": {"ade20k.batch_size": 16}, "coco": {"coco.batch_size": 32, "coco.warmup_steps": 32 * 42},
        **dict.fromkeys(("food101", "clipart", "sketch"), {"transfer.batch_size": 1024}),
    }  # fmt: skip
    plan = demo(models={"cae-b-300": {"batch_size": 64}}, datasets={"coco": None})
    assert plan.batches["imagenet"]["models.cae-b-300.batch_size"] == 64 and "coco" not in plan.batches


def test_a_claim_of_a_cell_that_is_nowhere_is_told_before_any_work(tmp_path):
    text = (ROOT / "params/claims.yaml").read_text()
    (tmp_path / "claims.yaml").write_text(text.replace("[table2, cae-b-300, ade20k]", "[table2, cae-b-301, ade20k]", 1))
    with pytest.raises(
        UserError, match="claims.yaml: alignment: pairs.1: table2: unknown key 'cae-b-301'; did you mean"
    ):
        Plan(load(ROOT / "params/demo.yaml"), TABLES, str(tmp_path / "claims.yaml"))


def test_claims_ask_for_the_figures_that_a_scale_has():
    assert {"figure4", "figure5"} <= demo().claimed.keys()
    other = demo(analyses={"figure5": {"models": ["cae-b-300", "random-b"]}}, models={"cae-b-300-pixels": None})
    assert other.claimed["figure5"] == ["cae-b-300", "random-b"] and "figure4" not in other.claimed


@pytest.mark.parametrize(
    ("asked", "cores", "threads"),
    [(8, 1, 1), (8, 2, 1), (8, 6, 3), (8, 8, 4), (8, 12, 6), (8, 16, 8), (8, 64, 8), (4, 10, 3), (1, 2, 1), (1, 64, 1)],
)
def test_threads_fill_the_cores_with_two_jobs_or_more(asked, cores, threads):
    assert threads_side_by_side(asked, cores) == threads <= asked and (cores // threads >= 2 or cores == 1)


def test_threads_are_those_of_params_on_gpus_and_where_jobs_run_elsewhere(monkeypatch):
    raw = {"resources": {"pretrain": {"threads": 8, "gpus": 1}, "tokens": {"threads": 8, "gpus": 0}}}

    def threads(cores: int | None, gpu: bool) -> list[int]:
        monkeypatch.setattr("workflow.plan.has_gpu", lambda: gpu)
        plan = Plan(load(ROOT / "params/demo.yaml", raw), TABLES, cores=cores)
        return [plan.threads("pretrain"), plan.threads("tokens")]

    assert threads(None, False) == threads(None, True) == [8, 8]
    assert threads(4, False) == [2, 2] and threads(4, True) == [8, 2]
