"""Segmentation: images, their labels, and what each model makes of them; black where nothing is labelled."""

import numpy as np

from cae.reporting.figures.style import category_colours, in_order, name_categories, picture_rows, read_examples

CAPTION = """Semantic segmentation with UperNet: validation images of the data set ade20k, their labels, and what the
    fine-tuned models make of them, each at its best learning rate. Black is not labelled."""


def draw(*paths: str):
    """`paths`: <model>/examples.npz of each model (cae/tasks/choose.py)."""
    images, names, examples = read_examples(paths)
    colours = np.vstack([category_colours(len(names)), [0, 0, 0, 1]])
    truth = in_order(next(iter(examples.values())), "truth")
    maps = [truth, *(in_order(data, "prediction") for data in examples.values())]
    figure, axes = picture_rows(1 + len(maps), len(images), ["image", "ground truth", *examples], images=images)
    for ax, image in zip(axes[0], images):
        ax.imshow(image)
    for row, labels in zip(axes[1:], maps):
        for ax, label in zip(row, labels, strict=True):
            ax.imshow(colours[np.minimum(label, len(names))], interpolation="nearest")
    seen = np.unique(np.concatenate([label.ravel() for label in sum(maps, [])]))
    name_categories(figure, names, [k for k in seen if k < len(names)], "s", 5)
    return figure
