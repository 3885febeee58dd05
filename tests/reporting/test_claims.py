"""Claims: numbers of tables and figures in, verdicts and the order of ours beside the paper's out."""

import csv
import re
from math import sqrt
from statistics import mean, stdev

import numpy as np
import pytest
import yaml
from scipy import stats

from cae.params import Claim
from cae.reporting import claims
from cae.reporting.claims import verdict

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
    """Judges claims of numbers {(table, model, column): ours, or a list of each seed's}; returns lines by file."""

    def judge(stated, numbers, figures=None, images=IMAGES_EACH):
        numbers = {key: value if isinstance(value, list) else [value] for key, value in numbers.items()}
        several = any(len(values) > 1 for values in numbers.values())
        inputs = []
        for name, table in TABLES.items():
            lines, cells = [], []
            for row in table["rows"]:
                line = {"model": row.get("model", "")}
                for column in table["columns"]:
                    values = numbers.get((name, row.get("model"), column), [])
                    line |= {column: mean(values) if values else "", f"{column}_paper": row["paper"].get(column, "")}
                    spread = stdev(values) if len(values) > 1 else ""
                    line |= {f"{column}_sd": spread, f"{column}_n": len(values) or ""} if several else {}
                    for seed, value in enumerate(values):
                        cells.append([row["model"] + (f"@{seed}" if seed else ""), column, value, images])
                lines.append(line)
            for path, head, body in (
                (f"{name}.csv", list(lines[0]), [line.values() for line in lines]),
                (f"{name}-cells.csv", ["model", "column", "value", "val_images"], cells),
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
        about = {"claims": tmp_path / "claims.yaml", "tables": tmp_path / "tables.yaml"}
        claims.main(*inputs, **about, figures=models, scale="demo", output=out)
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


def binomial(ours, other, images=IMAGES_EACH):
    return 1.959964 * 100 * sqrt(sum(p / 100 * (1 - p / 100) / images for p in (ours, other)))


@pytest.mark.parametrize("ours,expected", [(58.0, "holds"), (56.0, "undecided"), (44.0, "undecided"), (42.0, "fails")])
def test_one_seeds_accuracies_within_their_binomial_interval_decide_nothing(judge, ours, expected):
    """At 50 % of 400 images the standard error is 2.5 points, of a difference 3.5; 1.96 of these are 6.9."""
    said = judge({"ab": AB}, {LINEAR["a"]: ours, LINEAR["b"]: 50.0})
    line, (pair,) = one(said), said["claims-pairs.csv"]
    assert (
        line["verdict"] == pair["verdict"] == expected
        and line["rule"] == "above; binomial interval, 400 images, one seed"
    )
    assert float(pair["noise"]) == pytest.approx(binomial(ours, 50), rel=1e-6) and pair["seeds"] == "1"
    assert float(pair["difference"]) == ours - 50 and line["difference"].startswith(f"{ours - 50:+.2f} ± 6.")
    assert (line["paper"], line["ours"]) == ("40.0 / 30.0", f"{ours} / 50.0")
    assert list(line) == ["claim", "place", "paper", "ours", "difference", "verdict", "rule"]


@pytest.mark.parametrize("left,expected", [([57.0, 58.0, 57.9], "holds"), ([57.0, 58.0, 53.0], "undecided")])
def test_several_seeds_are_compared_pair_by_pair(judge, left, expected):
    """By SciPy's t test of related samples, whose interval excludes 0 where its p is below 5 %."""
    right = [50.0, 51.0, 50.5]
    said = judge({"ab": AB}, {LINEAR["a"]: left, LINEAR["b"]: right}, images=1_000_000)
    test = stats.ttest_rel(left, right)
    low, high = test.confidence_interval(0.95)
    (pair,) = said["claims-pairs.csv"]
    assert float(pair["difference"]) == pytest.approx((low + high) / 2) and pair["seeds"] == "3"
    assert float(pair["noise"]) == pytest.approx((high - low) / 2)
    assert one(said)["rule"] == "above; t interval, 3 seeds, paired"
    assert one(said)["verdict"] == expected and (test.pvalue < 0.05) == (expected == "holds")


def test_what_two_sides_share_cancels_seed_by_seed(judge):
    """The seeds spread by 10 points, the differences by a tenth: unpaired, three seeds would decide nothing."""
    left, right = [42.0, 52.1, 62.1], [40.0, 50.0, 60.1]
    assert stats.ttest_ind(left, right).pvalue > 0.8
    assert one(judge({"ab": AB}, {LINEAR["a"]: left, LINEAR["b"]: right}, images=1_000_000))["verdict"] == "holds"


def test_two_seeds_decide_little(judge):
    """-2.41, of which two standard deviations are 1.69: one degree of freedom, whose interval is 12.7 standard errors."""
    left, right = [47.0, 47.6], [49.193, 50.227]
    assert 2 * np.hypot(stdev(left), stdev(right)) == pytest.approx(1.69, abs=1e-3)
    line = one(judge({"ab": AB}, {LINEAR["a"]: left, LINEAR["b"]: right}, images=1_000_000))
    assert line["difference"] == "-2.41 ± 2.76" and line["verdict"] == "undecided"
    assert line["rule"] == "above; t interval, 2 seeds, paired"
    steady = judge({"ab": AB}, {LINEAR["a"]: [47.0, 47.6], LINEAR["b"]: [49.4, 50.05]}, images=1_000_000)
    assert one(steady)["verdict"] == "fails"


def test_seeds_that_agree_by_chance_do_not_outdo_the_images(judge):
    """All are measured on the same images: on 400 of them 4 points are nothing, however little the seeds differ."""
    said = judge({"ab": AB}, {LINEAR["a"]: [54.0, 54.0, 54.1], LINEAR["b"]: [50.0, 50.0, 50.1]})
    assert one(said)["verdict"] == "undecided" and one(said)["rule"] == "above; binomial interval, 400 images, 3 seeds"
    assert float(said["claims-pairs.csv"][0]["noise"]) == pytest.approx(binomial(54.0333, 50.0333), rel=1e-4)


def test_seeds_of_one_side_alone_leave_the_rule_of_one_seed(judge):
    line = one(judge({"ab": AB}, {LINEAR["a"]: [60.0, 51.0, 69.0], LINEAR["b"]: 50.0}))
    assert line["rule"] == "above; binomial interval, 400 images, one seed in common" and line["difference"].startswith(
        "+10.00"
    )
    segmented = claim((MIOU["a"], MIOU["b"]))
    line = one(judge({"ab": segmented}, {MIOU["a"]: [60.0, 61.0], MIOU["b"]: 50.0}, images=2000))
    assert line["rule"] == "above; no error known, 1.0 points by convention, one seed in common"


def test_of_more_seeds_those_that_both_have_are_compared(judge):
    said = judge({"ab": AB}, {LINEAR["a"]: [54.0, 55.0, 90.0], LINEAR["b"]: [50.0, 50.6]}, images=1_000_000)
    assert one(said)["difference"].startswith("+4.20") and one(said)["rule"].endswith(
        "t interval, 2 seeds in common, paired"
    )


def test_mean_iou_of_several_seeds_has_an_error(judge):
    segmented, left, right = claim((MIOU["a"], MIOU["b"])), [30.0, 30.4, 30.1], [29.5, 29.8, 29.7]
    said = judge({"ab": segmented}, {MIOU["a"]: left, MIOU["b"]: right}, images=20)
    low, high = stats.ttest_rel(left, right).confidence_interval(0.95)
    assert (
        float(said["claims-pairs.csv"][0]["noise"]) == pytest.approx((high - low) / 2)
        and one(said)["verdict"] == "holds"
    )


@pytest.mark.parametrize("images,ours,expected", [
    (2000, 11.1, "holds"), (2000, 10.9, "undecided"), (2000, 9.1, "undecided"), (2000, 8.9, "fails"), (20000, 10.9, "undecided"),
    (500, 11.9, "undecided"), (500, 12.1, "holds"), (20, 19.9, "undecided"), (20, 20.1, "holds"),
])  # fmt: skip
def test_without_an_error_of_its_own_a_point_counts_on_the_papers_images_and_more_on_fewer(
    judge, images, ours, expected
):
    line = one(judge({"ab": claim((MIOU["a"], MIOU["b"]))}, {MIOU["a"]: ours, MIOU["b"]: 10.0}, images=images))
    points = f"{max(1, sqrt(2000 / images)):.1f}"
    assert line["verdict"] == expected
    assert line["rule"] == f"above; no error known, {points} points by convention, one seed"


@pytest.mark.parametrize("n", [2, 3, 5])
def test_of_pairs_of_equals_five_in_a_hundred_are_called(n):
    rng, above = np.random.default_rng(0), Claim.model_validate(claim((LINEAR["a"], LINEAR["b"])))
    verdicts = []
    for pair in rng.normal(50, 1, (1000, 2, n)):
        seeds = [dict(zip("012345", values)) for values in pair]
        numbers = [claims.Number(None, values.mean(), by_seed) for values, by_seed in zip(pair, seeds)]
        verdicts.append(claims.compare(above, *numbers)["verdict"])
    assert all(10 <= verdicts.count(verdict) <= 40 for verdict in ("holds", "fails"))  # 25 are expected


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
        "figure4": (models, {"mse": np.array([[0.04, 0.06, 0.055], [0.01, 0.03, 0.02]])}),
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
    images, lacking = "above; interval over images, one seed", "above; not run at this scale, without "
    flat = "above; no error known, 1.0 points by convention, one seed"
    paired = "above; t interval, 3 images, paired, one seed"
    assert found == [("holds", paired), ("undecided", flat), ("holds", flat), ("undecided", images), ("holds", images),
                     *(("not run", lacking + models) for models in ("a, b", "c", "a, b"))]  # fmt: skip
    numbers = [(float(pair["difference"]), float(pair["noise"])) for pair in said["claims-pairs.csv"][:5]]
    low, high = stats.ttest_rel([4, 6, 5.5], [1, 3, 2]).confidence_interval(0.95)  # image by image
    expected = [((low + high) / 2, (high - low) / 2), (0.5, 1), (10, 1), (5, 1.959964 * 5), (15, 1.959964 * 4)]
    assert numbers == [pytest.approx(each, rel=1e-6) for each in expected]
    assert {line["paper"] for line in said["claims.csv"]} == {""}


def test_a_single_image_has_no_error(judge):
    stated = {"mse": claim((("figure4", "a", "mse"), ("figure4", "b", "mse")))}
    line = one(judge(stated, {}, {"figure4": (["a", "b"], {"mse": np.array([[0.04], [0.02]])})}))
    assert (line["verdict"], line["rule"]) == ("holds", "above; no error known, 1.0 points by convention, one seed")


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
    assert r"\S{}4, Table 1 & 40.0 / 30.0 & 60.0 / 50.0 & +10.00 $\pm$ 6.86 & holds & above" in latex
    assert "one seed" in markdown and (tmp_path / "out/order.md").read_text().count("table1") == 2
