"""Probing against epochs of pretraining: a panel a protocol, a line a method and its first weights, random ones a level."""

from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator, ScalarFormatter

from cae.files import read_json
from cae.params import METHODS
from cae.reporting.figures.style import GREY, WIDTH

CAPTION = """Probing against epochs of pretraining (logarithmic). Each point is a model of its own, pretrained with a schedule of
    that length: none is a moment of a longer run. Bars reach from the lowest to the highest of several seeds. Dashed: random
    weights. Xavier: the first weights are his, not those of the method's public code."""
RANDOM, XAVIER = "random weights", ("", ", Xavier")
PANELS = {"linear": "linear probing", "attentive": "attentive probing"}


def draw(*paths: str):
    """`paths`: of each model and seed evaluate/linear/<model>.json, evaluate/attentive/<model>.json and
    pretrain/<model>/provenance.json."""
    runs = {path.parent.name: read_json(path)["params"] for path in map(Path, paths) if path.name == "provenance.json"}
    cells = [read_json(path) for path in map(Path, paths) if path.name != "provenance.json"]
    figure, axes = plt.subplots(1, len(PANELS), figsize=(WIDTH, 2.8))
    trained = sorted({run["epochs"] for run in runs.values() if run["epochs"]})
    for ax, (protocol, title) in zip(axes, PANELS.items()):
        points: dict[str, dict] = {}  # line: epochs: top-1 of each seed
        for cell in cells:
            if cell["protocol"] == protocol:
                run = runs[cell["model"]]
                line = METHODS[run["method"]].title + XAVIER[run.get("init") == "xavier"] if run["epochs"] else RANDOM
                points.setdefault(line, {}).setdefault(run["epochs"], []).append(cell["top1"])
        for values in points.pop(RANDOM, {}).values():
            ax.axhline(sum(values) / len(values), color=GREY, linestyle="--", linewidth=0.9, label=RANDOM)
        for line in (m.title + kind for m in METHODS.values() for kind in XAVIER if m.title + kind in points):
            x, seeds = zip(*sorted(points[line].items()))
            y = [sum(values) / len(values) for values in seeds]
            bars = [[m - min(v) for m, v in zip(y, seeds)], [max(v) - m for m, v in zip(y, seeds)]]
            ax.errorbar(x, y, yerr=bars, marker="o", markersize=3, linestyle="-", capsize=2, label=line)
        ax.set_xscale("log")
        ax.xaxis.set(
            major_locator=FixedLocator(trained), major_formatter=ScalarFormatter(), minor_locator=NullLocator(),
            minor_formatter=NullFormatter(),
        )  # fmt: skip
        ax.set_title(title, loc="left")
        ax.set_xlabel("epochs of pretraining")
    axes[0].set_ylabel("top-1 accuracy (%)")
    figure.legend(*axes[-1].get_legend_handles_labels(), loc="outside right center")
    return figure
