"""Figure 6: what the class token attends to in whole images; and the drawing that Figures 7 and 9 share."""

from textwrap import fill

import numpy as np
from matplotlib.collections import LineCollection

from cae.reporting.figures.style import COLOURS, GREY, picture_rows

CAPTION = """Attention between the class token and the patches in the last layer of the encoder, averaged over heads, in
    multiples of uniform attention. The region inside the blue contour is the smallest that keeps 50 % of the mass. Top:
    input images; below: a row a model. Under each row, over the whole validation set: the mass outside of the central half
    of the image, and on objects where the data set coco has masks of them, each beside the area, which is what uniform
    attention would give; and on how many of the patches half of it lies."""
COLUMNS = 8
SAID = {  # of each region that there is
    "outside": "outside of centre {:.3f} ± {:.3f} (area {:.3f})",
    "outside_original": "of original's {:.3f} ± {:.3f} ({:.3f})",
    "object": "on objects {:.3f} ± {:.3f} ({:.3f})",
}


def draw(path: str):
    """`path`: images, maps, and numbers of the validation set (cae/analysis/attention.py)."""
    data = dict(np.load(path))
    images, models, grid = data["images"], data["models"], data["maps"].shape[-1]
    columns, rows = min(len(images), COLUMNS), 1 + len(models)
    sets = -(-len(images) // columns)
    figure, axes = picture_rows(sets * rows, columns, [fill(name, 14) for name in ("image", *models)] * sets)
    figure.set_figheight(figure.get_figheight() + 0.14 * sets * len(models))  # a line of numbers a row
    places = axes.reshape(sets, rows, columns).swapaxes(1, 2).reshape(-1, rows)  # of each image: itself, then its maps
    uniform, side = grid**-2, images.shape[1]
    most = max(2, np.percentile(data["maps"], 99) / uniform)  # so that uniform maps have the middle's colour at most
    style = dict(cmap="YlOrRd", vmin=0, vmax=most, extent=(0, side, side, 0))
    for i, (image, (top, *below)) in enumerate(zip(images, places)):
        top.imshow(image, extent=style["extent"])
        for ax, maps, half in zip(below, data["maps"], data["half"]):
            shades = ax.imshow(maps[i] / uniform, **style)
            outline = LineCollection(contour(half[i]) * side / grid, colors=COLOURS[0], linewidths=1.4, clip_on=False)
            ax.add_collection(outline)
    words = dict(xycoords="axes fraction", xytext=(0, -3), textcoords="offset points", va="top", fontsize=6, color=GREY)
    for row, ax in enumerate(axes[:, 0]):
        ax.yaxis.label.set_size(7)
        if model := row % rows:
            ax.set_xlabel(" ")  # keeps a line free
            ax.annotate(sentence(data, model - 1), (0, 0), **words).set_in_layout(False)
    bar = figure.colorbar(shades, ax=axes, aspect=15 * len(axes), pad=0.01, label="attention / uniform", extend="max")
    bar.outline.set_visible(False)
    return figure


def sentence(data: dict, model: int) -> str:
    parts = [said.format(*data[name][model], data[f"{name}_area"]) for name, said in SAID.items() if name in data]
    parts += [] if "object" in data else ["no masks of objects here"]
    return " · ".join([*parts, "half on {:.0%} of patches".format(data["half_patches"][model, 0])])


def contour(mask: np.ndarray) -> np.ndarray:
    """The borders between patches inside and outside of a mask [grid, grid]: segments [k, 2, 2] of (x, y) in patches."""
    padded = np.pad(mask, 1).astype(int)
    y, x = np.diff(padded, axis=1).nonzero()  # upright borders
    upright = np.stack([np.stack([x, y - 1], 1), np.stack([x, y], 1)], 1)
    y, x = np.diff(padded, axis=0).nonzero()
    return np.concatenate([upright, np.stack([np.stack([x - 1, y], 1), np.stack([x, y], 1)], 1)])
