"""The progress bar of long work: images/s and time left."""

import sys

from tqdm import tqdm


def progress(title: str, total: int, **options) -> tqdm:
    """A bar that counts images. In a log, where lines stay, it speaks every ten seconds only."""
    interval = 0.5 if sys.stderr.isatty() else 10
    return tqdm(
        desc=title, total=total, unit=" images", unit_scale=True, mininterval=interval, smoothing=0.05, **options
    )
