"""Figure 4: whether the decoder understands the encoder."""

import numpy as np

from cae.reporting.figures.style import GREY, picture_rows

CAPTION = """Predictions are made in the representation space. The full image (top) is fed into the pretrained encoder and
    then the pretrained decoder, skipping the latent contextual regressor, which gives the reconstruction (middle); likewise
    with encoder and decoder pretrained without the alignment constraint (bottom). MSE is of pixels in [0, 1]."""


def draw(path: str):
    """`path`: images, what the two models make of them, and errors (cae/analysis/reconstruction.py)."""
    data = dict(np.load(path))
    keys = ["images", "with_alignment", "without_alignment"]
    figure, axes = picture_rows(3, len(data["images"]), ["full image", "with\nalignment", "without\nalignment"])
    for row, key in enumerate(keys):
        for i, image in enumerate(data[key]):
            axes[row, i].imshow(image)
            if row:
                axes[row, i].set_xlabel(f"MSE {data['mse'][row - 1, i]:.3f}", color=GREY)
    return figure
