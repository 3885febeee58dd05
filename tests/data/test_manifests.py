"""A data set compared with its manifest: whatever changed is told, with what to do, before any work."""

import json
import os
import shutil

import pytest
from PIL import Image

from cae.data.changes import changes
from cae.data.manifests import check_batches, index, unchecked_text
from cae.errors import UserError

LAYOUTS = ("imagenet", "ade20k", "coco", "clipart")


@pytest.fixture
def copy(data, run, tmp_path, monkeypatch):
    """A function from a layout to a copy of its tiny demo set and the copy's manifest."""

    def copy(layout):
        shutil.copytree(run.folder / layout, tmp_path / layout)
        monkeypatch.setenv("HERE", str(tmp_path / layout))
        return tmp_path / layout, json.loads(data[layout].read_text()) | {"root": "$HERE"}

    return copy


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_data_set_as_it_was_and_one_that_is_not_here_change_nothing(copy, layout, monkeypatch):
    _, manifest = copy(layout)
    assert changes(manifest) == []
    monkeypatch.setenv("HERE", "/nowhere")
    assert changes(manifest) == []
    monkeypatch.delenv("HERE")
    assert changes(manifest) == []


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_image_that_is_gone_or_of_another_size_is_told(copy, layout):
    folder, manifest = copy(layout)
    name, split = next(iter(manifest["splits"].items()))
    gone, larger = split["images"][:2]
    os.remove(folder / gone)
    with open(folder / larger, "ab") as file:
        file.write(b"0")
    assert changes(manifest) == [
        f"{name}: 1 images gone, first {gone}",
        f"{name}: 1 images of another size, first {larger}",
    ]


def test_an_image_or_a_class_that_is_new_is_told(copy):
    folder, manifest = copy("imagenet")
    Image.new("RGB", (8, 8)).save(folder / "val/digit3/new.png")
    assert changes(manifest) == ["val: 1 images new, first val/digit3/new.png"]
    (folder / "train/fox").mkdir()
    Image.new("RGB", (8, 8)).save(folder / "train/fox/0.png")
    (change,) = changes(manifest)
    assert "classes differ" in change and "fox" in change
    folder, manifest = copy("ade20k")
    shutil.copy(folder / "images/training/00000.jpg", folder / "images/training/9.jpg")
    assert changes(manifest) == ["training: 1 images new, first images/training/9.jpg"]


def test_classes_that_are_numbered_anew_are_told_once_and_not_by_each_image(copy):
    folder, manifest = copy("clipart")
    for split in ("train", "test"):
        path = folder / f"clipart_{split}.txt"
        lines = [line.rpartition(" ")[::2] for line in path.read_text().splitlines()]
        path.write_text(
            "".join(f"{image} {9 - int(label)}\n" for image, label in lines)
        )  # the same classes, numbered anew
    assert changes(manifest) == ["names of classes changed, first 'digit0' to 'digit9'"]


def test_an_image_that_was_of_another_class_is_told(copy):
    _, manifest = copy("clipart")
    split = manifest["splits"]["test"]
    split["labels"][3] = (split["labels"][3] + 1) % 10
    assert changes(manifest) == [f"test: 1 images of another class, first {split['images'][3]}"]


def test_lists_and_annotations_that_changed_are_told(copy):
    folder, manifest = copy("clipart")
    path = folder / "clipart_train.txt"
    first, *lines = path.read_text().splitlines()
    image, label = first.split()
    path.write_text("\n".join(lines) + "\n")
    assert changes(manifest) == [f"train: 1 images gone, first {image}"]
    other = next(line for line in lines if line.split()[1] != label)
    path.write_text(
        "\n".join([f"{image} {label}", *lines]).replace(other, other.replace("digit", f"digit{label}/digit"))
    )
    assert changes(manifest)  # whatever the list now says, it is not the same

    folder, manifest = copy("coco")
    path = folder / "annotations/instances_val2017.json"
    path.write_text(path.read_text().replace("digit3", "digit8", 1))
    assert changes(manifest) == ["val2017: annotations changed or gone"]

    folder, manifest = copy("ade20k")
    names = folder / "objectInfo150.txt"
    before = names.read_text()
    names.write_text(before.replace(manifest["classes"][1], "seven"))
    assert changes(manifest) == [f"names of classes changed, first {manifest['classes'][1]!r} to 'seven'"]
    names.write_text(before)
    os.replace(folder / "annotations/training/00000.png", folder / "annotations/training/00001.png")
    assert changes(manifest) == ["training: annotations changed or gone"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_manifest_can_be_written_without_its_images_being_opened(copy, data, layout):
    _, manifest = copy(layout)
    text = unchecked_text(layout, "$HERE", len(manifest["classes"]) if layout == "ade20k" else None)
    assert json.loads(text) == manifest
    assert text == data[layout].read_text().replace(json.loads(data[layout].read_text())["root"], "$HERE")


def test_a_batch_above_the_training_images_is_refused(copy, tmp_path):
    _, manifest = copy("imagenet")
    path = tmp_path / "imagenet.json"
    path.write_text(json.dumps(manifest))
    check_batches({str(path): {"probes.linear.batch_size": 128}, str(tmp_path / "none.json"): {"x": 1}})
    with pytest.raises(UserError) as error:
        check_batches({str(path): {"probes.linear.batch_size": 129, "recipes.cae.batch_size": 8}})
    assert str(error.value) == "probes.linear.batch_size: 129 is above the 128 training images; lower it in params"


def test_a_warm_up_that_leaves_no_step_of_detection_is_refused_when_data_are_listed(copy, tmp_path):
    """12 epochs of batches of 4 are more than 10 steps from 4 images on, more than 36 from 16 on."""
    folder, manifest = copy("coco")
    path, count = tmp_path / "coco.json", manifest["splits"]["train2017"]["learnable"]
    path.write_text(json.dumps(manifest))
    for warmup, epochs, batch in ((10, 12, 4), (36, 12, 4), (24, 12, 4), (23, 12, 4), (0, 1, 8)):
        needed = batch * (warmup // epochs + 1)
        left = [epochs * (images // batch) > warmup for images in (needed - 1, needed)]
        assert left == [False, True]  # as cae.tasks.detect counts steps
    check_batches({str(path): {"coco.warmup_steps": count}})
    for refused in (
        lambda wanted: check_batches({str(path): wanted}),
        lambda wanted: index("coco", str(folder), tmp_path / "new.json", batches=wanted),
    ):
        with pytest.raises(UserError) as error:
            refused({"coco.warmup_steps": count + 1})
        assert str(error.value) == (
            f"coco.warmup_steps: all epochs of the {count} training images with objects to learn are no more steps than that; "
            f"lower it in params, or use {count + 1} images"
        )
