"""What is wrong with an outline in COCO's format, by arithmetic: pycocotools draws wrong ones from memory that is not theirs.

A fault is (kind, what was found); right outlines have None.
"""

import math
from itertools import chain

import numpy as np

POINTS = 2e7  # the most that pycocotools may put on one polygon: five a pixel of its length, some 20 bytes each


def outline_fault(outline, width: int, height: int) -> tuple[str, str] | None:
    """The fault of an annotation's `segmentation` in an image of that size."""
    if not outline:
        return (
            "`segmentation` is missing or empty, but masks are learned: give polygons or RLE (for a box its corners)",
            "",
        )
    if isinstance(outline, dict):
        return _runs_fault(outline, width, height)
    if not isinstance(outline, list) or not isinstance(outline[0], list):
        return "`segmentation` is no list of polygons, each a list of its own: [[x, y, x, y, …], …]", short(outline)
    for polygon in outline:
        if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
            return "`segmentation` has a polygon that is not x, y of three points or more", short(polygon)
        if not finite(polygon):
            return "`segmentation` has a polygon of other things than numbers", ""
        left, top, right, bottom = bounds([polygon])
        if left < -width or top < -height or right > 2 * width or bottom > 2 * height:
            found = f"from ({left:g}, {top:g}) to ({right:g}, {bottom:g}) in {width}x{height}"
            return "`segmentation` has a polygon farther outside of its image than the image is large", found
        if len(polygon) * 7.5 * max(width, height) > POINTS and (length := _points(polygon)) > POINTS:
            return "`segmentation` has a polygon that is too long to draw", f"{length / 5:.3g} pixels"
    return None


def bounds(polygons: list[list]) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom of polygons."""
    numbers = polygons[0] if len(polygons) == 1 else list(chain.from_iterable(polygons))
    xs, ys = numbers[::2], numbers[1::2]
    return min(xs), min(ys), max(xs), max(ys)


def finite(numbers: list) -> bool:
    """Whether all are numbers, neither NaN nor infinite."""
    try:
        return all(map(math.isfinite, numbers))
    except (TypeError, OverflowError):  # text; an integer beyond floats
        return False


def short(value) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}…"


def _points(polygon: list) -> float:
    """How many points pycocotools puts on a polygon."""
    points = np.reshape(polygon, (-1, 2))
    return float(5 * np.abs(points - np.roll(points, -1, 0)).max(1).sum() + len(points))


def _runs_fault(outline: dict, width: int, height: int) -> tuple[str, str] | None:
    if outline.get("size") != [height, width]:
        return "`segmentation` is of another size than its image", f"{outline.get('size')}, not [{height}, {width}]"
    counts = outline.get("counts")
    if isinstance(counts, str):
        runs = decoded(counts)
    else:
        runs = counts if isinstance(counts, list) and set(map(type, counts)) == {int} else None
    if runs is None or min(runs) < 0:
        return "`segmentation` holds runs (RLE) that cannot be read", short(counts)
    if (pixels := sum(runs)) != height * width:
        return "`segmentation` has runs (RLE) of more or fewer pixels than its image", f"{pixels}, not {height * width}"
    return None


def decoded(counts: str) -> list[int] | None:
    """The runs that a compressed RLE stands for, or None where it is none.

    COCO's text: a number has digits of 5 bits, the lowest first, each a letter from "0" on; 32 says that another follows, 16
    in the last that the number is negative. From the fourth on, numbers are differences to the last run but one.
    """
    letters = np.frombuffer(counts.encode(errors="surrogatepass"), np.uint8).astype(np.int64) - 48
    if not len(letters) or letters.min() < 0 or letters.max() > 63 or letters[-1] & 32:
        return None
    ends = np.flatnonzero(letters & 32 == 0)
    starts = np.concatenate([[0], ends[:-1] + 1])
    digits = ends - starts + 1
    if digits.max() > 7:  # more than any image has pixels
        return None
    places = np.arange(len(letters)) - np.repeat(starts, digits)
    runs = np.add.reduceat((letters & 31) << 5 * places, starts) - (letters[ends] >> 4 << 5 * digits)
    runs[1::2], runs[2::2] = runs[1::2].cumsum(), runs[2::2].cumsum()
    return runs.tolist()
