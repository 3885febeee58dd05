"""Training: a panel a loss term of a method, a line a model, named at its end, against images seen, on a
logarithmic axis."""

from itertools import groupby, islice
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import EngFormatter, LogLocator, NullLocator

from cae.files import read_json
from cae.params import METHODS
from cae.reporting.figures.style import GREY, WIDTH
from cae.reporting.models import read_lines

CAPTION = """Pretraining: loss terms against images seen (logarithmic; the beginning lies outside of the panels). Accuracy
    is that of masked tokens (CAE, BEiT), or how often an image’s other view is found in the batch (MoCo v3). Spread near 0,
    or an entropy of 1, or an entropy of the mean of 0, would mean that all images look alike to the model."""
TERMS = {"decoding": "decoding loss", "alignment": "alignment loss"}  # any other by its own name
NOT_A_TERM = {"step", "epoch", "images", "lr", "weight_decay", "gradient_norm", "images_per_second", "seconds"}
MANY = 4  # models: with more of them, two panels share a row instead of three
BEGINNING = 0.05  # of a run: its values are no reason to press all that follow together


def draw(*paths: str):
    """`paths`: metrics.jsonl of each model and, in the same folder, provenance.json; models not trained have no lines."""
    groups: dict[tuple[int, str], dict[str, list]] = {}
    for path in (path for path in map(Path, paths) if path.suffix == ".jsonl"):
        if lines := read_lines(path):
            groups.setdefault(kind_of(path.with_name("provenance.json")), {})[path.parent.name] = lines
    if not groups:
        figure = plt.figure(figsize=(3.5, 1))
        figure.text(0.5, 0.5, "no model was trained", ha="center", va="center", color=GREY)
        return figure
    groups = {kind: groups[(order, kind)] for order, kind in sorted(groups)}
    panels = [(kind, term) for kind, models in groups.items() for term in terms_of(models)]
    rows = [
        row
        for many, some in groupby(panels, lambda panel: len(groups[panel[0]]) > MANY)
        for row in in_rows(list(some), 2 if many else 3)
    ]
    heights = [max(1.4, 0.45 + 0.115 * max(len(groups[kind]) for kind, _ in row[0])) for row in rows]
    figure = plt.figure(figsize=(WIDTH, sum(heights) + 0.3))
    for (panels, columns), part in zip(rows, np.atleast_1d(figure.subfigures(len(rows), 1, height_ratios=heights))):
        for ax, (kind, term) in zip(part.subplots(1, columns, squeeze=False).flat, panels):
            draw_panel(ax, groups[kind], term)
            ax.set_title(f"{kind}: {TERMS.get(term, term.replace('_', ' '))}", fontsize=8, loc="left")
        for ax in part.axes[len(panels) :]:
            ax.set_axis_off()
    figure.supxlabel("images seen", fontsize=8, color="0.2")
    return figure


def in_rows(panels: list, columns: int) -> list[tuple[list, int]]:
    """(panels, columns) of each row."""
    return [(panels[i : i + columns], columns) for i in range(0, len(panels), columns)]


def draw_panel(ax, models: dict[str, list], term: str) -> None:
    """A line a model; its name on the right, level with the line's end as far as names leave room for each other."""
    ends, later = [], []
    for (model, lines), style in zip(models.items(), islice(plt.rcParams["axes.prop_cycle"](), len(models))):
        points = np.array([(line["images"], line[term]) for line in lines if term in line])
        if len(points):
            ax.plot(*points.T, linewidth=0.9, **style)
            ends.append((*points[-1], model, style["color"]))
            later.append(points[points[:, 0] >= BEGINNING * points[-1, 0], 1])
    low, high = np.min(np.concatenate(later)), np.max(np.concatenate(later))
    margin = 0.05 * (high - low or 1)
    ax.set_ylim(low - margin, high + margin)
    ax.set_xscale("log")  # the runs' lengths differ by multiples
    ax.set_xlim(BEGINNING * min(x for x, *_ in ends), max(x for x, *_ in ends))
    ax.xaxis.set(
        major_formatter=EngFormatter(sep=""), major_locator=LogLocator(subs=(1, 3)), minor_locator=NullLocator()
    )
    ends.sort(key=lambda end: end[1])
    levels = spread([(y - low + margin) / (high - low + 2 * margin) for _, y, *_ in ends], min(0.09, 1 / len(ends)))
    for (x, y, model, colour), level in zip(ends, levels):
        place = dict(
            xycoords="data", textcoords=ax.transAxes, fontsize=6, color=colour, va="center", annotation_clip=False
        )
        line = dict(arrowstyle="-", color=colour, linewidth=0.4, shrinkA=0, shrinkB=0, relpos=(0, 0.5))
        ax.annotate(model, (x, y), (1.06, level), arrowprops=line, **place)


def spread(levels: list[float], gap: float) -> list[float]:
    """Ascending numbers, moved as little as keeps them `gap` apart and, where there is room, between 0 and 1."""
    out = list(levels)
    for i in range(1, len(out)):
        out[i] = max(out[i], out[i - 1] + gap)
    limit = 1.0
    for i in reversed(range(len(out))):
        out[i] = limit = min(out[i], limit)
        limit -= gap
    return out


def kind_of(provenance: Path) -> tuple[int, str]:
    """Where a model's panels stand; its method, with what it predicts where that is unusual, since its loss is then of another
    size."""
    params = read_json(provenance)["params"]
    method, target = METHODS[params["method"]], params.get("target")
    normalised = "normalised " if target == "pixels" and params.get("normalise_targets") else ""
    kind = method.title if target in (None, method.usual_target) else f"{method.title}, {normalised}{target}"
    return list(METHODS).index(params["method"]), kind


def terms_of(models: dict[str, list]) -> list[str]:
    keys = dict.fromkeys(key for lines in models.values() for line in lines for key in line)
    return [key for key in keys if key not in NOT_A_TERM]
