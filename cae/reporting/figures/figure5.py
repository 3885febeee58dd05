"""Figure 5: patches in the plane, a colour a category, of the pretrained encoder and of one with random weights."""

import matplotlib.pyplot as plt
import numpy as np

from cae.reporting.figures.style import WIDTH, category_colours, name_categories

CAPTION = """t-SNE (one color for one category) of representations of patches, from images of the data set ade20k. Left: ViT
    pretrained with CAE; right: ViT with random weights. Purity is the share of a point's ten nearest neighbours that have
    its category; elsewhere: of its ten nearest among patches of other images and other positions, since where the camera
    stands still a position alone tells the category, which random weights do not hide."""


def draw(path: str):
    """`path`: points of both encoders, their categories and both kinds of purity (cae/analysis/tsne.py)."""
    data = dict(np.load(path))
    names, labels = data["class_names"], data["labels"]
    colours = category_colours(len(names))
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.9))
    for side, weights in enumerate(("pretrained", "random weights")):
        points = data[f"points_{side}"]
        size = np.clip(6000 / len(points), 0.6, 8)
        axes[side].scatter(*points.T, s=size, c=colours[labels], linewidths=0, rasterized=True)
        axes[side].set(xticks=[], yticks=[], aspect="equal", adjustable="datalim")
        purity, elsewhere = (data[name][side] for name in ("purity", "purity_elsewhere"))
        axes[side].set_title(f"{data['models'][side]} ({weights})\npurity {purity:.2f}, elsewhere {elsewhere:.2f}")
        axes[side].spines[:].set_visible(True)
    name_categories(figure, names, np.unique(labels), "o", 4)
    return figure
