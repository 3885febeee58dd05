"""What lies where in a data set on disk, one file a layout.

Each file has `SPLITS`, names of the split to train on and of that to validate on; `PUBLISHED`, how large the published data
set is; and `listing(root, classes)`, which takes the root and a number of classes, where params give it, and returns the
classes' names and, for each split in this order, its images (paths below the root) and what is known of them. No image is
opened.

It may have, besides:

- `check_labels(path, image, classes)`: returns what is wrong with the label map of an image (a path and the image read from it).
- `annotations_hash(root, split, images)`: hashes what annotates the images of a split.
- `ANNOTATIONS_LIST_IMAGES = True`: one file of annotations lists a split's images, so that its hash holds for the list too.
"""

import importlib
from types import ModuleType


def layout_of(name: str) -> ModuleType:
    """Return the file of the layout `name`, which params name."""
    return importlib.import_module(f"cae.data.layouts.{name}")
