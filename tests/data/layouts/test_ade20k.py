"""ADE20K's layout: label maps fit their images and hold the classes that are named; something is labelled in each split."""

import codecs
import json

import numpy as np
import pytest
from PIL import Image

from cae.data.datasets import Images, annotation_of, read_labels
from cae.data.manifests import index
from cae.errors import UserError
from cae.params import load
from tests.conftest import ROOT
from tests.data.conftest import make, save, write


@pytest.fixture
def ade20k(tmp_path):
    for split in ("training", "validation"):
        save(tmp_path / "ade" / "images" / split / "a.jpg")
        save(tmp_path / "ade" / "annotations" / split / "a.png", "L", colour=3)
    return tmp_path / "ade"


def test_label_maps_belong_to_their_images(ade20k):
    images = Images(make(ade20k, "ade20k", classes=11), 1)
    labels = read_labels(annotation_of(images.root / images.paths[0]))
    assert labels.shape == (6, 8) and (labels == 3).all() and len(images.classes) == 11


@pytest.mark.parametrize(
    "change,message",
    [
        (lambda path: save(path, "L", size=(4, 4)), "a.png: 4x4 pixels, its image has 8x6"),
        (lambda path: save(path, "L", colour=12), "a.png: holds class 12, above the 11"),
        (lambda path: save(path, "RGB"), "a.png: not a readable label map .expected one 8-bit channel"),
        (lambda path: path.unlink(), "a.png: label map is missing"),
    ],
)
def test_bad_label_map_is_named(ade20k, change, message):
    change(ade20k / "annotations" / "validation" / "a.png")
    with pytest.raises(UserError, match=message):
        make(ade20k, "ade20k", classes=11)


def test_changed_label_maps_are_another_data_set(ade20k):
    path, prints = ade20k / "annotations/training/a.png", []
    for label in (3, 4, 3):
        size = save(path, "L", colour=label).stat().st_size
        assert size == (ade20k / "annotations/validation/a.png").stat().st_size  # it is the content that tells
        prints.append(json.loads(make(ade20k, "ade20k", classes=11).read_text())["fingerprint"])
    assert prints[0] == prints[2] != prints[1]


def test_names_of_classes_are_as_many_as_params_say(ade20k):
    (ade20k / "objectInfo150.txt").write_text("Idx\tName\n1\twall\n2\tbuilding, edifice\n")
    with pytest.raises(UserError, match="objectInfo150.txt: names 2 classes, params give the data set 3"):
        make(ade20k, "ade20k", classes=3)
    with pytest.raises(UserError, match="a.png: holds class 3, above the 2 of"):
        make(ade20k, "ade20k")
    (ade20k / "objectInfo150.txt").write_text("Idx\tName\n1\twall\n2\tbuilding, edifice\n3\tsky\n")
    assert Images(make(ade20k, "ade20k", classes=3), 0).classes == ["wall", "building", "sky"]


@pytest.mark.parametrize("encoding, start", [
    ("latin-1", b""), ("utf-8", b""), ("utf-8", codecs.BOM_UTF8), ("utf-16-le", codecs.BOM_UTF16_LE)
])  # fmt: skip
def test_names_of_classes_are_read_in_the_encodings_that_tools_write(ade20k, encoding, start):
    text = "Idx\tRatio\tName\r\n1\t0.1\tcafé, coffee house\r\n2\t0.1\tÜberweg\r\n3\t0.1\tsky\r\n\r\n"
    (ade20k / "objectInfo150.txt").write_bytes(start + text.encode(encoding))
    assert Images(make(ade20k, "ade20k", classes=3), 0).classes == ["café", "Überweg", "sky"]


@pytest.mark.parametrize("lines, message", [
    (["1\twall", "3\tsky", "2\ttree"], "objectInfo150.txt: line 3 is of class 3, expected is class 2; sort the lines"),
    (["1\twall", "2\tsky, heaven", "3\tsky"], "objectInfo150.txt: several classes have the name 'sky'"),
    ([], "objectInfo150.txt: names 0 classes"),
    ([f"{i}\tclass {i}" for i in range(1, 257)], "objectInfo150.txt: names 256 classes; label maps of 8 bits"),
])  # fmt: skip
def test_names_that_would_go_to_other_classes_are_refused(ade20k, lines, message):
    (ade20k / "objectInfo150.txt").write_text("\n".join(["Idx\tName", *lines]))
    with pytest.raises(UserError, match=message):
        make(ade20k, "ade20k")


def test_a_list_of_classes_without_a_heading_loses_none_silently(ade20k):
    (ade20k / "objectInfo150.txt").write_text("1\twall\n2\tbuilding\n3\tsky\n")
    with pytest.raises(UserError, match="line 2 is of class 2, expected is class 1"):
        make(ade20k, "ade20k")


def test_more_classes_than_8_bits_hold_are_refused_early(ade20k):
    with pytest.raises(UserError, match="classes: 256 is above 255"):
        make(ade20k, "ade20k", classes=256)
    with pytest.raises(UserError, match="datasets.ade20k.classes: 847 is above 255"):
        load(ROOT / "params/demo.yaml", {"datasets": {"ade20k": {"classes": 847}}})
    save(ade20k / "annotations/training/a.png", "L", colour=255)
    assert len(Images(make(ade20k, "ade20k", classes=255), 0).classes) == 255


@pytest.mark.parametrize("split", ["training", "validation"])
def test_a_split_without_a_labelled_pixel_is_refused_by_name(ade20k, split):
    save(ade20k / f"annotations/{split}/a.png", "L", colour=0)
    with pytest.raises(
        UserError, match=f"{split}: no pixel of its 1 label maps is labelled, all are 0; classes count from 1"
    ):
        make(ade20k, "ade20k", classes=11)


def test_single_label_maps_of_nothing_are_counted(ade20k, capsys):
    save(ade20k / "images/training/b.jpg", colour="red")
    save(ade20k / "annotations/training/b.png", "L", colour=0)
    one = np.zeros((6, 8), np.uint8)
    one[5, 7] = 1  # a pixel is enough
    Image.fromarray(one).save(ade20k / "annotations/validation/a.png")
    make(ade20k, "ade20k", classes=11)
    assert (
        "1 of 3 label maps are 0 everywhere, not labelled, first that of images/training/b.jpg"
        in capsys.readouterr().out
    )


def test_images_that_share_a_label_map_are_refused(ade20k):
    save(ade20k / "images/training/a.png", colour="red")
    with pytest.raises(
        UserError, match="images/training/a.jpg and images/training/a.png have one label map, .*training/a.png"
    ):
        make(ade20k, "ade20k", classes=11)


def test_label_maps_and_images_of_scenes_are_counted_too(tmp_path, capsys):
    for split in ("training", "validation"):
        write(tmp_path / "in/images" / split / "a.tif")
        (tmp_path / "in/annotations" / split).mkdir(parents=True)
        Image.new("L", (8, 6), 1).save(tmp_path / "in/annotations" / split / "a.png")
    (tmp_path / "in/images/training/notes.txt").write_text("no image")
    index("ade20k", str(tmp_path / "in"), tmp_path / "m.json")
    assert "training: left out, since these are no images of the layout: 1 *.txt" in capsys.readouterr().out
    assert list(Images(tmp_path / "m.json", 0).paths) == ["images/training/a.tif"]
