"""Training: a row a method, a panel a loss term, a line a model, against images seen."""

import itertools
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import EngFormatter, MaxNLocator

from cae.files import read_json
from cae.reporting.figures.style import GREY, WIDTH
from cae.reporting.models import METHODS, read_lines

CAPTION = """Pretraining: loss terms against images seen. Accuracy is that of masked tokens (CAE, BEiT), or how often an
    image’s other view is found in the batch (MoCo v3). Spread near 0, or an entropy of 1, or an entropy of the mean of 0,
    would mean that all images look alike to the model."""
TERMS = {"decoding": "decoding loss", "alignment": "alignment loss"}  # any other by its own name
PIXELS = "CAE, pixels"
NOT_A_TERM = {"step", "epoch", "images", "lr", "weight_decay", "gradient_norm", "images_per_second", "seconds"}


def draw(*paths: str):
    """`paths`: metrics.jsonl of each model and, in the same folder, provenance.json; models not trained have no lines."""
    groups: dict[str, dict[str, list]] = {}
    for path in (path for path in map(Path, paths) if path.suffix == ".jsonl"):
        if lines := read_lines(path):
            groups.setdefault(kind_of(path.with_name("provenance.json")), {})[path.parent.name] = lines
    if not groups:
        figure = plt.figure(figsize=(3.5, 1))
        figure.text(0.5, 0.5, "no model was trained", ha="center", va="center", color=GREY)
        return figure
    groups = {kind: groups[kind] for kind in (METHODS["cae"], PIXELS, *METHODS.values()) if kind in groups}
    terms = {kind: terms_of(models) for kind, models in groups.items()}
    panels = max(map(len, terms.values()))
    heights = [max(1.15, 0.13 * len(models) + 0.2) for models in groups.values()]
    figure = plt.figure(figsize=(WIDTH, sum(heights) + 0.3))
    grid = figure.add_gridspec(len(groups), panels + 1, height_ratios=heights, width_ratios=[1] * panels + [0.01])
    for row, (kind, models) in enumerate(groups.items()):
        styles = list(itertools.islice(plt.rcParams["axes.prop_cycle"](), len(models)))
        for column, term in enumerate(terms[kind]):
            ax = figure.add_subplot(grid[row, column])
            for lines, style in zip(models.values(), styles):
                points = [(line["images"], line[term]) for line in lines if term in line]
                ax.plot(*np.reshape(points, (-1, 2)).T, **style)
            ax.set_title(TERMS.get(term, term.replace("_", " ")), fontsize=8)
            ax.xaxis.set_major_formatter(EngFormatter(sep=""))
            ax.xaxis.set_major_locator(MaxNLocator(3))
            if column == 0:
                ax.set_ylabel(kind, fontweight="bold", fontsize=9)
        beside = figure.add_subplot(grid[row, len(terms[kind])])
        beside.set_axis_off()
        marks = [plt.Line2D([], [], **style) for style in styles]
        place = dict(loc="upper left", borderpad=0, borderaxespad=0, labelspacing=0.3, handlelength=1.8)
        legend = beside.legend(marks, models, fontsize=6, **place)
        legend.set_in_layout(len(terms[kind]) == panels)  # else it reaches over empty cells
    figure.align_ylabels()
    figure.supxlabel("images seen", fontsize=8, color="0.2")
    return figure


def kind_of(provenance: Path) -> str:
    """The method of a model, and what it predicts where that sets the size of its loss."""
    params = read_json(provenance)["params"]
    return PIXELS if params.get("target") == "pixels" else METHODS[params["method"]]


def terms_of(models: dict[str, list]) -> list[str]:
    keys = dict.fromkeys(key for lines in models.values() for line in lines for key in line)
    return [key for key in keys if key not in NOT_A_TERM]
