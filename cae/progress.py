"""What long work shows: a bar with images/s and time left, and notes."""

import sys

from tqdm import tqdm


def progress(title: str, total: int, **options) -> tqdm:
    """A bar that counts images. In a log, where lines stay, it speaks every ten seconds only."""
    interval = 0.5 if sys.stderr.isatty() else 10
    return tqdm(
        desc=title, total=total, unit=" images", unit_scale=True, mininterval=interval, smoothing=0.05, **options
    )


def note(text: str) -> None:
    """Print what a user should know although the work goes on. Of a job's log, the terminal of the run shows these lines."""
    for line in text.split("\n"):
        print(f"note: {line}", flush=True)
