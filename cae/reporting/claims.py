"""Claims: what the paper says of its numbers, asked of ours; and how far ours keep the paper's order.

A claim holds where every pair of its cells that was run is on the right side of the margin by more than its noise, fails
where one is as far on the wrong side, and is undecided between. A pair's noise is half of a two-sided 95 % confidence
interval of its difference: both ends are used, since a pair may hold or fail, and each is wrong by chance in at most one of
forty pairs. (A claim holds by all of its pairs, but fails by one: of forty pairs of equals, expect one that fails.)

- Both cells have several seeds in common: Student's t of the differences seed by seed, as one seed gives both sides the same
  views in the same order. With two seeds that is 12.7 standard errors, with three 4.3. Of accuracies the next interval
  instead, where it is wider: all seeds are measured on the same images, and their spread does not tell what others would give.
- Accuracies on n validation images: 1.96 standard errors sqrt(p (1 - p) / n), of both sides together. Both see the same
  images, so McNemar's test would find more, but it needs each image's predictions, which are not kept. With one seed this
  speaks of the two networks alone: what another seed gives is not known.
- Arrays of figures: Student's t of the differences image by image, where there is a number for each; 1.96 standard errors over
  images of both sides together, where there is a mean with its error.
- mIoU, AP and purity of one seed have no known error. By convention it is one point on as many images as the paper has
  (2,000 of ADE20K, 5,000 of COCO), and more on fewer, as 1 / sqrt(n).
"""

from itertools import combinations
from math import hypot, sqrt
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from cae.files import write_text
from cae.options import Claims, Figures, Inputs, OutputFile, Scale, Tables
from cae.params import FIGURES, Cell, Claim, Table, read
from cae.reporting.tables import escape_latex

NORMAL = 1.959964  # standard errors of a 95 % interval
POINT = 1.0
MIOU_IMAGES, AP_IMAGES = 2000, 5000  # validation images of ADE20K and COCO, on which the convention is one point
HOLDS, FAILS, UNDECIDED, NOT_RUN = "holds", "fails", "undecided", "not run"
NOTE = (
    "Each claim compares pairs of numbers, left / right, and holds where all of them fulfil it, fails where one does not; the "
    "difference is left less right, of ours, in points; of figures, shares and squared errors are in hundredths. Behind ± is "
    "half of a 95 % confidence interval of the difference: where it reaches the margin, the pair is undecided; of forty pairs "
    "of equals one is called above and one below by chance. With several seeds it is Student's t over the differences seed by "
    "seed, or, where that is wider, the binomial interval over the validation images. With one seed it is the latter "
    "(McNemar's test would need each image's predictions), which does not tell what another seed would give; mIoU and AP have "
    "no known error then, and count, by convention, from one point on as many images as the paper has, from more on fewer. The "
    "rule names which it is, and the number of seeds or images. –: not run; the verdict is that of the pairs that were."
)
ORDER_NOTE = (
    "Rank correlations of ours with the paper's numbers, over the rows that have both; pairs of rows are those that the paper "
    "tells apart."
)


class Number(NamedTuple):
    """A cell: the paper's number and ours, None for none, and what the noise of ours is known by."""

    paper: float | None
    ours: float | None
    seeds: dict[str, float] = {}  # ours by seed; "" is the first
    images: int | None = None  # validation images behind it
    each: np.ndarray | None = None  # one number an image
    error: float | None = None  # the standard error over images
    convention: float = POINT  # points that count where no error is known


def main(*inputs: Inputs, claims: Claims, tables: Tables, figures: Figures, scale: Scale, output: OutputFile) -> None:
    """Judge the paper's claims, and its order, by our numbers.

    Writes `output` (claims.csv) and, beside it, .md and .tex, claims-pairs.csv with a line a pair, order.csv and order.md.
    `inputs`: the scale's <table>.csv, <table>-cells.csv and <figure>.npz; `figures`: the models in these, in their order.
    """
    paths = {Path(path).stem: Path(path) for path in inputs}
    known = {name: Table.model_validate(raw) for name, raw in read(tables).items() if name in paths}
    sheets = {
        name: (table, *(pd.read_csv(paths[stem]) for stem in (name, f"{name}-cells"))) for name, table in known.items()
    }
    arrays = {name: (models, np.load(paths[name])) for name, models in figures.items()}

    def number(cell: Cell) -> Number:
        return of_figure(cell, arrays) if cell.where in FIGURES else of_table(cell, *sheets[cell.where])

    lines, pairs = [], []
    for claim in (Claim.model_validate(raw) for raw in read(claims).values()):
        numbers = [[number(cell) for cell in pair] for pair in claim.pairs]
        compared = [compare(claim, *pair) for pair in numbers]
        cells = (each for pair in zip(claim.pairs, numbers) for each in zip(*pair))
        without = dict.fromkeys(cell.model for cell, found in cells if found.ours is None)
        lines.append(summary(claim, compared, list(without)))
        for (left, right), pair in zip(claim.pairs, compared):
            pairs.append({"claim": claim.claim, "left": str(left), "right": str(right)} | pair)
    table, orders = pd.DataFrame(lines), pd.DataFrame(order_of(sheets))
    files = {
        "claims.csv": as_csv(table),
        "claims.md": markdown(table, f"# Claims, scale {scale}", NOTE),
        "claims.tex": latex(table, f"The paper's claims, asked of the numbers of scale {scale}.", "tab:claims"),
        "claims-pairs.csv": as_csv(pd.DataFrame(pairs)),
        "order.csv": as_csv(orders),
        "order.md": markdown(orders, f"# Order, scale {scale}", ORDER_NOTE),
    }
    for name, text in files.items():
        write_text(Path(output).with_name(name), text)


def of_table(cell: Cell, table: Table, csv: pd.DataFrame, cells: pd.DataFrame) -> Number:
    """A cell of a table: `csv` has our means; `cells` the number of each seed, and the images behind it."""
    row = csv[csv["model"] == cell.model].iloc[0]
    paper, ours = (
        None if pd.isna(value := row.get(cell.column + suffix)) else float(value) for suffix in ("_paper", "")
    )
    if ours is None:
        return Number(paper, None)
    names = cells["model"].str.partition("@")
    mine = cells[(names[0] == cell.model) & (cells["column"] == cell.column)]
    seeds = {seed: float(value) for seed, value in zip(names[2][mine.index], mine["value"])}
    images = int(mine["val_images"].iloc[0])
    if (metric := table.columns[cell.column].metric) == "top1":
        return Number(paper, ours, seeds, images, error=sqrt(ours * (100 - ours) / images))
    papers = MIOU_IMAGES if metric == "miou" else AP_IMAGES
    return Number(paper, ours, seeds, images, convention=POINT * sqrt(max(1, papers / images)))


def of_figure(cell: Cell, arrays: dict) -> Number:
    """A hundred times a number of a figure's arrays: [m] of models; [m, 2] with a standard error; [m, n] of images; [] of
    all models."""
    models, data = arrays.get(cell.where, ([], {}))
    if cell.model not in models or cell.column not in data:  # no data set with masks of objects, say
        return Number(None, None)
    values = 100 * np.asarray(data[cell.column], float)
    if values.ndim == 0:
        return Number(None, float(values), error=0.0)
    value = values[list(models).index(cell.model)]
    if cell.column == "mse":
        return Number(None, float(value.mean()), images=len(value), each=value)
    if value.ndim == 0:
        return Number(None, float(value))
    return Number(None, float(value[0]), error=float(value[1]) if np.isfinite(value[1]) else None)  # of one image: none


def compare(claim: Claim, left: Number, right: Number) -> dict:
    """A pair's numbers, difference, noise, rule and verdict, and how many seeds both sides have."""
    out = {"paper_left": left.paper, "paper_right": right.paper, "ours_left": left.ours, "ours_right": right.ours}
    if left.ours is None or right.ours is None:
        return out | {"difference": None, "noise": None, "seeds": None, "verdict": NOT_RUN, "rule": None}
    seeds = [seed for seed in left.seeds if seed in right.seeds]
    difference, noise, rule = interval(left, right, seeds)
    difference = round(difference, 9)
    return out | {"difference": difference, "noise": noise, "seeds": max(1, len(seeds)),
                  "verdict": verdict(claim, difference, noise), "rule": rule}  # fmt: skip


def interval(left: Number, right: Number, seeds: list[str]) -> tuple[float, float, str]:
    """The difference of a pair, half of its 95 % interval and that interval's name. `seeds`: those that both sides have."""
    difference = left.ours - right.ours
    count = f"{len(seeds)} seeds" if len(seeds) > 1 else "one seed"
    if max(len(left.seeds), len(right.seeds)) > len(seeds):
        count += " in common"
    found = []
    if len(seeds) > 1:
        differences = [left.seeds[seed] - right.seeds[seed] for seed in seeds]
        difference = float(np.mean(differences))
        found.append((students(differences), f"t interval, {count}, paired"))
    if left.each is not None and len(left.each) > 1:
        found.append((students(left.each - right.each), f"t interval, {len(left.each):,} images, paired, {count}"))
    elif left.error is not None and right.error is not None:
        noise = NORMAL * hypot(left.error, right.error)
        kind = f"binomial interval, {left.images:,} images" if left.images else "interval over images"
        found.append((noise, f"{kind}, {count}"))
    if found:
        return difference, *max(found)
    noise = max(left.convention, right.convention)
    return difference, noise, f"no error known, {noise:.1f} points by convention, {count}"


def students(values) -> float:
    """Half of the 95 % confidence interval of the mean of two numbers or more."""
    from scipy.special import stdtrit  # a second of import, which one seed does not need

    return float(stdtrit(len(values) - 1, 0.975) * np.std(values, ddof=1) / sqrt(len(values)))


def verdict(claim: Claim, difference: float, noise: float) -> str:
    """On which side of the claim's margin a difference is, by more than the noise."""
    margin = claim.points - abs(difference) if claim.compare == "close" else difference - claim.points
    return UNDECIDED if abs(margin) <= noise else HOLDS if margin > 0 else FAILS


def summary(claim: Claim, pairs: list[dict], without: list[str]) -> dict[str, str]:
    """The claim's line: its pairs in words, the verdict on all that were run, and why others were not: the models that are
    `without` a number."""
    found = [pair["verdict"] for pair in pairs]
    run = [pair for pair in pairs if pair["verdict"] != NOT_RUN]
    rules = dict.fromkeys(pair["rule"] for pair in run)
    count = f"{len(pairs) - len(run)} of {len(pairs)} pairs " if run else ""
    missing = [f"{count}not run at this scale, without {', '.join(without)}"] if len(run) < len(pairs) else []
    return {
        "claim": claim.claim,
        "place": claim.place,
        "paper": "; ".join(sides(pair, "paper") for pair in pairs if pair["paper_left"] is not None),
        "ours": "; ".join(sides(pair, "ours") for pair in pairs) if run else "",
        "difference": "; ".join(difference_of(pair) for pair in pairs) if run else "",
        "verdict": next(each for each in (FAILS, UNDECIDED, HOLDS, NOT_RUN) if each in found),
        "rule": "; ".join([margin_of(claim), *rules, *missing]),
    }


def margin_of(claim: Claim) -> str:
    if claim.compare == "close":
        return f"less than {claim.points:g} apart"
    if claim.points < 0:
        return f"less than {-claim.points:g} below"
    return f"more than {claim.points:g} above" if claim.points else "above"


def sides(pair: dict, whose: str) -> str:
    """ "64.1 / 61.5" of a pair's two numbers, the paper's or ours."""
    left, right = (pair[f"{whose}_{side}"] for side in ("left", "right"))
    return "–" if left is None or right is None else f"{decimals(left)} / {decimals(right)}"


def difference_of(pair: dict) -> str:
    """ "+2.60 ± 1.10" of a pair."""
    return "–" if pair["difference"] is None else f"{pair['difference']:+.2f} ± {pair['noise']:.2f}"


def decimals(value: float) -> str:
    """Two decimals, or one where the second is 0, as the paper prints."""
    return f"{value:.2f}".removesuffix("0")


def order_of(sheets: dict[str, tuple]) -> list[dict]:
    """Of each table and column: Spearman's rho and Kendall's tau-b (None below two rows, or where all are alike), and how
    many of the pairs that the paper tells apart are in its order."""
    lines = []
    for name, (table, csv, _) in sheets.items():
        if table.own:
            continue
        for column, about in table.columns.items():
            ours, paper = csv[[column, f"{column}_paper"]].astype(float).dropna().to_numpy().T
            apart = [(i, j) for i, j in combinations(range(len(ours)), 2) if paper[i] != paper[j]]
            kept = sum((ours[i] - ours[j]) * (paper[i] - paper[j]) > 0 for i, j in apart)
            lines.append({"table": name, "column": about.heading, "rows": len(ours), "spearman": None, "kendall": None,
                          "kept": f"{kept} of {len(apart)}"})  # fmt: skip
            if len(set(ours)) > 1 and len(set(paper)) > 1:
                ranks = [pd.Series(numbers).rank() for numbers in (ours, paper)]
                signs = [np.sign(np.subtract.outer(numbers, numbers)).ravel() for numbers in (ours, paper)]
                lines[-1] |= {"spearman": correlation(*ranks), "kendall": correlation(*signs)}
    return lines


def correlation(a, b) -> float:
    """Pearson's, with which Spearman's is of ranks and Kendall's tau-b of the signs of all pairs' differences."""
    return float(np.corrcoef(a, b)[0, 1])


def as_csv(table: pd.DataFrame) -> str:
    return table.to_csv(index=False, lineterminator="\n")


def as_text(table: pd.DataFrame) -> pd.DataFrame:
    table = table.rename(columns=str.capitalize)
    return table.map(lambda value: value if isinstance(value, str) else "–" if pd.isna(value) else f"{value:.3g}")


def markdown(table: pd.DataFrame, title: str, note: str) -> str:
    body = as_text(table).map(lambda text: text.replace("|", "\\|"))
    return "\n\n".join([title, body.to_markdown(index=False, disable_numparse=True), note]) + "\n"


def latex(table: pd.DataFrame, caption: str, label: str) -> str:
    """A longtable, over several pages, and the note below it."""
    text, note = as_text(table).map(in_latex), in_latex(NOTE)
    widths = (0.21, 0.1, 0.13, 0.13, 0.16, 0.08, 0.19)
    layout = "".join(rf">{{\raggedright\arraybackslash}}p{{{width}\linewidth}}" for width in widths)
    body = text.style.hide(axis="index").to_latex(
        caption=in_latex(caption), label=label, environment="longtable", hrules=True, column_format=layout,
    )  # fmt: skip
    return f"% \\usepackage{{array,booktabs,longtable}}, on a landscape page\n{body}\n{note}\n"


def in_latex(text: str) -> str:
    return escape_latex(text).replace("±", r"$\pm$").replace("§", r"\S{}")
