"""Whether boxes of COCO's annotations are what they should be, and which objects a detector can learn."""

from collections import Counter
from pathlib import Path

from pycocotools import mask

from cae.data.coco.outlines import bounds
from cae.data.coco.reading import as_rle, sizes_of
from cae.errors import UserError

CLOSE = 0.9  # overlap from which a box fits its outline closely
EDGE = 1  # pixels that a box may reach over its image's edge: COCO's are rounded
OTHERS = {  # what else tools write as four numbers, to left, top, width and height
    "corners (left, top, right, bottom)": lambda box, w, h: (box[0], box[1], box[2] - box[0], box[3] - box[1]),
    "centres with width and height": lambda box, w, h: (box[0] - box[2] / 2, box[1] - box[3] / 2, *box[2:]),
    "shares of their image": lambda box, w, h: (box[0] * w, box[1] * h, box[2] * w, box[3] * h),
    "centres and sizes as shares of their image": lambda box, w, h: (
        (box[0] - box[2] / 2) * w, (box[1] - box[3] / 2) * h, box[2] * w, box[3] * h),
}  # fmt: skip
CROWD, NO_AREA, NARROW, OUTSIDE = "crowds", "of area 0", "less than a pixel wide or high", "outside of their image"
REMEDIES = {
    CROWD: "set `iscrowd` to 0 where a single object is meant, or add single objects",
    NO_AREA: "give areas in pixels, or leave `area` out: the outline's is taken then",
    NARROW: "give boxes in pixels: are these shares of their image?",
    OUTSIDE: "give boxes in pixels of the image as it is stored",
}


def check_boxes(path: Path, data: dict) -> list[str]:
    """Describe how many boxes leave their image, and how many lie elsewhere than their outline.

    Raises UserError where most boxes do, and where most are of another kind.
    """
    annotations, sizes = data["annotations"], sizes_of(data)
    outlines = [_bounds(each["segmentation"], *sizes[each["image_id"]]) for each in annotations]
    fits = [overlap(each["bbox"], outline) for each, outline in zip(annotations, outlines)]
    if kind := _other_kind(annotations, outlines, sizes, fits):
        raise UserError(f"{path}: most boxes look like {kind}; make `bbox` left, top, width and height in pixels")
    apart = [each for each, fit in zip(annotations, fits) if fit <= 0.5]
    outside = [each for each in annotations if leaves(each["bbox"], *sizes[each["image_id"]])]
    lines = []
    for found, fault, use in (
        (apart, "lie elsewhere than the outlines of their objects", "they are used as they are"),
        (outside, "reach over the edge of their image", "they are cut there"),
    ):
        if not found:
            continue
        first = f"first that of annotation {found[0]['id']}, {found[0]['bbox']}"
        line = f"{path}: {len(found)} of {len(annotations)} boxes {fault}, {first}"
        if 2 * len(found) > len(annotations):
            raise UserError(f"{line}; correct `bbox`: left, top, width and height in pixels")
        lines.append(f"{line}; {use}")
    return lines


def leaves(box: list, width: int, height: int) -> bool:
    left, top, w, h = box
    return left < -EDGE or top < -EDGE or left + w > width + EDGE or top + h > height + EDGE


def overlap(box: tuple, bounds: tuple) -> float:
    """Return the intersection of a box (left, top, width, height) and bounds (left, top, right, bottom) over their union.

    Both get a pixel more on each side, so that rounding does not part small ones. A box of negative size has 0.
    """
    (left, top, w, h), (low, high, right, bottom) = box, bounds
    across = min(left + w, right) - max(left, low) + 2
    down = min(top + h, bottom) - max(top, high) + 2
    if min(w, h, across, down) < 0:
        return 0.0
    return across * down / ((w + 2) * (h + 2) + (right - low + 2) * (bottom - high + 2) - across * down)


def _bounds(outline: list | dict, width: int, height: int) -> tuple:
    if isinstance(outline, list):
        return bounds(outline)
    left, top, w, h = mask.toBbox(as_rle(outline, width, height)).tolist()
    return left, top, left + w, top + h


def _other_kind(annotations: list[dict], outlines: list[tuple], sizes: dict, fits: list[float]) -> str | None:
    """Name the kind of box as which most fit their outlines closely, where most do not as they should."""
    if 2 * sum(fit >= CLOSE for fit in fits) > len(fits):
        return None
    for kind, read in OTHERS.items():
        boxes = (read(each["bbox"], *sizes[each["image_id"]]) for each in annotations)
        if 2 * sum(overlap(box, outline) >= CLOSE for box, outline in zip(boxes, outlines)) > len(fits):
            return kind
    return None


def count_learnable(path: Path, data: dict) -> tuple[int, list[str]]:
    """Return how many images have an object that can be learned, and a line about objects that cannot; UserError where all are
    such."""
    sizes, found, learnable = sizes_of(data), Counter(), set()
    for each in data["annotations"]:
        if kind := hindrance(each, *sizes[each["image_id"]]):
            found[kind] += 1
        else:
            learnable.add(each["image_id"])
    kinds = ", ".join(f"{count} {kind}" for kind, count in found.items())
    line = f"{path}: {found.total()} of {len(data['annotations'])} objects cannot be learned: {kinds}"
    if not learnable:
        raise UserError(f"{line}; {REMEDIES[found.most_common(1)[0][0]]}")
    return len(learnable), [line] if found else []


def hindrance(annotation: dict, width: int, height: int) -> str | None:
    """Why a detector cannot learn an object (mmdetection's rule), or None where it can."""
    left, top, w, h = annotation["bbox"]
    if annotation["iscrowd"]:
        return CROWD
    if annotation["area"] <= 0:
        return NO_AREA
    if w < 1 or h < 1:
        return NARROW
    if min(left + w, width) <= max(left, 0) or min(top + h, height) <= max(top, 0):
        return OUTSIDE
    return None
