"""What is wrong with the entries of COCO's annotations: categories, images and objects, one by one and among each other.

Each function returns, of each kind of fault, the places where it is: the number of an entry and what was found there.
"""

from collections import defaultdict
from os.path import isabs, normpath

from PIL import Image

from cae.data.coco.outlines import finite, outline_fault, short
from cae.data.coco.reading import sizes_of

PIXELS = 2 * Image.MAX_IMAGE_PIXELS  # Pillow refuses larger images
NAMES = {int: "an integer", str: "text"}


def category_faults(data: dict) -> dict[str, list[str]]:
    return _faults(data["categories"], {"id": int, "name": str}, lambda category: None, once=("id", "name"))


def image_faults(data: dict) -> dict[str, list[str]]:
    keys = {"id": int, "file_name": str, "width": int, "height": int}
    return _faults(data["images"], keys, _image_fault, once=("id", "file_name"))


def annotation_faults(data: dict) -> dict[str, list[str]]:
    """Faults of annotations, whose images and categories must be right.

    Crowds and degenerate boxes are none: training leaves them out, and the evaluator knows what to do.
    """
    sizes = sizes_of(data)
    categories = {category["id"] for category in data["categories"]}
    keys = {"id": int, "image_id": int, "category_id": int}
    return _faults(data["annotations"], keys, lambda each: _annotation_fault(each, sizes, categories), once=("id",))


def _faults(entries: list, keys: dict[str, type], fault_of, once: tuple[str, ...]) -> dict[str, list[str]]:
    """`keys`: that each entry must have, and of which type; `once`: of which no two entries may have the same."""
    faults, seen = defaultdict(list), {key: {} for key in once}
    for position, entry in enumerate(entries, 1):
        fault = _key_fault(entry, keys) or fault_of(entry)
        for key, places in {} if fault else seen.items():
            value = normpath(entry[key]) if key == "file_name" else entry[key]
            if (first := places.setdefault(value, position)) != position:
                which = "" if key == "id" else f"{value!r} "
                fault = f"`{key}` is that of another", f"{which}at places {first} and {position}"
        if fault:
            kind, found = fault
            name = entry["id"] if isinstance(entry, dict) and "id" in entry else f"without id at place {position}"
            faults[kind].append(f"{name} ({found})" if found else f"{name}")
    return faults


def _key_fault(entry, keys: dict[str, type]) -> tuple[str, str] | None:
    if not isinstance(entry, dict):
        return "no object of keys and values", short(entry)
    for key, kind in keys.items():
        value = entry.get(key)
        if value is None:
            return f"`{key}` is {'null' if key in entry else 'missing'}", ""
        if not isinstance(value, kind) or isinstance(value, bool):
            return f"`{key}` is not {NAMES[kind]}", short(value)
    return None


def _image_fault(image: dict) -> tuple[str, str] | None:
    width, height, name = image["width"], image["height"], image["file_name"]
    if min(width, height) < 1 or width * height > PIXELS:
        return "width and height are not those of an image that can be read", f"{width}x{height}"
    if isabs(name) or normpath(name).split("/")[0] in ("..", "."):
        return "file_name does not lead to a file below the split's folder", name
    return None


def _annotation_fault(annotation: dict, sizes: dict[int, tuple], categories: set[int]) -> tuple[str, str] | None:
    if annotation["id"] == 0:
        return "`id` is 0, which is no object to COCO's evaluator: count from 1", ""
    if annotation["image_id"] not in sizes:
        return "its image is not listed", f"image {annotation['image_id']}"
    if annotation["category_id"] not in categories:
        return "its category is not listed", f"category {annotation['category_id']}"
    if "iscrowd" in annotation and annotation["iscrowd"] not in (0, 1):
        return "`iscrowd` is neither 0 nor 1", repr(annotation["iscrowd"])
    if "bbox" in annotation and not _is_box(box := annotation["bbox"]):
        return "`bbox` is not left, top, width and height in pixels", short(box)
    if "area" in annotation and (not finite([annotation["area"]]) or annotation["area"] < 0):
        return "`area` is no number of pixels", repr(annotation["area"])
    return outline_fault(annotation.get("segmentation"), *sizes[annotation["image_id"]])


def _is_box(box) -> bool:
    return isinstance(box, list) and len(box) == 4 and finite(box) and min(box[2:]) >= 0
