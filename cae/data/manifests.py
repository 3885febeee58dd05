"""Manifests: every image of a data set is checked once and listed; later the data set is compared with the list.

A manifest (JSON) stands for the data set everywhere else: its fingerprint is of the files' names, sizes and labels, and
its root may be an environment variable, so that the same manifest serves every machine.
"""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from PIL import Image
from PIL.ExifTags import Base

from cae.data.datasets import annotation_of, expand, read_labels, read_rgb
from cae.data.layouts import layout_of
from cae.errors import UserError
from cae.files import file_hash, read_json, text_hash, write_json
from cae.progress import progress

SKIPPED = 0.01  # of all images, the largest share that may be left out: with more, something else is wrong
COMPARED = 25_000  # images of a split whose sizes are compared with the manifest's: all, or so many evenly spread


def index(
    layout: str,
    root: str,
    output: Path,
    threads: int = 1,
    classes: int | None = None,
    batches: dict[str, int] | None = None,
    unreadable: str = "stop",
) -> None:
    """Check every image of a data set and write its manifest; `batches`: sizes of all batches trained on it, by key of params.

    Raises UserError for a folder or a class that is missing or empty, for a split of one class, for COCO's annotations of
    images that are not there or of what is no box, and for a batch above the training images; then one that lists every
    file that is no image, and every label map that does not fit its image or holds a class above `classes`. Where `unreadable`
    is "skip", those few are printed and left out instead, and each split of the manifest lists its own as `skipped`.
    """
    folder = expand(root)
    names, splits = layout_of(layout).listing(folder, classes)
    for name, split in splits.items():
        if "labels" in split and len(set(split["labels"])) == 1:
            raise UserError(
                f"{folder}: {name}: all images are of one class, so that any classifier is right; add others"
            )
    if wrong := too_large(batches or {}, next(iter(splits.values()))["images"]):
        raise UserError("\n".join(wrong))
    jobs = [folder / path for split in splits.values() for path in split["images"]]
    sizes = [size for split in splits.values() for size in split.pop("sizes", [None] * len(split["images"]))]
    check = partial(_check, classes=len(names) if layout == "ade20k" else None)
    with ThreadPoolExecutor(threads) as pool:
        checked = list(progress(f"checking {root}", len(jobs), iterable=pool.map(check, jobs, sizes)))
    if turned := sum(turned for _, turned in checked):
        print(
            f"{root}: {turned} of {len(jobs)} images say in their EXIF how to turn them; they are used as stored, unturned. "
            "To turn the files: `mogrify -auto-orient FILE …`"
        )
    if faults := {path: fault for path, (fault, _) in zip(jobs, checked) if fault}:
        more = f"\n… and {len(faults) - 10} more" if len(faults) > 10 else ""
        told = f"{len(faults)} of {len(jobs)} images cannot be used:\n" + "\n".join(list(faults.values())[:10]) + more
        if unreadable == "stop":
            raise UserError(f"{told}\nor leave them out: `datasets.<name>.unreadable: skip` in params")
        if len(faults) > SKIPPED * len(jobs):
            raise UserError(f"{told}\nmore than {SKIPPED:.0%}: too many to be skipped; is the data set whole?")
        print(f"{told}\nthey are left out, and listed as `skipped` in {output}")
        for split in splits.values():
            _leave_out({path for path in split["images"] if folder / path in faults}, split, names)
    for split in splits.values():
        split["bytes"] = [(folder / path).stat().st_size for path in split["images"]]
        if layout == "ade20k":
            split["annotations"] = _label_maps(folder, split["images"])
    content = {"layout": layout, "classes": names, "splits": splits}
    fingerprint = text_hash(json.dumps(content, sort_keys=True))
    write_json(output, {"root": root, "fingerprint": fingerprint, **content})


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


def too_large(batches: dict[str, int], images: list) -> list[str]:
    """Of each batch that is larger than the training images, what to do."""
    return [
        f"{key}: {size} is above the {len(images)} training images; lower it in params"
        for key, size in batches.items()
        if size > len(images)
    ]


def _check(path: Path, size: list[int] | None, classes: int | None) -> tuple[str | None, bool]:
    """What is wrong with an image, and whether its EXIF asks to turn it.

    `size`: width and height that its annotations give; `classes`: how many its label map may hold, where it has one.
    """
    try:
        image = read_rgb(path)
        fault = _check_labels(annotation_of(path), image, classes) if classes else None
    except UserError as error:
        return str(error), False
    if size and list(image.size) != size:
        fault = f"{path}: {image.width}x{image.height} pixels, its annotations say {size[0]}x{size[1]}"
    return fault, _turned(image)


def _check_labels(path: Path, image: Image.Image, classes: int) -> str | None:
    labels = read_labels(path)
    if labels.shape != image.size[::-1]:
        return f"{path}: {labels.shape[1]}x{labels.shape[0]} pixels, its image has {image.width}x{image.height}"
    if labels.max() > classes:
        return f"{path}: holds class {labels.max()}, above the {classes} of the data set"
    return None


def _turned(image: Image.Image) -> bool:
    try:
        return image.getexif().get(Base.Orientation) in range(2, 9)
    except Exception:  # of EXIF that is none
        return False


def _label_maps(folder: Path, images: list[str]) -> str:
    """A hash of their content: a map of the same regions with another class is often as large."""
    return text_hash("".join(file_hash(annotation_of(folder / path)) for path in images))


def verify(manifests: dict[str, dict[str, int]]) -> None:
    """Raise UserError where a manifest that exists is not of its data set any more, or has too few images for a batch.

    `manifests`: of each file, the batches trained on its data set (see `index`).
    """
    wrong = []
    for path, batches in manifests.items():
        if Path(path).exists():
            data = read_json(path)
            if changed := changes(data):
                wrong += [f"{path}: the data set below {data['root']} is another than when this was made:", *changed]
                wrong += [f"bring it back (or name its root), or index it anew: `rm {path}`, then the same command"]
            wrong += too_large(batches, next(iter(data["splits"].values()))["images"])
    if wrong:
        raise UserError("\n".join(wrong))


def changes(manifest: dict) -> list[str]:
    """What of a data set is no longer as its manifest says; nothing where its root is not on this machine.

    Compared are names and classes of all images, sizes of COMPARED a split, COCO's annotations, and ADE20K's label maps where
    they are no more than COMPARED. 13,000 images take 0.2 s; of ImageNet's 1.28 million, in some ten seconds, every 52nd
    is asked for its size. An image that changed and is as large as before is not noticed.
    """
    layout, found = manifest["layout"], []
    try:
        folder = expand(manifest["root"])
    except UserError:
        return []
    try:
        listed = manifest["splits"] if layout == "coco" else layout_of(layout).listing(folder, None)[1]
    except UserError as error:
        return [str(error)]
    for name, split in manifest["splits"].items():
        then, now = (dict(zip(part["images"], part.get("labels", part["images"]))) for part in (split, listed[name]))
        now = {path: label for path, label in now.items() if path not in split.get("skipped", ())}
        kept = {path for path in _present(folder, then) if path in now}
        sample = list(zip(split["images"], split["bytes"]))[:: len(then) // COMPARED + 1]
        different = {
            "gone": then.keys() - kept,
            "new": now.keys() - then.keys(),
            "of another class": [path for path in kept if now[path] != then[path] and then.keys() == now.keys()],
            "of another size": [
                path for path, size in sample if path in kept and os.path.getsize(f"{folder}/{path}") != size
            ],
        }
        found += [
            f"{name}: {len(paths)} images {what}, first {min(paths)}" for what, paths in different.items() if paths
        ]
        try:
            if layout == "coco":
                same = file_hash(folder / "annotations" / f"instances_{name}.json") == split["annotations"]
            else:
                compared = layout == "ade20k" and len(then) <= COMPARED
                same = not compared or _label_maps(folder, split["images"]) == split["annotations"]
        except FileNotFoundError:
            same = False
        found += [] if same else [f"{name}: annotations changed or gone"]
    return found


def _present(folder: Path, images) -> list[str]:
    """Those of `images` (paths below the folder) that are there."""
    parents = {path.rpartition("/")[0] for path in images}
    there = {
        f"{parent}/{name}" for parent in parents if (folder / parent).is_dir() for name in os.listdir(folder / parent)
    }
    return [path for path in images if path in there]
