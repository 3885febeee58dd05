"""Figure 3: what is hidden from CAE, and what contrastive methods compare."""

import numpy as np
from matplotlib.patches import Rectangle
from matplotlib.ticker import PercentFormatter

from cae.reporting.figures.style import COLOURS, picture_rows, plain

CAPTION = """Random block-wise sampling (top) and random cropping (bottom). Random block-wise sampling is used in CAE: grey
    patches are masked. Random cropping is a key data-augmentation scheme for contrastive pretraining. Right, of many draws:
    how often each patch is masked, and how often each pixel of a square image lies in a crop."""


def draw(path: str):
    """`path`: images, their masks, labels, boxes of random crops, and both frequencies (cae/analysis/masks_and_crops.py)."""
    data = dict(np.load(path))
    figure, axes = picture_rows(2, 1 + len(data["images"]), ["random block-wise\nsampling", "random\ncropping"])
    for i, (image, mask, boxes) in enumerate(zip(data["images"], data["masks"], data["boxes"], strict=True)):
        for ax in axes[:, i]:
            ax.imshow(image)
        size, patches = len(image), len(mask)
        cover = np.full((*mask.shape, 4), 0.6) * mask[..., None]
        cover[..., 3] = mask
        axes[0, i].imshow(cover, extent=(-0.5, size - 0.5, size - 0.5, -0.5), interpolation="nearest")
        lines = np.arange(1, patches) * size / patches - 0.5
        axes[0, i].hlines(lines, -0.5, size - 0.5, "white", linewidth=0.4)
        axes[0, i].vlines(lines, -0.5, size - 0.5, "white", linewidth=0.4)
        axes[0, i].set_title(plain(data["labels"][i]))
        for k, (left, top, right, bottom) in enumerate(boxes):
            corner, sides = (left - 0.5, top - 0.5), (right - left, bottom - top)
            for colour, width in (("white", 3), (COLOURS[k % len(COLOURS)], 1.6)):  # a white rim: seen on any image
                axes[1, i].add_patch(Rectangle(corner, *sides, fill=False, edgecolor=colour, linewidth=width))
    for ax, name, said in zip(axes[:, -1], ("mask_frequency", "crop_frequency"), ("masked", "inside")):
        drawn = ax.imshow(data[name], vmin=0, vmax=1, cmap="viridis")
        ax.set_title(f"how often {said}:\n{data[name].min():.0%} to {data[name].max():.0%}", fontsize=7)
    bar = figure.colorbar(drawn, ax=axes[:, -1], aspect=30, pad=0.02, format=PercentFormatter(1))
    bar.outline.set_visible(False)
    return figure
