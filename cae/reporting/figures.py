"""Figures: arrays of analyses and lines of training to PNG and PDF. They draw and compute nothing."""

import itertools
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from cycler import cycler
from matplotlib.patches import Rectangle
from matplotlib.ticker import EngFormatter, MaxNLocator

from cae.errors import UserError
from cae.files import atomic, read_json
from cae.params import unknown
from cae.reporting.models import METHODS, read_lines

COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"]  # Okabe and Ito: told apart by everyone
GREY = "0.45"
WIDTH = 7  # inches
TERMS = {"decoding": "decoding loss", "alignment": "alignment loss"}  # any other by its own name
PIXELS = "CAE, pixels"
NOT_A_TERM = {"step", "epoch", "images", "lr", "weight_decay", "gradient_norm", "images_per_second", "seconds"}
STYLE = {
    "font.family": "DejaVu Sans", "font.size": 8, "axes.titlesize": 9, "axes.labelsize": 8, "axes.labelcolor": "0.2",
    "xtick.labelsize": 7, "ytick.labelsize": 7, "xtick.color": GREY, "ytick.color": GREY, "axes.edgecolor": "0.7",
    "axes.linewidth": 0.6, "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False,
    "lines.linewidth": 1.2, "axes.prop_cycle": cycler(linestyle=["-", "--", ":"]) * cycler(color=COLOURS),
    "figure.constrained_layout.use": True, "savefig.dpi": 150, "pdf.fonttype": 42,
}  # fmt: skip
# Without dates and versions: equal arrays make equal bytes.
METADATA = {".png": {"Software": None}, ".pdf": {"Creator": None, "Producer": None, "CreationDate": None}}


def main(name: str, scale: str, inputs: list[str], output: str) -> None:
    """Draw the figure `name` from `inputs` as `output` (.png) and, beside it, as .pdf."""
    if name not in FIGURES:
        raise UserError(f"--name: {unknown(name, FIGURES)}")
    with matplotlib.rc_context(matplotlib.rcParamsDefault | STYLE):
        figure = FIGURES[name](*inputs)
        figure.suptitle(f"scale {scale}", x=1, ha="right", fontsize=6, color=GREY)
        for suffix, metadata in METADATA.items():
            with atomic(Path(output).with_suffix(suffix)) as temporary:
                figure.savefig(temporary, metadata=metadata)
        plt.close(figure)


def figure3(path: str):
    """Top: images with the masked patches grey. Bottom: scenes with the boxes of random crops."""
    data = dict(np.load(path))
    figure, axes = picture_rows(2, len(data["images"]), ["random block-wise\nsampling", "random\ncropping"])
    for i, (image, mask) in enumerate(zip(data["images"], data["masks"], strict=True)):
        axes[0, i].imshow(image)
        size, patches = len(image), len(mask)
        cover = np.full((*mask.shape, 4), 0.6) * mask[..., None]
        cover[..., 3] = mask
        axes[0, i].imshow(cover, extent=(-0.5, size - 0.5, size - 0.5, -0.5), interpolation="nearest")
        lines = np.arange(1, patches) * size / patches - 0.5
        axes[0, i].hlines(lines, -0.5, size - 0.5, "white", linewidth=0.4)
        axes[0, i].vlines(lines, -0.5, size - 0.5, "white", linewidth=0.4)
        axes[0, i].set_title(data["labels"][i])
    for i, (scene, boxes) in enumerate(zip(data["scenes"], data["boxes"], strict=True)):
        axes[1, i].imshow(scene)
        for k, (left, top, right, bottom) in enumerate(boxes):
            corner, size = (left - 0.5, top - 0.5), (right - left, bottom - top)
            for colour, width in (("white", 3), (COLOURS[k % len(COLOURS)], 1.6)):  # a white rim: seen on any image
                axes[1, i].add_patch(Rectangle(corner, *size, fill=False, edgecolor=colour, linewidth=width))
    return figure


def figure4(path: str):
    """Top: full images. Middle and bottom: what encoder and decoder make of them, with and without alignment."""
    data = dict(np.load(path))
    keys = ["images", "with_alignment", "without_alignment"]
    figure, axes = picture_rows(3, len(data["images"]), ["full image", "with\nalignment", "without\nalignment"])
    for row, key in enumerate(keys):
        for i, image in enumerate(data[key]):
            axes[row, i].imshow(image)
            if row:
                axes[row, i].set_xlabel(f"MSE {data['mse'][row - 1, i]:.3f}", color=GREY)
    return figure


def figure5(path: str):
    """Left: patches of the pretrained encoder in the plane, a colour a category. Right: with random weights."""
    data = dict(np.load(path))
    names, labels = data["class_names"], data["labels"]
    colours = category_colours(len(names))
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.9))
    for side, weights in enumerate(("pretrained", "random weights")):
        points = data[f"points_{side}"]
        size = np.clip(6000 / len(points), 0.6, 8)
        axes[side].scatter(*points.T, s=size, c=colours[labels], linewidths=0, rasterized=True)
        axes[side].set(xticks=[], yticks=[], aspect="equal", adjustable="datalim")
        axes[side].set_title(f"{data['models'][side]} ({weights})\npurity {data['purity'][side]:.2f}")
        axes[side].spines[:].set_visible(True)
    if len(names) <= 20:
        shown = np.unique(labels)
        marks = [plt.Line2D([], [], linestyle="", marker="o", markersize=4, color=colours[k]) for k in shown]
        figure.legend(marks, names[shown], loc="outside lower center", ncols=6, handletextpad=0.1)
    return figure


def segmentation(*paths: str):
    """Images, their labels, and what each model makes of them; black where nothing is labelled.

    `paths`: <model>/examples.npz of each model.
    """
    examples = {Path(path).parent.name: dict(np.load(path)) for path in paths}
    first = next(iter(examples.values()))
    images, names = in_order(first, "image"), first["names"]
    colours = np.vstack([category_colours(len(names)), [0, 0, 0, 1]])
    maps = [in_order(first, "truth"), *(in_order(data, "prediction") for data in examples.values())]
    figure, axes = picture_rows(1 + len(maps), len(images), ["image", "ground truth", *examples], images=images)
    for ax, image in zip(axes[0], images):
        ax.imshow(image)
    for row, labels in zip(axes[1:], maps):
        for ax, label in zip(row, labels, strict=True):
            ax.imshow(colours[np.minimum(label, len(names))], interpolation="nearest")
    if len(names) <= 20:
        shown = [k for k in np.unique(np.concatenate([label.ravel() for label in sum(maps, [])])) if k < len(names)]
        marks = [plt.Line2D([], [], linestyle="", marker="s", markersize=5, color=colours[k]) for k in shown]
        figure.legend(marks, names[shown], loc="outside lower center", ncols=6, handletextpad=0.1)
    return figure


def detection(*paths: str):
    """Images, their objects, and what each model finds: boxes with class (and score), masks.

    `paths`: <model>/examples.npz of each model.
    """
    examples = {Path(path).parent.name: dict(np.load(path)) for path in paths}
    first = next(iter(examples.values()))
    images, names = in_order(first, "image"), first["names"]
    rows = [("truth", first), *(("prediction", data) for data in examples.values())]
    figure, axes = picture_rows(1 + len(rows), len(images), ["image", "ground truth", *examples], images=images)
    for column, image in enumerate(images):
        axes[0, column].imshow(image)
        for ax, (kind, data) in zip(axes[1:, column], rows):
            ax.imshow(image, alpha=0.6)
            part = {key: data[f"{kind}_{column}_{key}"] for key in ("boxes", "labels", "masks")}
            objects(ax, names, data.get(f"{kind}_{column}_scores"), **part)
    return figure


def objects(ax, names, scores, boxes, labels, masks) -> None:
    """Boxes [n, 4] (left, top, right, bottom) with their class and, where there are any, scores; masks [n, H, W]."""
    for i, (left, top, right, bottom) in enumerate(boxes):
        colour = COLOURS[labels[i] % len(COLOURS)]
        cover = np.zeros((*masks[i].shape, 4))
        cover[masks[i]] = matplotlib.colors.to_rgba(colour, 0.45)
        ax.imshow(cover, interpolation="nearest")
        corner = left - 0.5, top - 0.5
        ax.add_patch(Rectangle(corner, right - left, bottom - top, fill=False, edgecolor=colour, linewidth=1))
        said = names[labels[i]] + ("" if scores is None else f" {scores[i]:.2f}".replace("0.", "."))
        box = dict(facecolor=colour, edgecolor="none", pad=0.5)
        ax.text(*corner, said, fontsize=4, color="white", va="top", bbox=box, clip_on=True)


def in_order(data: dict, key: str) -> list[np.ndarray]:
    """data[key_0], data[key_1] and so on."""
    return [data[f"{key}_{i}"] for i in range(sum(name.startswith("image_") for name in data))]


def tokenizer(path: str):
    """Top: images above their reconstructions. Bottom: how often each token occurs, the commonest first."""
    data = dict(np.load(path))
    columns = min(8, len(data["images"]))
    heights = 2 * WIDTH / columns + 0.3, 2
    figure = plt.figure(figsize=(WIDTH, sum(heights) + 0.2))
    top, bottom = figure.subfigures(2, height_ratios=heights)
    _, axes = picture_rows(2, columns, ["original", "d-VAE"], top)
    for row, key in enumerate(("images", "reconstructions")):
        for i in range(columns):
            axes[row, i].imshow(data[key][i])
    top.suptitle(f"reconstructions: MSE {data['mse']:.4f}, PSNR {data['psnr']:.1f} dB", fontsize=9)
    counts = np.sort(data["counts"])[::-1]
    share, used = 100 * counts / counts.sum(), np.count_nonzero(counts)
    ax = bottom.subplots()
    floor = share[used - 1] / 2  # a logarithmic axis has no zero
    ax.stairs(share[:used], np.arange(used + 1), baseline=floor, fill=True, color=COLOURS[0])
    ax.axhline(100 / len(counts), color=GREY, linewidth=0.8, linestyle="--")
    ax.text(len(counts), 100 / len(counts), "all equally often", ha="right", va="bottom", color=GREY)
    ax.set(yscale="log", xlim=(0, len(counts)), ylim=(floor, None))
    ax.set(xlabel="tokens, the commonest first", ylabel="% of patches")
    ax.yaxis.set_major_formatter("{x:g}")
    usage = f"{100 * data['used']:.0f} % of {len(counts)} tokens are used, perplexity {data['perplexity']:.0f}"
    ax.set_title(f"codebook: {usage}")
    return figure


def training(*paths: str):
    """A row a method, a panel a loss term, a line a model, against images seen; models that were not trained have none.

    `paths`: of each model metrics.jsonl and, in the same folder, provenance.json.
    """
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


def picture_rows(rows: int, columns: int, labels: list[str], figure=None, images=()):
    """A grid of pictures without ticks, each row named on its left; as high as the highest of `images`, else square."""
    aspect = max((len(image) / image.shape[1] for image in images), default=1)
    figure = figure or plt.figure(figsize=(WIDTH, WIDTH * rows / columns * aspect + 0.2))
    axes = figure.subplots(rows, columns, squeeze=False)
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
    for ax, label in zip(axes[:, 0], labels, strict=True):
        ax.set_ylabel(label)
    return figure, axes


def category_colours(count: int) -> np.ndarray:
    """RGBA [count, 4]: tab20's strong colours, then its pale ones; a rainbow where there are more."""
    if count > 20:
        return plt.get_cmap("turbo")(np.linspace(0, 1, count))
    return plt.get_cmap("tab20")(np.r_[0:20:2, 1:20:2][:count])


FIGURES = {f.__name__: f for f in (figure3, figure4, figure5, segmentation, detection, tokenizer, training)}
