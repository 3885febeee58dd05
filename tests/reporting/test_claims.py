"""Claims: numbers of tables and figures in, verdicts and the order of ours beside the paper's out."""

import csv
import re
from math import sqrt

import numpy as np
import pytest
import yaml

from cae.params import Claim
from cae.reporting import claims
from cae.reporting.claims import BINOMIAL, FLAT, IMAGES, SEEDS, verdict

TABLES = {
    "table1": {
        "title": "Probes",
        "columns": {"linear": "LIN", "attentive": "ATT"},
        "rows": [{"method": m, "model": m, "paper": {"linear": p}} for m, p in zip("abcde", (40.0, 30.0, 30.0, 20.0, 10.0))]
        + [{"method": "Quoted", "paper": {"linear": 99.0}}],
    },
    "table3": {
        "title": "Segmentation",
        "columns": {"ade20k": "mIoU"},
        "rows": [{"method": m, "model": m, "paper": {"ade20k": p}} for m, p in (("a", 48.0), ("b", 47.0))],
    },
}  # fmt: skip
IMAGES_EACH = 400


@pytest.fixture
def judge(tmp_path):
    """Judges claims of numbers {(table, model, column): ours, or (mean, sd)}; returns lines by file."""

    def judge(stated, numbers, figures=None):
        numbers = {key: value if isinstance(value, tuple) else (value, None) for key, value in numbers.items()}
        seeds = any(spread is not None for _, spread in numbers.values())
        inputs = []
        for name, table in TABLES.items():
            lines, cells = [], []
            for row in table["rows"]:
                line = {"model": row.get("model", "")}
                for column in table["columns"]:
                    ours, spread = numbers.get((name, row.get("model"), column), ("", None))
                    line |= {column: ours, f"{column}_paper": row["paper"].get(column, "")}
                    line |= {f"{column}_sd": spread, f"{column}_n": 3 if spread else 1} if seeds else {}
                    cells += [[row["model"], column, IMAGES_EACH]] if ours != "" else []
                lines.append(line)
            for path, head, body in (
                (f"{name}.csv", list(lines[0]), [line.values() for line in lines]),
                (f"{name}-cells.csv", ["model", "column", "val_images"], cells),
            ):
                with (tmp_path / path).open("w") as file:
                    csv.writer(file).writerows([head, *body])
                inputs.append(tmp_path / path)
        for name, (_, arrays) in (figures or {}).items():
            np.savez(tmp_path / f"{name}.npz", **arrays)
            inputs.append(tmp_path / f"{name}.npz")
        for name, content in {"tables.yaml": TABLES, "claims.yaml": stated}.items():
            (tmp_path / name).write_text(yaml.safe_dump(content, sort_keys=False))
        models = {name: models for name, (models, _) in (figures or {}).items()}
        out = tmp_path / "out/claims.csv"
        claims.main(tmp_path / "claims.yaml", tmp_path / "tables.yaml", models, inputs, "demo", out)
        return {file.name: list(csv.DictReader(file.open())) for file in out.parent.glob("*.csv")}

    return judge


def claim(*pairs, **more):
    return {
        "claim": "A | b is better",
        "place": "§4, Table 1",
        "pairs": [list(map(list, pair)) for pair in pairs],
        **more,
    }


LINEAR, ATTENTIVE, MIOU = ({m: (t, m, c) for m in "abcde"} for t, c in (
    ("table1", "linear"), ("table1", "attentive"), ("table3", "ade20k")))  # fmt: skip
AB = claim((LINEAR["a"], LINEAR["b"]))


def one(said):
    (line,) = said["claims.csv"]
    return line


@pytest.mark.parametrize("ours,expected", [(54.0, "holds"), (53.0, "undecided"), (47.0, "undecided"), (46.0, "fails")])
def test_accuracies_within_a_binomial_error_of_each_other_decide_nothing(judge, ours, expected):
    """At 50 % of 400 images the error is 2.5 points, of a difference 3.5."""
    said = judge({"ab": AB}, {LINEAR["a"]: ours, LINEAR["b"]: 50.0})
    line, (pair,) = one(said), said["claims-pairs.csv"]
    assert line["verdict"] == pair["verdict"] == expected and line["rule"] == f"above; noise: {BINOMIAL}"
    assert float(pair["noise"]) == pytest.approx(100 * sqrt(ours / 100 * (1 - ours / 100) / 400 + 0.25 / 400))
    assert float(pair["difference"]) == ours - 50 and line["difference"].startswith(f"{ours - 50:+.2f} ± 3.5")
    assert (line["paper"], line["ours"]) == ("40.0 / 30.0", f"{ours} / 50.0")
    assert list(line) == ["claim", "place", "paper", "ours", "difference", "verdict", "rule"]


@pytest.mark.parametrize("sd,expected", [(1.0, "holds"), (2.0, "undecided")])
def test_twice_the_deviation_over_seeds_goes_before_the_binomial_error(judge, sd, expected):
    """Of a difference of 4: 2 sqrt(sd² + 1) is 2.8 and 4.5."""
    said = judge({"ab": AB}, {LINEAR["a"]: (54.0, sd), LINEAR["b"]: (50.0, 1.0)})
    assert one(said)["verdict"] == expected and one(said)["rule"] == f"above; noise: {SEEDS}"
    assert float(said["claims-pairs.csv"][0]["noise"]) == pytest.approx(2 * sqrt(sd**2 + 1))


def test_seeds_of_one_side_alone_leave_the_rule_of_one_seed(judge):
    assert BINOMIAL in one(judge({"ab": AB}, {LINEAR["a"]: (60.0, 9.0), LINEAR["b"]: 50.0}))["rule"]
    segmented = claim((MIOU["a"], MIOU["b"]))
    assert FLAT in one(judge({"ab": segmented}, {MIOU["a"]: (60.0, 9.0), MIOU["b"]: 50.0}))["rule"]


@pytest.mark.parametrize("ours,expected", [(11.1, "holds"), (10.9, "undecided"), (9.1, "undecided"), (8.9, "fails")])
def test_without_an_error_of_its_own_a_point_decides(judge, ours, expected):
    line = one(judge({"ab": claim((MIOU["a"], MIOU["b"]))}, {MIOU["a"]: ours, MIOU["b"]: 10.0}))
    assert line["verdict"] == expected and line["rule"] == f"above; noise: {FLAT}"


def test_margins_of_both_kinds():
    def said(difference, noise, **more):
        return verdict(Claim.model_validate(claim((LINEAR["a"], LINEAR["b"]), **more)), difference, noise)

    far = {"points": 5}
    assert [said(d, 1, **far) for d in (6.5, 5.5, 4.5, 3.5)] == ["holds", "undecided", "undecided", "fails"]
    hardly_below = {"points": -2}
    assert [said(d, 1, **hardly_below) for d in (5, 0, -1.5, -2.5, -3.5)] == [
        "holds", "holds", "undecided", "undecided", "fails"]  # fmt: skip
    close = {"compare": "close", "points": 2}
    for sign in (1, -1):
        assert [said(sign * d, 1, **close) for d in (0.5, 1.5, 2.5, 3.5)] == [
            "holds",
            "undecided",
            "undecided",
            "fails",
        ]
        assert said(sign * 0.5, 3, **close) == "undecided"  # so much noise shows nothing to be close
    assert said(0.0, 0.0) == "undecided"


def test_all_pairs_must_hold_and_those_not_run_are_told(judge):
    def lines(numbers):
        return one(judge({"both": claim(*[(LINEAR[m], LINEAR["e"]) for m in "abc"])}, numbers))

    good, bad, even = 90.0, 10.0, 51.0
    a, b, c, e = (LINEAR[m] for m in "abce")
    assert lines({a: good, b: good, c: good, e: 50.0})["verdict"] == "holds"
    assert lines({a: good, b: even, c: good, e: 50.0})["verdict"] == "undecided"
    assert lines({a: bad, b: even, c: good, e: 50.0})["verdict"] == "fails"
    partly = lines({a: good, b: good, e: 50.0})
    assert partly["verdict"] == "holds" and partly["rule"].endswith("; 1 of 3 pairs not run at this scale, without c")
    assert partly["ours"] == "90.0 / 50.0; 90.0 / 50.0; –" and partly["paper"].count(";") == 2
    nothing = lines({a: good, b: good, c: good})
    assert [nothing[key] for key in ("ours", "difference", "verdict")] == ["", "", "not run"]
    assert nothing["rule"] == "above; not run at this scale, without e"
    assert lines({e: 1.0})["rule"] == "above; not run at this scale, without a, b, c"


def test_numbers_of_figures_have_errors_over_images_where_they_have_images(judge):
    def cell(figure, model, array):
        return figure, model, array

    models = ["a", "b"]
    figures = {
        "figure4": (models, {"mse": np.array([[0.04, 0.06, 0.05], [0.01, 0.03, 0.02]])}),
        "figure5": (models, {"purity": np.array([0.5, 0.495]), "purity_elsewhere": np.array([0.5, 0.4])}),
        "figure6": (models, {"outside": np.array([[0.4, 0.03], [0.35, 0.04]]), "outside_area": np.array(0.5)}),
    }
    stated = {
        "mse": claim((cell("figure4", "a", "mse"), cell("figure4", "b", "mse"))),
        "purity": claim((cell("figure5", "a", "purity"), cell("figure5", "b", "purity"))),
        "elsewhere": claim((cell("figure5", "a", "purity_elsewhere"), cell("figure5", "b", "purity_elsewhere"))),
        "same": claim((cell("figure6", "a", "outside"), cell("figure6", "b", "outside"))),
        "area": claim((cell("figure6", "b", "outside_area"), cell("figure6", "b", "outside"))),
        "object": claim((cell("figure6", "a", "object"), cell("figure6", "b", "object"))),
        "other model": claim((cell("figure6", "a", "outside"), cell("figure6", "c", "outside"))),
        "other figure": claim((cell("figure9", "a", "outside"), cell("figure9", "b", "outside"))),
    }
    said = judge(stated, {}, figures)
    found = [(line["verdict"], line["rule"]) for line in said["claims.csv"]]
    images, flat, lacking = f"above; noise: {IMAGES}", f"above; noise: {FLAT}", "above; not run at this scale, without "
    assert found == [("holds", images), ("undecided", flat), ("holds", flat), ("undecided", images), ("holds", images),
                     *(("not run", lacking + models) for models in ("a, b", "c", "a, b"))]  # fmt: skip
    numbers = [(float(pair["difference"]), float(pair["noise"])) for pair in said["claims-pairs.csv"][:5]]
    error = sqrt(2) / sqrt(3)  # of both, of three images a hundredth apart
    assert numbers == [pytest.approx(each) for each in [(3, error), (0.5, 1), (10, 1), (5, 5), (15, 4)]]
    assert {line["paper"] for line in said["claims.csv"]} == {""}


def test_a_single_image_has_no_error(judge):
    stated = {"mse": claim((("figure4", "a", "mse"), ("figure4", "b", "mse")))}
    line = one(judge(stated, {}, {"figure4": (["a", "b"], {"mse": np.array([[0.04], [0.02]])})}))
    assert (line["verdict"], line["rule"]) == ("holds", f"above; noise: {FLAT}")


def test_order_is_spearmans_and_kendalls_with_ties(judge):
    """Paper 40 30 30 20 10, ours 3 4 2 2 1. Ranks 5 3.5 3.5 2 1 and 4 5 2.5 2.5 1: rho = 7.25 / 9.5. Of the ten pairs
    (b, c) is tied in the paper and (c, d) in ours, (a, b) is reversed, seven agree: tau-b = 6 / 9."""
    ours = dict(zip("abcde", (3.0, 4.0, 2.0, 2.0, 1.0)))
    lines = judge({}, {LINEAR[m]: n for m, n in ours.items()} | {MIOU["a"]: 1.0, MIOU["b"]: 1.0})["order.csv"]
    linear, attentive, miou = lines
    assert (linear["table"], linear["column"], linear["rows"], linear["kept"]) == ("table1", "LIN", "5", "7 of 9")
    assert float(linear["spearman"]) == pytest.approx(7.25 / 9.5) and float(linear["kendall"]) == pytest.approx(6 / 9)
    assert list(attentive.values()) == ["table1", "ATT", "0", "", "", "0 of 0"]
    assert list(miou.values()) == ["table3", "mIoU", "2", "", "", "0 of 1"]  # ours are alike: no order to compare


def test_markdown_and_latex_say_the_same(judge, tmp_path):
    judge({"ab": AB}, {LINEAR["a"]: 60.0, LINEAR["b"]: 50.0})
    markdown, latex = ((tmp_path / f"out/claims.{kind}").read_text() for kind in ("md", "tex"))
    (line,) = [line for line in markdown.splitlines() if "Table 1" in line]
    cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
    assert cells[:4] == [r"A \| b is better", "§4, Table 1", "40.0 / 30.0", "60.0 / 50.0"] and cells[5] == "holds"
    assert re.findall(r"\\(?:begin|end)\{(\w+)\}", latex) == ["longtable", "longtable"]
    assert r"\S{}4, Table 1 & 40.0 / 30.0 & 60.0 / 50.0 & +10.00 $\pm$ 3.50 & holds & above" in latex
    assert "one seed" in markdown and (tmp_path / "out/order.md").read_text().count("table1") == 2
