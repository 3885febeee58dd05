"""What lies where in a data set on disk, one file a layout.

Each file has:

- `SPLITS`: names of the split to train on and of the split to validate on.
- `PUBLISHED`: how large the published data set is.
- `NEEDED`: paths below the root that must exist; `EXPECTED`: the layout as lines for readers.
- `listing(root, classes)`: takes the root and a number of classes, where params give it; returns the names of the classes and,
  for each split in the order of SPLITS, its images (paths below the root) and what is known of them: `labels` (numbers of
  classes), `sizes` (width and height by the annotations), `annotations` (their hash), `learnable` (how many images
  have an object that can be learned), `left_out` (counts of what was not listed, by a name for readers), `notes` (lines for
  readers). It opens no image. It raises WrongLayout where the root does not look like this layout.

It may have, besides:

- `looks_like(root)`: recognises what lies in the place of this layout and returns what to do about it, a text each.
- `check_labels(path, image, classes)`: returns what is wrong with the label map of an image (a path and the image read from it),
  and whether any pixel is labelled.
- `annotations_hash(root, split, images)`: hashes what annotates the images of a split.
- `ANNOTATIONS_LIST_IMAGES = True`: one file of annotations lists a split's images, so that its hash holds for the list too.
"""

import importlib
from pathlib import Path
from types import ModuleType

from cae.data.layouts.parts import WrongLayout, contents
from cae.errors import UserError

SEARCHED = 200, 3  # folders below a wrong root, and their depth, in which the right one is looked for


def layout_of(name: str) -> ModuleType:
    """Return the file of the layout `name`, which params name."""
    return importlib.import_module(f"cae.data.layouts.{name}")


def listing(layout: ModuleType, root: Path, classes: int | None) -> tuple[list[str], dict]:
    """Return what the layout lists below `root`; where that is in another layout, say what is expected and what is there."""
    try:
        return layout.listing(root, classes)
    except WrongLayout as error:
        places = {root / path for needed in layout.NEEDED for path in (needed, *map(str, Path(needed).parents))}
        lines = [str(error), f"expected below {root}:", *(f"  {line}" for line in layout.EXPECTED), "found there:"]
        lines += [
            f"  {path.relative_to(root)}: {contents(path).description()}" for path in sorted(places) if path.is_dir()
        ]
        if right := _right_root(layout, root):
            lines.append(f"Is {right} the root?")
        elif hasattr(layout, "looks_like"):
            lines += layout.looks_like(root)
        raise UserError("\n".join(lines)) from None


def _right_root(layout: ModuleType, root: Path) -> Path | None:
    """Where `root` has nothing that the layout needs, look around it for a folder that has all of it."""
    if any((root / needed).exists() for needed in layout.NEEDED):
        return None
    most, depth = SEARCHED
    around = [(root.parent, depth), (root, 0)]
    for folder, level in around:
        if folder != root and all((folder / needed).exists() for needed in layout.NEEDED):
            return folder
        if level < depth and len(around) < most:
            around += [(folder / name, level + 1) for name in contents(folder).folders]
    return None
