"""Claims: what the paper says of its numbers, asked of ours; and how far ours keep the paper's order.

A claim holds where every pair of its cells that was run is on the right side of the margin by more than the noise of a
difference, fails where one is as far on the wrong side, and is undecided between. The noise is, first that applies:

- twice the standard deviation over seeds, of both sides' together, where both have several;
- the binomial standard error sqrt(p (1 - p) / n) of both top-1 accuracies together, n the validation images;
- the standard error over images of both sides together, of figures' arrays that have one;
- one point. Neither mIoU, AP nor purity has an error of its own, and one seed tells nothing of another.
"""

from itertools import combinations
from math import hypot, sqrt
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from cae.files import write_text
from cae.params import FIGURES, Cell, Claim, Table, read
from cae.reporting.tables import escape_latex

POINT = 1.0
SEEDS = "two standard deviations over seeds"
BINOMIAL = "binomial standard error, one seed"
IMAGES = "standard error over images, one seed"
RULES = (SEEDS, BINOMIAL, IMAGES)  # the first that both sides have
FLAT = "one point, one seed"
HOLDS, FAILS, UNDECIDED, NOT_RUN = "holds", "fails", "undecided", "not run"
NOTE = (
    "Each claim compares pairs of numbers, left / right, and holds where all of them fulfil it; the difference is left less "
    "right, of ours, in points; of figures, shares and squared errors are in hundredths. Within the noise behind ± of the "
    "margin a pair is undecided; the rule says which noise that is. Beyond one standard error lies, by chance, one in six "
    "pairs of equals on either side. –: not run; the verdict is that of the pairs that were."
)
ORDER_NOTE = (
    "Rank correlations of ours with the paper's numbers, over the rows that have both; pairs of rows are those that the paper "
    "tells apart."
)


class Number(NamedTuple):
    """A cell: the paper's number and ours, None for none; and the noise of ours by rule."""

    paper: float | None
    ours: float | None
    noise: dict[str, float]


def main(
    claims: Path, tables: Path, figures: dict[str, list[str]], inputs: list[Path], scale: str, output: Path
) -> None:
    """Write `output` (claims.csv) and, beside it, .md and .tex, claims-pairs.csv with a line a pair, order.csv and order.md.

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
        mine = [judged(claim, *pair) for pair in numbers]
        cells = (each for pair in zip(claim.pairs, numbers) for each in zip(*pair))
        without = dict.fromkeys(cell.model for cell, found in cells if found.ours is None)
        lines.append(summary(claim, mine, list(without)))
        for (left, right), pair in zip(claim.pairs, mine):
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
    """A cell of a table: `csv` has our means and, of several seeds, their spread; `cells` the images behind."""
    row = csv[csv["model"] == cell.model].iloc[0]
    paper, ours, spread = (some(row.get(cell.column + suffix)) for suffix in ("_paper", "", "_sd"))
    noise = {} if spread is None else {SEEDS: 2 * spread}
    if ours is not None and table.columns[cell.column].metric == "top1":
        run = cells[(cells["model"] == cell.model) & (cells["column"] == cell.column)].iloc[0]
        noise[BINOMIAL] = sqrt(ours * (100 - ours) / run["val_images"])
    return Number(paper, ours, noise)


def of_figure(cell: Cell, arrays: dict) -> Number:
    """A hundred times a number of a figure's arrays: [m] of models; [m, 2] with a standard error; [m, n] of images; [] of
    all models."""
    models, data = arrays.get(cell.where, ([], {}))
    if cell.model not in models or cell.column not in data:  # no data set with masks of objects, say
        return Number(None, None, {})
    values = 100 * np.asarray(data[cell.column], float)
    if values.ndim == 0:
        return Number(None, float(values), {IMAGES: 0.0})
    value = values[list(models).index(cell.model)]
    if value.ndim == 0:
        return Number(None, float(value), {})
    if cell.column == "mse":
        value = value.mean(), value.std(ddof=1) / sqrt(len(value)) if len(value) > 1 else np.nan
    return Number(
        None, float(value[0]), {IMAGES: float(value[1])} if np.isfinite(value[1]) else {}
    )  # of one image: none


def some(value) -> float | None:
    return None if pd.isna(value) else float(value)


def judged(claim: Claim, left: Number, right: Number) -> dict:
    """A pair's numbers, difference, noise, rule and verdict."""
    out = {"paper_left": left.paper, "paper_right": right.paper, "ours_left": left.ours, "ours_right": right.ours}
    if left.ours is None or right.ours is None:
        return out | {"difference": None, "noise": None, "verdict": NOT_RUN, "rule": None}
    difference = round(left.ours - right.ours, 9)
    rule = next((rule for rule in RULES if rule in left.noise and rule in right.noise), FLAT)
    noise = POINT if rule == FLAT else hypot(left.noise[rule], right.noise[rule])
    return out | {"difference": difference, "noise": noise, "verdict": verdict(claim, difference, noise), "rule": rule}


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
        "paper": "; ".join(both(pair, "paper") for pair in pairs if pair["paper_left"] is not None),
        "ours": "; ".join(both(pair, "ours") for pair in pairs) if run else "",
        "difference": "; ".join(signed(pair) for pair in pairs) if run else "",
        "verdict": next(each for each in (FAILS, UNDECIDED, HOLDS, NOT_RUN) if each in found),
        "rule": "; ".join([margin_of(claim), *(f"noise: {rule}" for rule in rules), *missing]),
    }


def margin_of(claim: Claim) -> str:
    if claim.compare == "close":
        return f"less than {claim.points:g} apart"
    if claim.points < 0:
        return f"less than {-claim.points:g} below"
    return f"more than {claim.points:g} above" if claim.points else "above"


def both(pair: dict, whose: str) -> str:
    left, right = (pair[f"{whose}_{side}"] for side in ("left", "right"))
    return "–" if left is None or right is None else f"{decimals(left)} / {decimals(right)}"


def signed(pair: dict) -> str:
    return "–" if pair["difference"] is None else f"{pair['difference']:+.2f} ± {pair['noise']:.2f}"


def decimals(value: float) -> str:
    """Two decimals, one where it says all, as the paper prints."""
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
