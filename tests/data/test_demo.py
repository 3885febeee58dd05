"""The embedded demo data: the same bytes each time, apart by split, and in the public layouts."""

import json

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits, load_sample_images

from cae.data import demo
from cae.data.datasets import Images, annotation_of, read_labels
from cae.errors import UserError


def test_scenes_are_the_same_bytes_each_time(run, data, tmp_path):
    demo.write_demo("imagenet", tmp_path / "in", 0, [3, 3])
    written = sorted((tmp_path / "in").rglob("*.JPEG"))
    assert len(written) == 6
    for path in written:
        assert path.read_bytes() == (run.folder / "imagenet" / path.relative_to(tmp_path / "in")).read_bytes()


def test_digits_and_photographs_are_scikit_learns():
    parts, digits = [demo.Source(split) for split in (0, 1)], load_digits()
    mine = np.arange(len(digits.target)) % 4 == 3
    for part, which in zip(parts, (~mine, mine)):
        assert np.array_equal(part.digits, (digits.images[which] / 16 * 255).astype(np.uint8))
        assert np.array_equal(part.labels, digits.target[which])
    china, flower = load_sample_images().images
    for photo, number in (china, -2), (flower, -1):
        assert np.array_equal(np.hstack([np.asarray(part.photos[number]) for part in parts]), photo)


def test_another_seed_gives_other_scenes(data, run, tmp_path):
    demo.write_demo("ade20k", tmp_path, 1, [1, 1])
    name = "images/training/00000.jpg"
    assert (tmp_path / name).read_bytes() != (run.folder / "ade20k" / name).read_bytes()


def test_an_earlier_demo_set_is_replaced_and_nothing_else(tmp_path):
    demo.write_demo("imagenet", tmp_path / "in", 0, [40, 2])
    demo.write_demo("imagenet", tmp_path / "in", 1, [30, 3])
    assert len(list((tmp_path / "in").rglob("*.JPEG"))) == 33
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "photo.jpg").touch()
    with pytest.raises(UserError, match="mine: holds files that are not the demo's"):
        demo.write_demo("imagenet", tmp_path / "mine", 0)
    assert (tmp_path / "mine" / "photo.jpg").exists()


def test_no_digit_and_no_photograph_serves_both_splits():
    train, val = demo.Source(0), demo.Source(1)
    assert len(train.digits) + len(val.digits) == 1797
    unique = {digit.tobytes() for digit in train.digits}
    assert not unique & {digit.tobytes() for digit in val.digits}
    for left, right in zip(train.photos, val.photos):
        assert left.height == right.height and left.width == pytest.approx(3 * right.width, abs=4)


def test_main_object_is_the_largest_and_objects_do_not_overlap():
    source = demo.Source(0)
    counts = []
    for i in range(60):
        pixels, objects = demo.make_scene(source, np.random.default_rng(i), most=2)
        assert pixels.shape == (*demo.CANVAS, 3) and pixels.dtype == np.uint8
        masks = [mask for _, mask in objects]
        heights = [np.ptp(np.nonzero(mask)[0]) for mask in masks]
        assert heights[0] == max(heights)
        assert sum(mask.astype(int) for mask in masks).max() == 1
        counts.append(len(objects))
    assert set(counts) == {1, 2}
    assert len(demo.make_scene(source, np.random.default_rng(0))[1]) == 1


def test_a_digit_is_lighter_than_what_is_behind_it():
    for split in (0, 1):
        source = demo.Source(split)
        for i in range(30):
            pixels, ((_, mask),) = demo.make_scene(source, np.random.default_rng(i))
            behind = pixels[~demo._grown(demo._grown(mask))]
            assert pixels[mask].mean() > behind.max() + 40


def test_classes_are_those_of_the_main_digit(data):
    images = Images(data["imagenet"], 0)
    assert images.classes == [f"digit{i}" for i in range(10)]
    assert len(images) == 128 and np.bincount(images.labels, minlength=10).min() >= 1


def test_label_maps_hold_background_digits_and_unlabelled_rims(data):
    images = Images(data["ade20k"], 1)
    seen = set()
    for i, path in enumerate(images.paths):
        labels = read_labels(annotation_of(images.root / path))
        assert labels.shape == images[i].size[::-1]
        seen |= set(np.unique(labels))
    assert {0, 1} < seen <= set(range(12))


def test_coco_instances_are_consistent(run, data):
    annotations = json.loads((run.folder / "coco" / "annotations" / "instances_train2017.json").read_text())
    sizes = {image["id"]: (image["width"], image["height"]) for image in annotations["images"]}
    assert len(sizes) == 8 and annotations["annotations"]
    for item in annotations["annotations"]:
        x, y, w, h = item["bbox"]
        width, height = sizes[item["image_id"]]
        assert x >= 0 and y >= 0 and w > 0 and h > 0 and x + w <= width and y + h <= height
        drawn = Image.new("1", (width, height))
        from PIL import ImageDraw

        for polygon in item["segmentation"]:
            ImageDraw.Draw(drawn).polygon(polygon, fill=1)
        assert np.asarray(drawn).sum() == pytest.approx(item["area"], rel=0.6)
