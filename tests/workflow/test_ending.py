"""The last lines of a run that made all that was asked for."""

import json
from pathlib import Path

import pytest

from cae.params import load
from tests.conftest import ROOT
from workflow.hooks.ending import headline
from workflow.plan import Plan


def plan_of(**changes) -> Plan:
    return Plan(
        load(ROOT / "params/demo.yaml", changes), str(ROOT / "params/tables.yaml"), str(ROOT / "params/claims.yaml")
    )


@pytest.fixture
def score(tmp_path, monkeypatch):
    """A function that writes a cell's metrics; the headline then finds them."""

    def score(protocol: str, model: str, **metrics: float) -> None:
        file = Path(f"results/demo/evaluate/{protocol}/{model}.json")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(metrics))

    monkeypatch.chdir(tmp_path)
    return score


def rows(plan: Plan) -> dict[str, list[str]]:
    lines = headline(plan)
    assert lines[0].split() == ["epochs", "finetune", "linear", "attentive", "ade20k", "coco-mask"]
    assert lines[1].split() == [*["top1,", "%"] * 3, "miou,", "%", "box_ap,", "%"]
    return {line.split()[0]: line.split()[1:] for line in lines[3:] if line}


def test_the_longest_cae_is_compared_with_random_weights_and_the_longest_mae(score, monkeypatch):
    with monkeypatch.context() as at_home:
        at_home.chdir(ROOT)
        plan = plan_of()
    for model, number in (("cae-b-1600", 66.67), ("random-b", 54.6), ("mae-b-1600", 70.25), ("cae-b-300", 99.0)):
        score("attentive", model, top1=number, top5=100.0)
    score("ade20k", "cae-b-1600", miou=22.04, accuracy=99.0)
    assert rows(plan) == {
        "cae-b-1600": ["15", "–", "–", "66.7", "22.0", "–"],
        "random-b": ["0", "–", "–", "54.6", "–", "–"],
        "mae-b-1600": ["15", "–", "–", "70.2", "–", "–"],
    }


def test_of_several_seeds_the_mean_its_spread_and_their_number_are_shown(score, monkeypatch):
    with monkeypatch.context() as at_home:
        at_home.chdir(ROOT)
        plan = plan_of(seeds=[0, 1, 5])
    for model, number in (("cae-b-1600", 60.0), ("cae-b-1600@1", 64.0), ("random-b@5", 50.0)):
        score("attentive", model, top1=number)
    (line,) = [line for line in headline(plan) if line.startswith("cae-b-1600")]
    assert "  62.0 ± 2.8 (n = 2)  " in line
    assert rows(plan)["random-b"] == ["0", "–", "–", "50.0", "–", "–"]


def test_a_scale_without_cae_has_no_headline():
    assert headline(plan_of(only=["random-b", "mae-b-1600"])) == []


def test_models_of_another_size_are_not_compared():
    lines = "\n".join(headline(plan_of(only=["cae-b-1600", "mae-l-1600", "mae-b-300", "random-l"])))
    assert "mae-b-300" in lines and "mae-l-1600" not in lines and "random-l" not in lines


def test_a_run_ends_with_what_it_made(tree):
    run = "snakemake", "--cores", "2"
    drawing = "reports/demo/figures/figure8.png"
    for target in ("figure8", drawing):  # the second finds nothing to do
        assert tree.run(*run, "--", target).endswith(f"\n{drawing}\n")
    for more in (("--dry-run",), ("--touch",)):
        assert not tree.run(*run, *more, "--", drawing).endswith(f"{drawing}\n")
    end = tree.run(*run).partition("Elapsed time")[2].splitlines()
    assert end[-1] == "The report: reports/demo/index.html"
    assert any(line.split() == ["cae-b-1600", "15", "12.5", "12.5", "12.5", "25.0", "50.0"] for line in end)
    assert any("reports/demo/tables/claims.md" in line for line in end)
    again = tree.run(*run)
    assert "Nothing to be done" in again and again.endswith("The report: reports/demo/index.html\n")
