"""A data set that did not change keeps its fingerprint, by which token caches find it, whatever the code becomes."""

import json

import pytest
from PIL import Image

from cae.data.manifests import index


def write_bitmap(path, mode="RGB", colour=0):
    """A file of the same bytes on every machine, whatever its ending: PIL looks at the content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (8, 6), colour).save(path, format="BMP")


def imagenet(root):
    for split in ("train", "val"):
        for name in ("cat", "dog"):
            write_bitmap(root / split / name / "0.JPEG")
            write_bitmap(root / split / name / "1.png")


def ade20k(root):
    for split in ("training", "validation"):
        write_bitmap(root / "images" / split / "a.jpg")
        write_bitmap(root / "annotations" / split / "a.png", "L", 3)


def coco(root):
    for split in ("train2017", "val2017"):
        write_bitmap(root / split / "a.jpg")
        box = {"bbox": [1, 1, 4, 4], "area": 16, "segmentation": [[1, 1, 5, 1, 5, 5, 1, 5]], "iscrowd": 0}
        data = {
            "images": [{"id": 7, "file_name": "a.jpg", "width": 8, "height": 6}],
            "categories": [{"id": 3, "name": "cat"}],
            "annotations": [{"id": 1, "image_id": 7, "category_id": 3, **box}],
        }
        (root / "annotations").mkdir(exist_ok=True)
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(data))


def food101(root):
    (root / "meta").mkdir()
    for split, lines in {"train": ["soup/1", "cake/2"], "test": ["cake/4", "soup/5"]}.items():
        (root / f"meta/{split}.txt").write_text("\n".join(lines))
        for line in lines:
            write_bitmap(root / f"images/{line}.jpg")


def clipart(root):
    for split, lines in {"train": ["cat/a.jpg 1", "axe/b.jpg 0"], "test": ["cat/d.jpg 1", "axe/e.jpg 0"]}.items():
        (root / f"clipart_{split}.txt").write_text("".join(f"clipart/{line}\n" for line in lines))
        for line in lines:
            write_bitmap(root / "clipart" / line.split()[0])


@pytest.mark.parametrize(
    "write,keys,fingerprint",
    [
        (imagenet, ["images", "labels", "bytes"], "2092ee5daa5bcb20989bd61e94a1d515d588be339c240a6ed377c759ee213b4e"),
        (
            ade20k,
            ["images", "bytes", "annotations"],
            "6a022f72cb1940404f1eca745b910ed37b1372e22669968b906f153023172a7d",
        ),
        (
            coco,
            ["images", "learnable", "annotations", "bytes"],
            "b249265e714ee40732ea3aedbae4aab30a566ba28852d7f5f0ee4591166a6c19",
        ),
        (food101, ["images", "labels", "bytes"], "4f0544c1402ad2131fc39ecb8e6890a982cfb4bb0ed2d5c71483dbcb97318404"),
        (clipart, ["images", "labels", "bytes"], "271eed981071d7ee6417afbfbced8d42d9a54e54ce5795cd2733c38622c7605e"),
    ],
)
def test_fingerprints_are_those_of_before(write, keys, fingerprint, tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    write(root)
    index(write.__name__, str(root), tmp_path / "m.json", classes=3 if write is ade20k else None)
    manifest = json.loads((tmp_path / "m.json").read_text())
    assert list(manifest) == ["root", "fingerprint", "layout", "classes", "splits"]
    assert [list(split) for split in manifest["splits"].values()] == [
        keys,
        keys,
    ]  # and so the file is the same to the byte
    assert manifest["fingerprint"] == fingerprint
