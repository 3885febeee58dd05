"""COCO's layout: every fault of its annotations is found when they are listed, and named with where it is."""

import json
import os

import pytest

from cae.data.detection import Instances
from cae.data.layouts.coco import SHOWN
from cae.data.manifests import check_batches, index
from cae.errors import UserError
from tests.data.conftest import ANNOTATIONS, CATEGORIES, CROWD, HEIGHT, WIDTH, annotation, image

TRAIN = "coco/annotations/instances_train2017.json: "


def without(key, entry):
    return {name: value for name, value in entry.items() if name != key}


def test_changed_annotations_are_another_data_set(write_coco):
    prints = [
        json.loads(write_coco(**change).read_text())["fingerprint"]
        for change in ({}, {}, {"annotations": ANNOTATIONS[:6]})
    ]
    assert prints[0] == prints[1] != prints[2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"annotations": []}, "holds no annotations"),
        ({"images": None}, "not COCO's instances: the list `images` is missing"),
        ({"annotations": [annotation(9, 99)]}, "1 of 1 annotations cannot be used; correct or remove them:\n"
         "  its image is not listed: annotations 9 (image 99)"),
        ({"annotations": [annotation(9, 11, category=1)]}, "its category is not listed: annotations 9 (category 1)"),
        ({"annotations": [annotation(9, 11, segmentation=[])]}, "`segmentation` is missing or empty"),
        ({"annotations": [annotation(9, 11, segmentation=None)]}, "`segmentation` is missing or empty"),
        ({"annotations": [without("segmentation", annotation(9, 11))]}, "`segmentation` is missing or empty"),
        ({"annotations": [annotation(9, 11, segmentation=[[1, 2, 3, 4]])]}, "three points or more: annotations 9 ([1, 2, 3, 4])"),
        ({"annotations": [annotation(9, 11, segmentation={"size": [HEIGHT, WIDTH], "counts": [2000]})]},
         "more or fewer pixels than its image: annotations 9 (2000, not 2400)"),
        ({"annotations": [annotation(9, 11, bbox=[0, 0, -5, 9])]},
         "`bbox` is not left, top, width and height in pixels: annotations 9 ([0, 0, -5, 9])"),
        ({"annotations": [annotation(9, 11, bbox=[0, float("nan"), 5, 9])]}, "annotations 9 ([0, nan, 5, 9])"),
        ({"annotations": [annotation(9, 11, bbox=[0, 0, float("inf"), 9])]}, "annotations 9 ([0, 0, inf, 9])"),
        ({"annotations": [annotation(9, 11, bbox=[0, 0, "5", 9])]}, "annotations 9 ([0, 0, '5', 9])"),
        ({"annotations": [annotation(9, 11, bbox=[0, 0, 5])]}, "annotations 9 ([0, 0, 5])"),
        ({"annotations": [annotation(9, 11, bbox="0 0 5 9")]}, "annotations 9 ('0 0 5 9')"),
        ({"annotations": [annotation(9, 11, bbox=None)]}, "annotations 9 (None)"),
        ({"annotations": [annotation(9, 11, area="45")]}, "`area` is no number of pixels: annotations 9 ('45')"),
        ({"annotations": [annotation(9, 11, area=[45])]}, "`area` is no number of pixels: annotations 9 ([45])"),
        ({"annotations": [annotation(9, 11, area=float("nan"))]}, "annotations 9 (nan)"),
        ({"annotations": [annotation(9, 11, area=-1)]}, "annotations 9 (-1)"),
        ({"annotations": [annotation("9", 11)]}, "`id` is not an integer: annotations 9 ('9')"),
        ({"annotations": [annotation(9, "11")]}, "`image_id` is not an integer: annotations 9 ('11')"),
        ({"annotations": [annotation(9, 11, category=7.5)]}, "`category_id` is not an integer: annotations 9 (7.5)"),
        ({"annotations": [annotation(9, 11), {"id": 8}]}, "`image_id` is missing: annotations 8"),
        ({"annotations": [annotation(9, 11), without("id", annotation(9, 11))]},
         "`id` is missing: annotations without id at place 2"),
        ({"annotations": [annotation(9, 11), [1, 2]]},
         "no object of keys and values: annotations without id at place 2 ([1, 2])"),
        ({"annotations": [annotation(0, 11)]}, "`id` is 0, which is no object to COCO's evaluator: count from 1: annotations 0"),
        ({"annotations": [annotation(9, 11, iscrowd=None)]}, "`iscrowd` is neither 0 nor 1: annotations 9 (None)"),
        ({"annotations": [annotation(9, 11, iscrowd=1, segmentation=CROWD | {"size": [60, 40]})]},
         "`segmentation` is of another size than its image: annotations 9 ([60, 40], not [40, 60])"),
        # two of one name or number, of which one would be lost
        ({"annotations": [annotation(2, 11), annotation(2, 14)]}, "`id` is that of another: annotations 2 (at places 1 and 2)"),
        ({"images": [image(11), image(12), image(11, "13.jpg")]}, "`id` is that of another: images 11 (at places 1 and 3)"),
        ({"images": [image(11), image(12, "./11.jpg")]},
         "`file_name` is that of another: images 12 ('11.jpg' at places 1 and 2)"),
        ({"categories": [*CATEGORIES, {"id": 7, "name": "bird"}]},
         "`id` is that of another: categories 7 (at places 1 and 3)"),
        ({"categories": [*CATEGORIES, {"id": 8, "name": "kite"}]},
         "`name` is that of another: categories 8 ('kite' at places 1 and 3)"),
        # images and categories
        ({"categories": [{"id": 7}]},
         "1 of 1 categories cannot be used; correct or remove them:\n  `name` is missing: categories"),
        ({"categories": [{"id": 7, "name": "kite"}, {"id": 3, "name": "mug"}]}, "its categories are not those of train2017"),
        ({"images": [without("width", image(11))]}, "`width` is missing: images 11"),
        ({"images": [without("id", image(11))]}, "`id` is missing: images without id at place 1"),
        ({"images": [image(11, width=60.5)]}, "`width` is not an integer: images 11 (60.5)"),
        ({"images": [image(11, width=-60)]}, "not those of an image that can be read: images 11 (-60x40)"),
        ({"images": [image(11, width=10**12)]}, "images 11 (1000000000000x40)"),
        ({"images": [image(11, "../train2017/11.jpg")]}, "does not lead to a file below the split's folder"),
        ({"images": [image(11, "/11.jpg")]}, "does not lead to a file below the split's folder"),
        ({"images": [image(11, height=41)], "annotations": [annotation(1, 11)]},
         "11.jpg: 60x40 pixels, its annotations say 60x41"),
        ({"images": [image(11, "gone.jpg")], "annotations": [annotation(1, 11)]},
         "1 images of the annotations are missing, first gone.jpg"),
    ],
)  # fmt: skip
def test_annotations_that_cannot_be_used_are_named(write_coco, change, message):
    with pytest.raises(UserError) as error:
        write_coco(**change)
    assert message in str(error.value)


def test_all_faults_of_both_splits_are_told_at_once(write_coco):
    short = {"size": [HEIGHT, WIDTH], "counts": [100]}
    faulty = [annotation(i, 11, segmentation=short) for i in range(1, SHOWN + 4)]
    with pytest.raises(UserError) as error:
        write_coco(
            annotations=[*faulty, annotation(50, 99), annotation(51, 11)],
            val={"annotations": [annotation(5, 21, bbox=[])]},
        )
    first, runs, unlisted, second, box = str(error.value).splitlines()
    assert first.endswith(f"{TRAIN}{SHOWN + 4} of {SHOWN + 5} annotations cannot be used; correct or remove them:")
    assert runs.endswith(f"{SHOWN} (100, not 2400) and 3 more") and "annotations 1 (100, not 2400), 2 (" in runs
    assert unlisted == "  its image is not listed: annotations 50 (image 99)"
    assert second.endswith("instances_val2017.json: 1 of 1 annotations cannot be used; correct or remove them:")
    assert box.endswith("annotations 5 ([])")


def test_what_others_leave_out_is_completed_for_listing_training_and_evaluation(write_coco, capsys):
    bare = [{key: each[key] for key in ("id", "image_id", "category_id", "segmentation")} for each in ANNOTATIONS[:2]]
    train = Instances(write_coco(annotations=bare), 0, labelled=True)
    told = capsys.readouterr().out
    assert f"{TRAIN}2 annotations have no `iscrowd`; taken as 0" in told
    assert f"{TRAIN}2 annotations have no `bbox`; taken as the box around the outline" in told
    assert f"{TRAIN}2 annotations have no `area`; taken as the area of the outline" in told
    found = [(each["area"], each["iscrowd"], each["bbox"]) for each in train.coco.dataset["annotations"]]
    assert found == [(600, 0, [10, 5, 20, 30]), (190, 0, [40, 0, 19, 10])]


@pytest.mark.parametrize("split", ["train2017", "val2017"])
@pytest.mark.parametrize("change, kind", [
    ({"area": 0}, "1 of area 0; .*leave `area` out"),
    ({"iscrowd": 1}, "1 crowds; set `iscrowd` to 0"),
    ({"bbox": [0.1, 0.1, 0.5, 0.5], "segmentation": [[0.1, 0.1, 0.6, 0.1, 0.6, 0.6]]}, "1 less than a pixel .*are these shares"),
])  # fmt: skip
def test_a_split_with_nothing_to_learn_is_refused(write_coco, split, change, kind):
    mine = {"annotations": [annotation(1, 11 if split == "train2017" else 21) | change]}
    with pytest.raises(UserError, match=f"instances_{split}.json: 1 of 1 objects cannot be learned: {kind}"):
        write_coco(**mine if split == "train2017" else {"val": mine})


def test_a_batch_is_of_images_that_have_something_to_learn(write_coco):
    manifest = write_coco(batches={"coco.batch_size": 2})  # of four images, two
    assert len(Instances(manifest, 0, labelled=True)) == 2
    told = "coco.batch_size: 3 is above the 2 training images with objects to learn; lower it in params"
    with pytest.raises(UserError, match=told):
        write_coco(batches={"coco.batch_size": 3})
    with pytest.raises(UserError, match=told):
        check_batches({str(manifest): {"coco.batch_size": 3}})


def test_a_file_of_annotations_that_is_cut_off_or_missing_is_to_be_got_again(write_coco, tmp_path):
    write_coco()
    path = tmp_path / "coco/annotations/instances_train2017.json"
    path.write_text(path.read_text()[:-100])
    with pytest.raises(UserError, match="instances_train2017.json: cut off or damaged .*; get it again"):
        index("coco", str(tmp_path / "coco"), tmp_path / "again.json")
    path.unlink()
    with pytest.raises(UserError, match="instances_train2017.json: annotations are missing"):
        index("coco", str(tmp_path / "coco"), tmp_path / "again.json")


def test_an_image_that_is_missing_is_named(write_coco, tmp_path):
    write_coco()
    os.remove(tmp_path / "coco/val2017/22.jpg")
    with pytest.raises(UserError, match="val2017: 1 images of the annotations are missing, first 22.jpg"):
        index("coco", str(tmp_path / "coco"), tmp_path / "again.json")
