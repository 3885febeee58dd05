"""DomainNet's layout, of which each domain is a data set: <domain>/<class>/<image>, and a list a split."""

from pathlib import Path

from cae.data.layouts.parts import lines_of
from cae.errors import UserError

SPLITS = "train", "test"
EXPECTED = (
    "<domain>/<class>/<image>",
    "<domain>_train.txt and <domain>_test.txt with a line for each image: its path and the number of its class",
)


def list_domain(domain: str, root: Path, _) -> tuple[list[str], dict]:
    """DomainNet's lists, <domain>_train.txt and <domain>_test.txt: path below the root and number of the class."""
    names, numbers, splits = {}, {}, {}
    for split in SPLITS:
        path = root / f"{domain}_{split}.txt"
        pairs = [line.rpartition(" ")[::2] for line in lines_of(path)]
        for image, label in pairs:
            name = image.split("/")[-2] if "/" in image else ""
            if not name or not label.isdecimal() or names.setdefault(int(label), name) != name:
                raise UserError(f"{path}: not a line of an image and the number of its class: {image} {label}")
            if (other := numbers.setdefault(name, int(label))) != int(label):
                raise UserError(f"{path}: classes {other} and {label} are both named {name!r}; correct the list")
        splits[split] = {"images": [image for image, _ in pairs], "labels": [int(label) for _, label in pairs]}
    if sorted(names) != list(range(len(names))):
        raise UserError(f"{root / domain}_train.txt: classes are not numbered from 0 without a gap")
    return [names[label] for label in range(len(names))], splits
