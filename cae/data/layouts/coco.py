"""COCO's layout: <split>/<image>, and annotations/instances_<split>.json with their objects."""

from pathlib import Path

from cae.data.coco.boxes import check_boxes, count_learnable
from cae.data.coco.entries import annotation_faults, category_faults, image_faults
from cae.data.coco.reading import DEFAULTS, complete, read_instances
from cae.data.layouts.parts import Published, WrongLayout
from cae.errors import UserError
from cae.files import file_hash

SPLITS = "train2017", "val2017"
PUBLISHED = Published(117_266, 5_000, 80, 21e9)
NEEDED = "train2017", "val2017", "annotations/instances_train2017.json", "annotations/instances_val2017.json"
EXPECTED = "<split>/<image>", "annotations/instances_<split>.json", "<split> is train2017 and val2017"
ANNOTATIONS_LIST_IMAGES = True
FAULTS = {"categories": category_faults, "images": image_faults, "annotations": annotation_faults}  # in this order
SHOWN = 10  # entries that are named for each kind of fault


def listing(root: Path, _) -> tuple[list[str], dict]:
    paths = {split: _annotations_file(root, split) for split in SPLITS}
    contents = {split: read_instances(path) for split, path in paths.items()}
    for split, path in paths.items():
        _check_sections(path, contents[split])
    for section, faults in FAULTS.items():
        lines = [line for split in SPLITS for line in _lines(paths[split], contents[split], section, faults)]
        if lines:
            raise UserError("\n".join(lines))
    categories, others = ({each["id"]: each["name"] for each in data["categories"]} for data in contents.values())
    if categories != others:
        raise UserError(f"{paths[SPLITS[1]]}: its categories are not those of {SPLITS[0]}")
    return [categories[number] for number in sorted(categories)], {
        split: _split(root / split, path, contents[split]) for split, path in paths.items()
    }


def annotations_hash(root: Path, split: str, _=None) -> str:
    return file_hash(_annotations_file(root, split))


def _annotations_file(root: Path, split: str) -> Path:
    return root / "annotations" / f"instances_{split}.json"


def _check_sections(path: Path, data) -> None:
    for section in FAULTS:
        if not isinstance(data, dict) or not isinstance(data.get(section), list):
            raise UserError(f"{path}: not COCO's instances: the list `{section}` is missing; get the file that has it")
        if not data[section]:
            raise UserError(f"{path}: holds no {section}; get the file that has them")


def _lines(path: Path, data: dict, section: str, faults) -> list[str]:
    """Describe all faults of a section, a line for each kind."""
    found = faults(data)
    if not found:
        return []
    count = sum(map(len, found.values()))
    lines = [f"{path}: {count} of {len(data[section])} {section} cannot be used; correct or remove them:"]
    for kind, entries in found.items():
        more = f" and {len(entries) - SHOWN} more" if len(entries) > SHOWN else ""
        lines.append(f"  {kind}: {section} {', '.join(entries[:SHOWN])}{more}")
    return lines


def _split(folder: Path, path: Path, data: dict) -> dict:
    """Return what is known of a split; UserError where images are missing, or no object can be learned."""
    images = [image["file_name"] for image in data["images"]]
    if missing := [name for name in images if not (folder / name).exists()]:
        raise WrongLayout(f"{folder}: {len(missing)} images of the annotations are missing, first {missing[0]}")
    added = [f"{path}: {n} annotations have no `{key}`; taken as {DEFAULTS[key]}" for key, n in complete(data).items()]
    notes = added + check_boxes(path, data)
    learnable, more = count_learnable(path, data)
    return {"images": [f"{folder.name}/{name}" for name in images],
            "sizes": [[image["width"], image["height"]] for image in data["images"]],
            "learnable": learnable, "annotations": file_hash(path), "notes": notes + more}  # fmt: skip
