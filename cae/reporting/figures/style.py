"""What the figures share: colours and fonts, grids of pictures, legends, and how they are saved."""

from io import BytesIO
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from cycler import cycler
from PIL import Image

from cae.files import atomic

COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"]  # Okabe and Ito: told apart by everyone
GREY = "0.45"
WIDTH = 7  # inches
STYLE = {
    "font.family": "DejaVu Sans", "font.size": 8, "axes.titlesize": 9, "axes.labelsize": 8, "axes.labelcolor": "0.2",
    "xtick.labelsize": 7, "ytick.labelsize": 7, "xtick.color": GREY, "ytick.color": GREY, "axes.edgecolor": "0.7",
    "axes.linewidth": 0.6, "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False,
    "lines.linewidth": 1.2, "axes.prop_cycle": cycler(linestyle=["-", "--", ":"]) * cycler(color=COLOURS),
    "figure.constrained_layout.use": True, "savefig.dpi": 150, "image.interpolation": "nearest", "pdf.fonttype": 42,
}  # fmt: skip
# Without dates and versions: equal arrays make equal bytes.
METADATA = {".png": {"Software": None}, ".pdf": {"Creator": None, "Producer": None, "CreationDate": None}}


def save(draw, scale: str, inputs: list[str], output: str) -> None:
    """`draw(*inputs)` as `output` (.png) and, beside it, as .pdf; in a corner the scale, if it depends on one."""
    with matplotlib.rc_context(matplotlib.rcParamsDefault | STYLE):
        figure = draw(*inputs)
        if inputs:
            figure.suptitle(f"scale {scale}", x=1, ha="right", fontsize=6, color=GREY)
        for suffix, metadata in METADATA.items():
            with atomic(Path(output).with_suffix(suffix)) as temporary:
                figure.savefig(temporary, metadata=metadata)
                if suffix == ".png":  # all is opaque: a tenth smaller without the channel that says so
                    with Image.open(temporary) as drawn:
                        drawn.convert("RGB").save(temporary, "PNG", dpi=drawn.info["dpi"], optimize=True)
        plt.close(figure)


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


def name_categories(figure, names: np.ndarray, shown: list[int], marker: str, markersize: float) -> None:
    """A legend of the categories that are `shown`, unless there are too many to tell apart."""
    if len(names) <= 20:
        colours, style = category_colours(len(names)), dict(linestyle="", marker=marker, markersize=markersize)
        marks = [plt.Line2D([], [], color=colours[k], **style) for k in shown]
        figure.legend(marks, [plain(names[k]) for k in shown], loc="outside lower center", ncols=6, handletextpad=0.1)


def read_examples(paths) -> tuple[list[np.ndarray], np.ndarray, dict[str, dict]]:
    """The pictures that <model>/examples.npz of each model show, names of classes, and the arrays by model.

    All models show the same pictures; where a report is kept, the first one's file alone has them, as WebP's bytes."""
    examples = {Path(path).parent.name: dict(np.load(path)) for path in paths}
    first = next(iter(examples.values()))
    images = [image if image.ndim > 1 else np.asarray(Image.open(BytesIO(image))) for image in in_order(first, "image")]
    return images, first["names"], {model: first | data for model, data in examples.items()}


def plain(text: str) -> str:
    """A text of the data's, for matplotlib to draw as it is: what stands between dollars would be a formula, or fail as one."""
    return str(text).replace("$", r"\$")


def in_order(data: dict, key: str) -> list[np.ndarray]:
    """data[key_0], data[key_1] and so on."""
    return [data[f"{key}_{i}"] for i in range(sum(name.startswith("image_") for name in data))]
