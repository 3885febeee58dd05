"""Annotations are read in any encoding of JSON; keys that are left out are what COCO's own tools take them for."""

import codecs
import json

import numpy as np
import pytest
from pycocotools import mask
from pycocotools.coco import COCO

from cae.data.coco.reading import complete, read_instances
from cae.errors import UserError
from tests.data.conftest import BOX, CROWD, annotation, image, outline


@pytest.mark.parametrize("start, encoding", [
    (b"", "utf-8"), (codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")
])  # fmt: skip
def test_json_is_read_with_and_without_a_byte_order_mark(tmp_path, start, encoding):
    content = {"categories": [{"id": 1, "name": "café"}]}
    (tmp_path / "x.json").write_bytes(start + json.dumps(content, ensure_ascii=False).encode(encoding))
    assert read_instances(tmp_path / "x.json") == content


def test_a_key_that_is_there_twice_is_named(tmp_path):
    (tmp_path / "x.json").write_text('{"annotations": [{"id": 1, "bbox": [], "id": 2}]}')
    with pytest.raises(UserError, match="x.json: .*the key 'id' is there twice in one object"):
        read_instances(tmp_path / "x.json")


@pytest.mark.parametrize("segmentation", [
    outline(*BOX), [*outline(*BOX), *outline(32, 5, 4, 4)], CROWD, {"size": [40, 60], "counts": [100, 50, 2250]}
])  # fmt: skip
def test_a_missing_area_or_box_is_that_of_the_mask_and_a_missing_iscrowd_is_0(segmentation):
    given = annotation(1, 11, segmentation=segmentation)
    bare = {key: value for key, value in given.items() if key not in ("iscrowd", "area", "bbox")}
    data = {"images": [image(11)], "annotations": [given, bare], "categories": []}
    assert complete(data) == {"iscrowd": 1, "area": 1, "bbox": 1}
    coco = COCO()
    coco.dataset = data
    coco.createIndex()
    pixels = coco.annToMask(given)
    rows, columns = np.nonzero(pixels)
    assert bare["area"] == pixels.sum() and bare["iscrowd"] == 0
    assert bare["bbox"] == [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
    assert given["area"] == BOX[2] * BOX[3]  # what is there is left alone


def test_results_of_pycocotools_get_the_same_defaults():
    """`COCO.loadRes` is where COCO's own tools complete objects."""
    coco = COCO()
    coco.dataset = {"images": [image(11)], "annotations": [], "categories": [{"id": 7, "name": "kite"}]}
    coco.createIndex()
    (theirs,) = coco.loadRes([{"image_id": 11, "category_id": 7, "segmentation": CROWD}]).dataset["annotations"]
    ours = {"image_id": 11, "segmentation": CROWD}
    complete({"images": [image(11)], "annotations": [ours]})
    assert (ours["area"], ours["iscrowd"]) == (theirs["area"], theirs["iscrowd"]) == (mask.decode(CROWD).sum(), 0)
    assert ours["bbox"] == list(theirs["bbox"]) == [0, 0, 10, 10]
