"""COCO's instances: what is learned of them, and augmentation that keeps boxes, masks and pixels in step."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as rle

from cae.data.detection import Instances, Scenes
from cae.data.manifests import index
from cae.errors import UserError
from cae.params import CropPolicy

WIDTH, HEIGHT = 60, 40
BOX = [10, 5, 20, 30]  # left, top, width, height
CROWD = rle.encode(np.asfortranarray(np.pad(np.ones((10, 10), np.uint8), ((0, 30), (0, 50)))))
CROWD = {"size": CROWD["size"], "counts": CROWD["counts"].decode()}


def outline(left, top, width, height):
    return [[left, top, left + width, top, left + width, top + height, left, top + height]]


def annotation(number, image, box=BOX, category=7, **changes):
    return {"id": number, "image_id": image, "category_id": category, "bbox": box, "area": box[2] * box[3],
            "segmentation": outline(*box), "iscrowd": 0} | changes  # fmt: skip


ANNOTATIONS = [
    annotation(1, 11),
    annotation(2, 11, [40, 0, 19, 10], category=3),
    annotation(3, 11, [30, 20, 0.5, 9]),  # narrower than a pixel
    annotation(4, 11, [70, 20, 5, 5]),  # outside
    annotation(5, 11, [0, 0, 10, 10], iscrowd=1, segmentation=CROWD),
    annotation(6, 12, [0, 0, 10, 10], iscrowd=1, segmentation=CROWD),  # nothing but a crowd
    annotation(7, 14, [50, 30, 20, 20], category=3),  # over the edge
]


@pytest.fixture
def write(tmp_path):
    """Writes a data set with changes of the training annotations and makes its manifest."""

    def write(**changes):
        for split, numbers in {"train2017": (11, 12, 13, 14), "val2017": (21, 22)}.items():
            images = [{"id": i, "file_name": f"{i}.jpg", "width": WIDTH, "height": HEIGHT} for i in numbers]
            content = {"images": images, "annotations": ANNOTATIONS if split == "train2017" else [annotation(1, 21)],
                       "categories": [{"id": 7, "name": "kite"}, {"id": 3, "name": "cup"}]}  # fmt: skip
            content |= changes if split == "train2017" else {}
            for folder in (split, "annotations"):
                (tmp_path / "coco" / folder).mkdir(parents=True, exist_ok=True)
            (tmp_path / f"coco/annotations/instances_{split}.json").write_text(json.dumps(content))
            for i in numbers:
                pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
                pixels[5:35, 10:30] = 200  # BOX
                Image.fromarray(pixels).save(tmp_path / f"coco/{split}/{i}.jpg", quality=100)
        index("coco", str(tmp_path / "coco"), tmp_path / "coco.json")
        return tmp_path / "coco.json"

    return write


def test_training_leaves_out_crowds_degenerate_boxes_and_images_without_objects(write):
    train = Instances(write(), 0, labelled=True)
    assert train.ids == [11, 14] and train.names == ["cup", "kite"]
    pixels, target = train[0]
    assert pixels.shape == (3, HEIGHT, WIDTH) and pixels.dtype == torch.uint8
    assert target["boxes"].tolist() == [[10, 5, 30, 35], [40, 0, 59, 10]] and target["labels"].tolist() == [2, 1]
    assert target["masks"].shape == (2, HEIGHT, WIDTH) and target["masks"].sum((1, 2)).tolist() == [600, 190]
    assert train[1][1]["boxes"].tolist() == [[50, 30, 60, 40]]  # as far as the image reaches


def test_validation_keeps_every_image_and_crowds_for_the_evaluator(write):
    val = Instances(write(), 1, labelled=False)
    assert val.ids == [21, 22] and len(val[1][1]["boxes"]) == 0 and val[1][1]["masks"].shape == (0, HEIGHT, WIDTH)
    assert Instances(write(), 0, labelled=False).coco.anns[5]["iscrowd"] == 1


def bounds(mask):
    rows, columns = torch.where(mask)
    return [columns.min().item(), rows.min().item(), columns.max().item() + 1, rows.max().item() + 1]


@pytest.mark.parametrize("crop", [None, CropPolicy(short_sides=[30, 50], range=[20, 30])])
def test_boxes_masks_and_pixels_stay_in_step(write, crop):
    scenes = Scenes(Instances(write(annotations=[annotation(1, 11)]), 0, True), 0.5, crop, seed=0)
    sizes, flipped = set(), 0
    for epoch in range(40):
        batch = scenes[epoch, np.array([0])]
        (image,), (target,) = batch["images"], batch["targets"]
        sizes.add(tuple(image.shape))
        if not len(target["boxes"]):
            continue  # cut off
        bright = image[0] > 100
        assert np.allclose(target["boxes"][0], bounds(bright), atol=1.6), epoch
        assert np.allclose(target["boxes"][0], bounds(target["masks"][0]), atol=1.6)
        assert (bright == target["masks"][0].bool()).float().mean() > 0.93
        flipped += crop is None and target["boxes"][0, 0].item() == WIDTH - 30
    assert len(sizes) == 1 if crop is None else len(sizes) > 10
    assert crop or 10 < flipped < 30


def test_a_crop_may_cut_objects_off_and_then_they_are_gone(write):
    small = [annotation(1, 11, [0, 0, 4, 4]), annotation(2, 11, [50, 30, 8, 8])]
    scenes = Scenes(Instances(write(annotations=small), 0, True), 0.0, CropPolicy(short_sides=[40], range=[15, 15]), 0)
    counts = [len(scenes[epoch, np.array([0])]["targets"][0]["labels"]) for epoch in range(30)]
    assert 0 in counts and 2 in counts
    for epoch in range(30):
        target = scenes[epoch, np.array([0])]["targets"][0]
        assert len(target["boxes"]) == len(target["labels"]) == len(target["masks"])


def test_a_batch_hangs_on_seed_epoch_and_image_alone(write):
    instances = Instances(write(), 0, True)
    crop = CropPolicy(short_sides=[30, 50], range=[20, 30])

    def images(seed, epoch, indices):
        torch.manual_seed(len(indices))
        return Scenes(instances, 0.5, crop, seed)[epoch, np.array(indices)]["images"]

    assert torch.equal(images(0, 3, [0, 1])[1], images(0, 3, [1])[0])
    others = [images(0, epoch, [1])[0] for epoch in range(8)] + [images(1, 3, [1])[0]]
    assert len({each.numpy().tobytes() for each in others}) > 2


@pytest.mark.parametrize("crop", [None, CropPolicy(short_sides=[30, 50], range=[20, 30])])
def test_an_images_size_is_drawn_where_it_is_loaded(write, crop):
    instances, sizes, seen = Instances(write(annotations=[annotation(1, 11)]), 0, True), ([20, 30, 80], 90), set()
    scenes = Scenes(instances, 0.5, crop, 0, sizes)
    for epoch in range(30):
        torch.manual_seed(epoch % 2)  # whatever a device's generator holds
        (image,), (target,) = scenes[epoch, np.array([0])].values()
        short, long = sorted(image.shape[1:])
        seen.add(short)
        assert long <= 90 and (
            long >= 89 or min(abs(short - side) for side in sizes[0]) <= 1
        )  # torchvision rounds down
        assert target["masks"].shape[1:] == image.shape[1:]
        if len(target["boxes"]):
            assert np.allclose(
                target["boxes"][0], bounds(target["masks"][0]), atol=4
            )  # a pixel of a small crop is four here
            assert ((image[0] > 100) == target["masks"][0].bool()).float().mean() > 0.9
    assert len(seen) >= 3
    torch.manual_seed(7)
    assert torch.equal(scenes[29, np.array([0])]["images"][0], image)


# --- bad input


def test_changed_annotations_are_another_data_set(write):
    prints = [
        json.loads(write(**change).read_text())["fingerprint"] for change in ({}, {}, {"annotations": ANNOTATIONS[:6]})
    ]
    assert prints[0] == prints[1] != prints[2]


def test_annotations_that_change_behind_the_manifest_are_refused(write, tmp_path):
    manifest = write()
    path = tmp_path / "coco/annotations/instances_train2017.json"
    path.write_text(path.read_text().replace('"kite"', '"bird"'))
    with pytest.raises(UserError, match="instances_train2017.json: changed since .*coco.json was made"):
        Instances(manifest, 0, True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"annotations": []}, "instances_train2017.json: holds no annotations"),
        ({"annotations": [annotation(9, 99)]}, "annotation 9: image 99 is not listed"),
        ({"annotations": [annotation(9, 11, category=1)]}, "annotation 9: category 1 is not listed"),
        ({"annotations": [annotation(9, 11, segmentation=[])]}, "annotation 9: segmentation has no polygon"),
        ({"annotations": [annotation(9, 11, segmentation=[[1, 2, 3, 4]])]}, "annotation 9: segmentation has no polygon"),
        ({"annotations": [annotation(9, 11, segmentation=[[0, 0, 9, 0, 9, float("nan")]])]}, "annotation 9: segmentation has no"),
        ({"annotations": [annotation(9, 11, bbox=[0, 0, -5, 9])]}, "annotation 9: bbox [0, 0, -5, 9] is not left, top, width"),
        ({"annotations": [annotation(9, 11, bbox=[0, float("nan"), 5, 9])]}, "annotation 9: bbox [0, nan, 5, 9] is not"),
        ({"annotations": [annotation(9, 11, bbox=[0, 0, float("inf"), 9])]}, "annotation 9: bbox [0, 0, inf, 9] is not"),
        ({"annotations": [annotation(9, 11, bbox=[0, 0, "5", 9])]}, "annotation 9: bbox [0, 0, '5', 9] is not"),
        ({"annotations": [annotation(9, 11, area="45")]}, "annotation 9: area '45' is no number of pixels"),
        ({"annotations": [annotation(9, 11, area=float("nan"))]}, "annotation 9: area nan is no number of pixels"),
        ({"annotations": [annotation("9", 11)]}, "annotation '9': id '9' is not an integer"),
        ({"annotations": [annotation(9, "11")]}, "annotation 9: image_id '11' is not an integer"),
        ({"annotations": [annotation(9, 11, category=7.5)]}, "annotation 9: category_id 7.5 is not an integer"),
        ({"annotations": [{"id": 9}]}, "instances_train2017.json: not COCO's instances: KeyError"),
        ({"annotations": [annotation(0, 11)]}, "annotations are not numbered from 1, each once"),
        ({"annotations": [annotation(2, 11), annotation(2, 14)]}, "annotations are not numbered from 1, each once"),
        ({"annotations": [annotation(9, 11, iscrowd=None)]}, "annotation 9: iscrowd is neither 0 nor 1"),
        ({"annotations": [annotation(9, 11, iscrowd=1, segmentation=CROWD | {"size": [60, 40]})]},
         "annotation 9: segmentation is of another size than its image"),
        ({"categories": [{"id": 7, "name": "kite"}, {"id": 3, "name": "mug"}]}, "its categories are not those of train2017"),
        ({"images": [{"id": 11, "file_name": "11.jpg", "width": 60, "height": 41}], "annotations": [annotation(1, 11)]},
         "11.jpg: 60x40 pixels, its annotations say 60x41"),
        ({"images": [{"id": 11, "file_name": "gone.jpg", "width": 60, "height": 40}], "annotations": [annotation(1, 11)]},
         "1 images of the annotations are missing, first gone.jpg"),
    ],
)  # fmt: skip
def test_annotations_that_cannot_be_used_are_named(write, change, message):
    with pytest.raises(UserError) as error:
        write(**change)
    assert message in str(error.value)


def test_a_file_of_annotations_that_is_cut_off_or_missing_is_to_be_got_again(write, tmp_path):
    write()
    path = tmp_path / "coco/annotations/instances_train2017.json"
    path.write_text(path.read_text()[:-100])
    with pytest.raises(UserError, match="instances_train2017.json: cut off or damaged .*; get it again"):
        index("coco", str(tmp_path / "coco"), tmp_path / "again.json")
    path.unlink()
    with pytest.raises(UserError, match="instances_train2017.json: annotations are missing"):
        index("coco", str(tmp_path / "coco"), tmp_path / "again.json")
