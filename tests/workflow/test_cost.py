"""What a scale costs: its jobs are Snakemake's, each has its cost, and sums, rates and chains are right."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import timm
from torch.utils.flop_counter import FlopCounterMode

from cae.cli import main
from cae.data.demo import SIZES
from cae.errors import UserError
from cae.params import load
from cae.tasks import probe
from tests.conftest import ROOT
from tests.workflow.conftest import ALL
from workflow.cost import processor
from workflow.cost import work as cost
from workflow.cost.cards import Card, given_cards
from workflow.cost.report import job_frame, longest_chain, number, report, total
from workflow.cost.work import Costs, Work
from workflow.jobs import Job, all_needed, gpus_of, graph_of
from workflow.plan import Plan

TABLES, CLAIMS = str(ROOT / "params/tables.yaml"), str(ROOT / "params/claims.yaml")
SCRIPT = """
import json, sys
from pathlib import Path
from cae.params import validate
from workflow.cost.cards import given_cards
from workflow.cost.report import report
from workflow.cost.work import Costs
from workflow.jobs import all_needed, graph_of, jobs_of
from workflow.params import read_params
from workflow.plan import Plan
files = [Path("params/demo-all.yaml")]
costs = Costs(Plan(validate(read_params(files, {}))))
jobs = jobs_of(files, {})
said = lambda job: " ".join([job.rule, *(v for k, v in job.wildcards.items() if k != "scale")])
ends = {job.wildcards["table"]: [job] for job in jobs if job.rule == "table"}
print(json.dumps({
    "jobs": [said(job) for job in jobs], "left": sum(job.left for job in jobs),
    "table2": [said(job) for job in all_needed(graph_of(jobs), ends["table2"])],
    "report": report({job: costs.of(job.rule, job.wildcards) for job in jobs}, costs, given_cards([], 1e12, None, 0.5, costs)),
}))
"""


@pytest.fixture(scope="module")
def paper() -> Costs:
    return Costs(Plan(load(ROOT / "params/paper.yaml"), TABLES, CLAIMS))


def test_jobs_are_those_that_snakemake_would_run(tree):
    planned = json.loads(tree.run(sys.executable, "-c", SCRIPT).splitlines()[-1])
    jobs = tree.dry_run(*ALL)
    assert sorted(planned["jobs"]) == sorted(jobs) and planned["left"] == len(jobs)
    assert {*planned["table2"], "table2"} == tree.dry_run("table2", *ALL).keys()
    rows = {line.split("  ")[0]: line.split() for line in planned["report"].splitlines()}
    assert {*(f"table{i}" for i in range(1, 8)), "figures", "pretrain_model"} <= rows.keys()
    assert rows["table2"][1] == str(len(planned["table2"]))
    whole = rows["everything, each once"][3:]
    assert whole[0] == str(len(jobs)) and float(whole[0]) < sum(float(rows[f"table{i}"][1]) for i in range(1, 8))


def test_what_needs_a_gpu_has_a_cost():
    """A rule of the workflow that asks for one and is not known here would count nothing."""
    rules = [text for path in (ROOT / "workflow/rules").glob("*.smk") for text in path.read_text().split("\nrule ")[1:]]
    on_gpus = {text.partition(":")[0] for text in rules if "--gpus" in text}
    assert {"pretrain_model", "probe", "tokenize"} <= on_gpus
    assert all(hasattr(Costs, rule) for rule in on_gpus)


def test_costs_of_the_paper_are_known_numbers(paper):
    """CAE-B: 55.2 G multiply-adds an image (counted by hand from the public code's layers); DALL-E's encoder 26.06 G."""
    images = 1600 * 1_281_167
    assert paper.pretrain_model("cae-b-1600").flops == pytest.approx(2 * 55.2e9 * images, rel=0.01)
    shard = paper.tokenize("dalle", "1", "64")
    assert 64 * shard.flops == pytest.approx(2 * 26.06e9 * images, rel=0.01) and shard.precision == "float32"
    assert paper.list_tokens("dalle").tokens == images * 196 * 2  # 0.8 TB
    assert paper.pretrain_model("random-b").flops == 0
    assert (
        paper.finetune("finetune", "cae-l-1600").flops < paper.finetune("finetune", "cae-b-1600").flops * 2
    )  # 50, 100 epochs
    assert paper.pretrain_model("cae-b-1600").weights > 3 * 148e6 * 4  # 148 M parameters with two moments each
    assert cost.KEPT == probe.KEEP_BYTES


def test_probing_encodes_a_view_once_where_it_is_kept():
    def passes(views: int) -> float:
        raw = {"probes": {"epochs": 40, "views": views}}
        costs = Costs(Plan(load(ROOT / "params/demo-all.yaml", raw), TABLES, CLAIMS))
        return costs.probe("cae-b-300").flops

    assert passes(2) < passes(4) < 2 * passes(2)


def test_what_is_released_saves_its_pretraining(paper):
    released = paper.released()
    assert set(released) == set(paper.plan.released_models)  # none needs tokens that are not made anyway
    assert released["mae-b-1600"].flops == paper.pretrain_model("mae-b-300").flops * 1600 / 300


def chain(**flops: float) -> dict[Job, Work]:
    """Two rows that share a first job: a <- b, a <- c; an end that needs both."""
    jobs = {name: Job("probe", {}, 2, True) for name in "abc"}
    jobs["b"].needs, jobs["c"].needs = [jobs["a"]], [jobs["a"]]
    works = {jobs[name]: Work(flops[name], 1.0, name=name, precision="bfloat16") for name in "abc"}
    return {Job("all", {}, 0, True, [jobs["b"], jobs["c"]]): Work()} | works


def hours(works: dict[Job, Work], ends: list[Job], card: Card) -> str:
    frame = job_frame(works, [card])
    return total(frame[frame.job.isin(all_needed(graph_of(list(works)), ends))][card.name])


def test_a_shared_job_counts_once_and_the_longest_chain_is_found(paper):
    card = Card("one", {}, {"bfloat16": 1 / 3600}, paper)  # a FLOP an hour
    works = chain(a=10.0, b=4.0, c=6.0)
    end, a, b, c = works
    assert [all_needed(graph_of(list(works)), ends) for ends in ([b], [c], [end])] == [{b, a}, {c, a}, set(works)]
    assert [hours(works, ends, card) for ends in ([b], [c], [end])] == ["14", "16", "20"]
    frame = job_frame(works, [card])
    assert longest_chain(frame, card) == longest_chain(frame, None) == [a, c]
    shown = [line.split() for line in report(works, paper, [card]).splitlines()]
    (whole,) = [line for line in shown if line[:1] == ["everything,"]]
    assert whole[3:9] == ["4", "4", "3", "2e-11", "20", "8"]  # jobs, to run, with FLOPs, TFLOP, hours; two GPUs each


def test_hours_without_a_rate_are_a_lower_bound(paper):
    card = Card("one", {"probe": {"a": Work(flops=1 / 3600, unit=1.0)}}, {}, paper)
    works = chain(a=10.0, b=4.0, c=6.0)
    end, a, b, c = works
    assert hours(works, [end], card) == "20"  # the others as the rule's nearest
    b.rule = "segment"
    assert hours(works, [end], card) == ">= 16"


def test_rates_are_of_the_job_the_method_or_the_precision(paper, tmp_path):
    file = tmp_path / "v100.yaml"
    file.write_text("device: V100\nimages_per_second:\n  pretrain_model: {cae-b-300: 100, mae-b-300: 300}\n")
    (card,) = given_cards([file], 1e15, None, 0.25, paper)
    work = {name: paper.pretrain_model(name) for name in ("cae-b-1600", "mae-b-300", "cae-l-1600", "beit-b-300")}
    hours = {name: card.hours("pretrain_model", each) for name, each in work.items()}
    assert card.name == "V100" and hours["cae-b-1600"] == pytest.approx(1600 * 1_281_167 / 100 / 3600)
    assert hours["mae-b-300"] == pytest.approx(300 * 1_281_167 / 300 / 3600)
    per_flop = hours["cae-b-1600"] / work["cae-b-1600"].flops
    assert hours["cae-l-1600"] == pytest.approx(work["cae-l-1600"].flops * per_flop)
    assert hours["beit-b-300"] == pytest.approx(work["beit-b-300"].flops / 2.5e14 / 3600)  # no rate of its method
    assert card.hours("tokenize", paper.tokenize("dalle", "1", "64")) is None  # float32, of which nothing is said


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("images_per_second: {pretrain_model: {cae-b-30: 100}}", "did you mean 'cae-b-300'"),
        ("images_per_second: {pretrain: {cae-b-300: 100}}", "images_per_second.pretrain"),
        ("images_per_second: {probe: {cae-b-300: fast}}", "'fast' is no number above 0"),
        ("speed: 3", "not a file of rates"),
        ("[", "line [0-9]: not valid YAML"),
        ("device: a\ndevice: b", "line 2: device is there twice"),
        ("images_per_second: {pretrain_model: {cae-b-300: .inf}}", "inf is no number above 0"),
    ],
)
def test_a_wrong_file_of_rates_is_told(paper, tmp_path, text, told):
    file = tmp_path / "rates.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match=told):
        given_cards([file], None, None, 1.0, paper)
    with pytest.raises(UserError, match="no such file"):
        given_cards([Path("nowhere.json")], None, None, 1.0, paper)


def test_sizes_are_of_the_manifest_where_there_is_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    splits = {"train": {"images": ["a", "b", "c"], "bytes": [5, 6, 7]}, "val": {"images": ["d"], "bytes": [2]}}
    Path("data/paper").mkdir(parents=True)
    Path("data/paper/imagenet.json").write_text(json.dumps({"splits": splits, "classes": ["x", "y"]}))
    monkeypatch.chdir(ROOT)
    plan = Plan(load(ROOT / "params/paper.yaml"), TABLES, CLAIMS)
    monkeypatch.chdir(tmp_path)
    sizes = cost.sizes(plan)
    assert sizes["imagenet"] == (3, 1, 2, 20, "data/paper/imagenet.json")
    assert sizes["ade20k"].train == 20_210 and sizes["ade20k"].source == "as published"


def test_sizes_of_what_the_project_makes_are_as_params_say(tmp_path, monkeypatch):
    plan = Plan(load(ROOT / "params/demo.yaml", {"datasets": {"ade20k": {"scenes": [30, 7]}}}), TABLES, CLAIMS)
    monkeypatch.chdir(tmp_path)  # no manifest is there
    assert cost.sizes(plan)["ade20k"][:2] == (30, 7) and cost.sizes(plan)["imagenet"][:2] == SIZES["imagenet"]


def test_gpus_of_a_job_are_those_of_all_its_nodes():
    plan = Plan(load(ROOT / "params/paper.yaml", {"resources": {"pretrain": {"nodes": 4}}}), TABLES, CLAIMS)
    asked = [plan.machines("pretrain"), plan.machines("finetune"), plan.machine("probe"), plan.machine("report")]
    assert [gpus_of(resources) for resources in asked] == [32, 8, 1, 0]


def test_numbers_have_three_digits():
    assert [number(value) for value in (0, 0.01234, 12.34, 123.4, 12345.6)] == ["0", "0.0123", "12.3", "123", "12,346"]


def test_the_command_is_called_beside_the_snakefile(tmp_path):
    (tmp_path / "installed").mkdir()
    (tmp_path / "installed/cae").symlink_to(ROOT / "cae")
    command = [sys.executable, "-m", "cae", "cost", "--params", "params/paper.yaml"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "installed")}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (
        done.returncode
        and done.stderr == f"cae cost: no workflow in {tmp_path}: call it in the folder of the Snakefile\n"
    )


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--params", "params/papers.yaml"], "cae cost: params/papers.yaml: no such params file"),
        (["--config", "seed"], "cae cost: --config: .*'seed'"),
        (["--config", "sede=1"], "cae cost: --config: unknown key 'sede'; did you mean 'seed'"),
    ],
)
def test_wrong_options_are_told_in_a_line(monkeypatch, options, told):
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit, match=told):
        main(["cost", *options])


@pytest.fixture(scope="module")
def released() -> Costs:
    return Costs(Plan(load(ROOT / "params/released.yaml"), TABLES, CLAIMS))


def test_released_checkpoints_cost_evaluation_alone(released, paper):
    plan = released.plan
    assert not plan.trained and not plan.wanted_caches and not plan.tokenizers
    for table in ("table1", "table3", "table4", "table5", "table6"):
        models = {model for _, model in plan.cells_of(table)}
        assert models and all(released.pretrain_model(model).flops == 0 for model in models - {*plan.released_models})
    files = {plan.recipes[f"cae-{name}"].file for name in ("b-300", "b-800", "b-1600", "l-1600")}
    assert len(files) == 4
    same = {"source": None, "file": None}  # evaluated, and told in tables, as in the paper
    for model in plan.models:
        assert plan.recipes[model].model_copy(update=same) == paper.plan.recipes[model].model_copy(update=same)
    assert not {"figure5", "figure6", "figure7", "figure9"} & plan.left_out.keys()


def test_what_they_save_is_what_the_paper_would_pay(released, paper):
    cae = [f"cae-{name}" for name in ("b-300", "b-800", "b-1600", "l-1600")]
    saved = released.released()
    assert saved.keys() == {*paper.released(), *cae, "tokens of dalle"}
    assert all(saved[model] == paper.pretrain_model(model) for model in cae)
    assert saved["tokens of dalle"].flops == pytest.approx(64 * paper.tokenize("dalle", "1", "64").flops)


def test_data_that_are_not_listed_are_told_first(paper, tmp_path, monkeypatch):
    card = Card("one", {}, {"bfloat16": 1.0}, paper)
    first = report(chain(a=1.0, b=1.0, c=1.0), paper, [card], "--configfile params/paper.yaml").split("\n\n")[0]
    assert first.startswith("NOT YOUR DATA: ") and "imagenet with 1,281,167 + 50,000" in first
    assert "`snakemake --cores all --configfile params/paper.yaml -- data`" in first
    made = Costs(Plan(load(ROOT / "params/demo.yaml"), TABLES, CLAIMS))
    assert report(chain(a=1.0, b=1.0, c=1.0), made, [card]).startswith("Scale demo: 4 jobs.")


def test_without_a_gpu_hours_are_this_processors(paper, monkeypatch):
    monkeypatch.setattr(processor, "block_rate", lambda recipe: 2e9)
    monkeypatch.setattr(processor, "cores", lambda: 4)
    card, note = processor.processor(paper, paper.plan.recipes["cae-b-1600"])
    assert card.hours("probe", Work(flops=3600 * 4e9, precision="bfloat16")) == pytest.approx(1.0)  # half of 4 x 2e9
    assert "all 4 cores" in note and "2 GFLOP/s" in note
    for has_gpu in (lambda: False, lambda: True):
        monkeypatch.setattr("workflow.cost.report.has_gpu", has_gpu)
        text = report(chain(a=1.0, b=1.0, c=1.0), paper, [])
        assert ("this processor" in text) is not has_gpu() and "no rate is given" in text


def test_the_rate_of_a_processor_counts_what_a_block_multiplies(paper, monkeypatch):
    """As PyTorch counts it, if each pass took a second."""
    ticks = iter(range(100))
    monkeypatch.setattr(processor.time, "process_time", lambda: float(next(ticks)))
    monkeypatch.setattr(timm.layers.config, "_USE_FUSED_ATTN", 0)  # which PyTorch does not count on a CPU
    recipe = paper.plan.recipes["cae-s-300"]
    with FlopCounterMode(display=False) as counter:
        rate = processor.block_rate(recipe)
    assert next(ticks) == 4  # a pass that is not timed, and one that is
    assert rate == pytest.approx(counter.get_total_flops() / 2, rel=0.001)
