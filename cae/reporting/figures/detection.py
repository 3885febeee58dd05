"""Detection: images, their objects, and what each model finds: boxes with class (and score), masks."""

import numpy as np
from matplotlib.colors import to_rgba
from matplotlib.patches import Rectangle

from cae.reporting.figures.style import COLOURS, picture_rows, plain, read_examples

CAPTION = """Mask R-CNN: validation images of the data set coco, their objects, and what the fine-tuned models find, with
    scores: the surest of each image, and all from 0.3 on."""


def draw(*paths: str):
    """`paths`: <model>/examples.npz of each model (cae/tasks/detect.py)."""
    images, names, examples = read_examples(paths)
    rows = [("truth", next(iter(examples.values()))), *(("prediction", data) for data in examples.values())]
    figure, axes = picture_rows(1 + len(rows), len(images), ["image", "ground truth", *examples], images=images)
    for column, image in enumerate(images):
        axes[0, column].imshow(image)
        for ax, (kind, data) in zip(axes[1:, column], rows):
            ax.imshow(image.mean(-1), cmap="gray", vmin=0, vmax=255, alpha=0.6)  # so that all colours are of objects
            part = {key: data[f"{kind}_{column}_{key}"] for key in ("boxes", "labels", "masks")}
            objects(ax, names, data.get(f"{kind}_{column}_scores"), **part)
    return figure


def objects(ax, names, scores, boxes, labels, masks) -> None:
    """Boxes [n, 4] (left, top, right, bottom) with their class and, where there are any, scores; masks [n, H, W]."""
    for i, (left, top, right, bottom) in enumerate(boxes):
        colour = COLOURS[labels[i] % len(COLOURS)]
        cover = np.zeros((*masks[i].shape, 4))
        cover[masks[i]] = to_rgba(colour, 0.45)
        ax.imshow(cover, interpolation="nearest")
        corner = left - 0.5, top - 0.5
        ax.add_patch(Rectangle(corner, right - left, bottom - top, fill=False, edgecolor=colour, linewidth=1))
        said = plain(names[labels[i]]) + ("" if scores is None else f" {scores[i]:.2f}".replace("0.", "."))
        box = dict(facecolor=colour, edgecolor="none", pad=0.5)
        ax.text(*corner, said, fontsize=4, color="white", va="top", bbox=box, clip_on=True)
