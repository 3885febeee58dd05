"""Figure 3's argument in numbers: how often each patch is masked, and how often each pixel lies in a random crop."""

from matplotlib.ticker import PercentFormatter


def frequency_column(figure, axes, data: dict) -> None:
    """On two axes, above each other and beside the examples: both maps on one scale, with the range that each spans."""
    for ax, frequency, title in zip(
        axes, (data["mask_frequency"], data["crop_frequency"]), ("is masked", "is in the crop")
    ):
        drawn = ax.imshow(frequency, vmin=0, vmax=1, cmap="viridis")
        ax.set_title(title)
        ax.set_xlabel(f"{frequency.min():.0%} to {frequency.max():.0%} of draws", fontsize=7)
    bar = figure.colorbar(drawn, ax=axes, aspect=30, pad=0.02, format=PercentFormatter(1))
    bar.outline.set_visible(False)
