"""A tokenizer trained here: images above their reconstructions; how often each token occurs, the commonest first."""

import matplotlib.pyplot as plt
import numpy as np

from cae.reporting.figures.style import COLOURS, GREY, WIDTH, picture_rows

CAPTION = """A d-VAE tokenizer trained here: validation images, their reconstructions from tokens, and how often each token
    of its codebook occurs."""


def draw(path: str):
    """`path`: report.npz in a tokenizer's folder (cae/tasks/train_tokenizer.py)."""
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
