"""Manifests: every image of a data set is checked once and listed; later the data set is compared with the list.

A manifest (JSON) stands for the data set everywhere else: its fingerprint is of the files' names, sizes and labels, and
its root may be an environment variable, so that the same manifest serves every machine.
"""

import json
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from cae.data.datasets import expand
from cae.data.image_checks import check_image, notes, refuse_dark, refuse_unlabelled
from cae.data.layouts import layout_of, listing
from cae.errors import UserError
from cae.files import json_text, read_json, text_hash, write_text
from cae.progress import note, progress

SKIPPED = 0.01  # of all images, the largest share that may be left out: with more, something else is wrong


def index(
    layout: str,
    root: str,
    output: Path,
    threads: int = 1,
    classes: int | None = None,
    batches: dict[str, int] | None = None,
    unreadable: str = "stop",
) -> None:
    """Check every image of a data set and write its manifest.

    `batches`: sizes of all batches that are trained on it, by key of params. `unreadable`: "skip" leaves out the few images that
    cannot be used, prints them, and lists them as `skipped` in each split of the manifest. Printed besides: counts of files that
    are left out, of images that EXIF asks to turn, of images with more than 8 bits a channel, and of images that are in both
    splits.

    Raises UserError for a folder in another layout, for a split of one class, for COCO's annotations of images that are not
    there or of what is no box, and for a batch above the training images; then one that lists every file that cannot be read,
    and every label map that does not fit its image or holds a class above `classes`; then for a split of which no pixel is
    labelled.
    """
    folder, layout_file = expand(root), layout_of(layout)
    names, splits = listing(layout_file, folder, classes)
    for name, split in splits.items():
        for text in split.pop("notes", []):
            note(text)
        if left_out := split.pop("left_out", None):
            counts = ", ".join(f"{count} {kind}" for kind, count in left_out.most_common())
            note(f"{root}: {name}: left out, since these are no images of the layout: {counts}")
        if "labels" in split and len(set(split["labels"])) == 1:
            raise UserError(
                f"{folder}: {name}: all images are of one class, so that any classifier is right; add others"
            )
    if wrong := too_large(batches or {}, next(iter(splits.values()))):
        raise UserError("\n".join(wrong))
    jobs = [folder / path for split in splits.values() for path in split["images"]]
    sizes = [size for split in splits.values() for size in split.pop("sizes", [None] * len(split["images"]))]
    check_labels = getattr(layout_file, "check_labels", None)
    check = partial(check_image, check_labels=check_labels and partial(check_labels, classes=len(names)))
    with ThreadPoolExecutor(threads) as pool:
        checked = list(progress(f"checking {root}", len(jobs), iterable=pool.map(check, jobs, sizes)))
    if faults := {path: image.fault for path, image in zip(jobs, checked) if image.fault}:
        more = f"\n… and {len(faults) - 10} more" if len(faults) > 10 else ""
        told = f"{len(faults)} of {len(jobs)} images cannot be used:\n" + "\n".join(list(faults.values())[:10]) + more
        if unreadable == "stop":
            raise UserError(f"{told}\nor leave them out: `datasets.<name>.unreadable: skip` in params")
        if len(faults) > SKIPPED * len(jobs):
            raise UserError(f"{told}\nmore than {SKIPPED:.0%}: too many to be skipped; is the data set whole?")
        note(f"{told}\nthey are left out, and listed as `skipped` in {output}")
        for split in splits.values():
            _leave_out({path for path in split["images"] if folder / path in faults}, split, names)
    refuse_dark(root, checked)
    found = dict(zip(jobs, checked))
    images = {name: {path: found[folder / path] for path in split["images"]} for name, split in splits.items()}
    refuse_unlabelled(root, images)
    for text in notes(root, images):
        note(text)
    write_text(output, _text(layout, root, names, splits))


def unchecked_text(layout: str, root: str, classes: int | None) -> str:
    """Return what `index` writes where it finds no fault, without opening an image: files are listed, and their sizes read."""
    names, splits = listing(layout_of(layout), expand(root), classes)
    for split in splits.values():
        for known in ("left_out", "sizes", "notes"):  # not part of a manifest
            split.pop(known, None)
    return _text(layout, root, names, splits)


def _text(layout: str, root: str, names: list[str], splits: dict) -> str:
    """Return a manifest's text; `splits`: as they are listed."""
    folder, layout_file = expand(root), layout_of(layout)
    for name, split in splits.items():
        split["bytes"] = [(folder / path).stat().st_size for path in split["images"]]
        if "annotations" not in split and hasattr(layout_file, "annotations_hash"):
            split["annotations"] = layout_file.annotations_hash(folder, name, split["images"])
    content = {"layout": layout, "classes": names, "splits": splits}
    fingerprint = text_hash(json.dumps(content | {"splits": _listed(splits)}, sort_keys=True))
    return json_text({"root": root, "fingerprint": fingerprint, **content})


def _listed(splits: dict[str, dict]) -> dict[str, dict]:
    """Leave out what is counted anew from the files that a split lists."""
    return {name: {key: part for key, part in split.items() if key != "learnable"} for name, split in splits.items()}


def _leave_out(skipped: set[str], split: dict, classes: list[str]) -> None:
    """Take images out of a split that lists them; UserError where a class has no others."""
    if not skipped:
        return
    labels = split.get("labels", [None] * len(split["images"]))
    kept = [(path, label) for path, label in zip(split["images"], labels) if path not in skipped]
    if bare := set(labels) - {label for _, label in kept}:
        raise UserError(f"{classes[min(bare)]}: none of this class's images can be used; replace them")
    split["images"] = [path for path, _ in kept]
    if "labels" in split:
        split["labels"] = [label for _, label in kept]
    split["skipped"] = sorted(skipped)


def too_large(batches: dict[str, int], split: dict) -> list[str]:
    """Return what to do about each batch that is larger than the images of `split` that can be trained on, and about each
    warm-up (a key that ends in `warmup_steps`) that needs more of them."""
    count = split.get("learnable", len(split["images"]))
    kind = "training images with objects to learn" if "learnable" in split else "training images"
    return [
        f"{key}: all epochs of the {count} {kind} are no more steps than that; lower it in params, or use {size} images"
        if key.endswith("warmup_steps")
        else f"{key}: {size} is above the {count} {kind}; lower it in params"
        for key, size in batches.items()
        if size > count
    ]


def check_batches(manifests: dict[str, dict[str, int]]) -> None:
    """Raise UserError where a batch is larger than the training images that a manifest lists.

    `manifests`: for each file, the batches trained on its data set (see `index`). Files that do not exist are left to `index`.
    """
    wrong = []
    for path, batches in manifests.items():
        if Path(path).exists():
            wrong += too_large(batches, next(iter(read_json(path)["splits"].values())))
    if wrong:
        raise UserError("\n".join(wrong))
