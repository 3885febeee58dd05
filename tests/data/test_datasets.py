"""Reading and indexing data sets: what works, and what is refused with one clear message."""

import json
import os

import numpy as np
import pytest
from PIL import Image

from cae.data.datasets import Images, Paths, annotation_of, read_labels, read_pixels, read_rgb
from cae.data.manifests import changes, index
from cae.errors import UserError
from cae.params import load
from tests.conftest import ROOT


def save(path, mode="RGB", size=(8, 6), colour=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour if colour is not None else 0).save(path, **options)
    return path


@pytest.fixture
def imagenet(tmp_path):
    for split in ("train", "val"):
        for name in ("cat", "dog"):
            for i in range(2):
                save(tmp_path / "in" / split / name / f"{i}.JPEG", format="JPEG")
    return tmp_path / "in"


def make(root, layout="imagenet", **options):
    output = root.parent / "manifest.json"
    index(layout, str(root), output, threads=2, **options)
    return output


def test_manifest_lists_images_and_labels(imagenet):
    manifest = make(imagenet)
    train = Images(manifest, 0)
    assert len(train) == 4 and train.classes == ["cat", "dog"] and train.labels.tolist() == [0, 0, 1, 1]
    assert train.paths[2] == "train/dog/0.JPEG" and train[2].size == (8, 6)


def test_paths_are_a_sequence_of_any_names():
    names = ["a/é b.jpg", "", "🐈.png", os.fsdecode(b"\xff.jpg")]
    paths = Paths(names)
    assert list(paths) == names and len(paths) == 4 and paths[-1] == names[-1] and paths[np.int64(2)] == names[2]
    with pytest.raises(IndexError):
        paths[4]
    assert list(Paths([])) == []


def test_fingerprint_follows_content_not_place(imagenet, tmp_path):
    first = json.loads(make(imagenet).read_text())
    imagenet.rename(tmp_path / "moved")
    moved = json.loads(make(tmp_path / "moved").read_text())
    assert first["fingerprint"] == moved["fingerprint"]
    save(tmp_path / "moved" / "train" / "cat" / "2.JPEG", format="JPEG")
    assert json.loads(make(tmp_path / "moved").read_text())["fingerprint"] != first["fingerprint"]


def test_root_may_be_an_environment_variable(imagenet, monkeypatch):
    monkeypatch.setenv("SOME_ROOT", str(imagenet))
    output = imagenet.parent / "m.json"
    index("imagenet", "$SOME_ROOT", output)
    assert json.loads(output.read_text())["root"] == "$SOME_ROOT"
    assert Images(output, 1)[0].size == (8, 6)
    monkeypatch.delenv("SOME_ROOT")
    with pytest.raises(UserError, match=r"\$SOME_ROOT: the environment variable is not set.*--config some="):
        Images(output, 1)


def test_missing_root_is_named(tmp_path):
    with pytest.raises(UserError, match="no such folder: .*nowhere"):
        make(tmp_path / "nowhere")


def test_wrong_layout_is_named(tmp_path):
    (tmp_path / "x").mkdir()
    with pytest.raises(UserError, match="x/train: no such folder\nexpected below .*/x:\n  train/<class>/<image>"):
        make(tmp_path / "x")


def test_empty_class_is_named(imagenet):
    for path in (imagenet / "val" / "dog").iterdir():
        path.unlink()
    with pytest.raises(UserError, match="val/dog: class without images"):
        make(imagenet)


def test_class_missing_from_one_split_is_named(imagenet):
    save(imagenet / "train" / "fox" / "0.JPEG", format="JPEG")
    with pytest.raises(UserError, match="classes differ from .*: only train has fox"):
        make(imagenet)


def test_every_unreadable_image_is_named_before_work(imagenet):
    (imagenet / "train" / "cat" / "0.JPEG").write_text("not an image")
    path = imagenet / "val" / "dog" / "1.JPEG"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:-800])
    with pytest.raises(UserError) as error:
        make(imagenet)
    message = str(error.value)
    assert message.startswith("2 of 8 images cannot be used")
    assert "train/cat/0.JPEG: not a readable image" in message and "val/dog/1.JPEG: not a readable image" in message
    assert not (imagenet.parent / "manifest.json").exists()


def test_a_few_unreadable_images_are_left_out_and_listed_where_params_say_so(imagenet, capsys):
    for i in range(2, 120):
        save(imagenet / "train" / "cat" / f"{i}.JPEG", format="JPEG")
    (imagenet / "train" / "cat" / "5.JPEG").write_text("not an image")
    with pytest.raises(
        UserError, match="1 of 126 images cannot be used:\n.*5.JPEG.*\nor leave them out: .*unreadable: skip"
    ):
        make(imagenet)
    manifest = make(imagenet, unreadable="skip")
    said = capsys.readouterr().out
    assert "train/cat/5.JPEG: not a readable image" in said and "they are left out, and listed as `skipped`" in said
    train, split = Images(manifest, 0), json.loads(manifest.read_text())["splits"]["train"]
    assert len(train) == len(train.labels) == 121 and "train/cat/5.JPEG" not in train.paths
    assert split["skipped"] == ["train/cat/5.JPEG"] and len(split["bytes"]) == 121
    assert train.labels[train.paths.index("train/dog/0.JPEG")] == 1
    assert changes(json.loads(manifest.read_text())) == []  # it is not called new


def test_too_many_unreadable_images_are_not_skipped(imagenet):
    (imagenet / "train" / "cat" / "0.JPEG").write_text("not an image")
    with pytest.raises(UserError, match="1 of 8 images .*\n.*\nmore than 1%: too many to be skipped"):
        make(imagenet, unreadable="skip")
    for i in range(200):
        save(imagenet / "train" / "dog" / f"{i}.JPEG", format="JPEG")
    (imagenet / "train" / "cat" / "1.JPEG").write_text("not an image")
    with pytest.raises(UserError, match="cat: none of this class's images can be used"):
        make(imagenet, unreadable="skip")


def test_images_of_annotations_are_not_skipped():
    with pytest.raises(UserError, match="datasets.coco.unreadable: COCO's images are those of its annotations"):
        load(ROOT / "params/demo.yaml", {"datasets": {"coco": {"unreadable": "skip"}}})


def test_image_that_vanished_is_named(imagenet):
    images = Images(make(imagenet), 0)
    os.remove(imagenet / images.paths[0])
    for read in (images.__getitem__, images.pixels):
        with pytest.raises(UserError, match="train/cat/0.JPEG: image is missing"):
            read(0)


def test_damaged_manifest_is_named(tmp_path):
    (tmp_path / "m.json").write_text('{"root": ')
    with pytest.raises(UserError, match="m.json: not valid JSON"):
        Images(tmp_path / "m.json", 0)
    with pytest.raises(UserError, match="none.json: no such file; make it with `snakemake"):
        Images(tmp_path / "none.json", 0)


@pytest.mark.parametrize(
    "mode,colour,suffix,expected",
    [
        ("L", 77, "jpg", (77, 77, 77)),
        ("CMYK", (0, 0, 0, 0), "jpg", (255, 255, 255)),
        ("RGBA", (10, 20, 30, 255), "png", (10, 20, 30)),
        ("RGBA", (10, 20, 30, 0), "png", (255, 255, 255)),
        ("LA", (50, 255), "png", (50, 50, 50)),
        ("P", 0, "png", (0, 0, 0)),
        ("1", 1, "png", (255, 255, 255)),
        ("I;16", 256 * 77, "png", (77, 77, 77)),
    ],
)
def test_images_that_pil_can_convert_just_work(tmp_path, mode, colour, suffix, expected):
    image = read_rgb(save(tmp_path / f"x.{suffix}", mode, colour=colour))
    assert image.mode == "RGB" and image.size == (8, 6)
    assert np.abs(np.array(image.getpixel((0, 0))) - expected).max() <= 2


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize(
    "options",
    [
        {"format": "JPEG"},
        {"format": "JPEG", "subsampling": 0},
        {"format": "JPEG", "progressive": True},
        {"format": "TIFF"},
    ],
)
def test_pixels_are_those_that_pil_decodes(tmp_path, mode, options):
    colours = np.random.default_rng(0).integers(0, 256, (37, 51, 3), dtype=np.uint8)
    Image.fromarray(colours).convert(mode).save(tmp_path / "x", **options)
    pixels = read_pixels(tmp_path / "x")
    assert pixels.dtype == np.uint8 and pixels.flags.c_contiguous
    np.testing.assert_array_equal(pixels, np.asarray(read_rgb(tmp_path / "x")))


@pytest.mark.parametrize("left", [0, 10, 700, 2000, -10])
def test_a_damaged_image_is_told_as_pil_tells_it(tmp_path, left):
    colours = np.random.default_rng(0).integers(0, 256, (37, 51, 3), dtype=np.uint8)
    Image.fromarray(colours).save(tmp_path / "x.jpg")
    (tmp_path / "x.jpg").write_bytes((tmp_path / "x.jpg").read_bytes()[:left])
    with pytest.raises(UserError, match="x.jpg: not a readable image") as error:
        read_pixels(tmp_path / "x.jpg")
    with pytest.raises(UserError) as expected:
        read_rgb(tmp_path / "x.jpg")
    assert str(error.value) == str(expected.value)


def test_exif_turns_nothing_and_is_told(imagenet, capsys):
    path, exif = imagenet / "train/cat/0.JPEG", Image.Exif()
    pixels = np.random.default_rng(0).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    for orientation in (1, 6):
        exif[0x0112] = orientation
        Image.fromarray(pixels).save(path, format="JPEG", exif=exif)
        make(imagenet)
        assert ("1 of 8 images say in their EXIF how to turn them" in capsys.readouterr().out) == (orientation == 6)
    assert read_rgb(path).size == (8, 6)
    save(path, format="JPEG", exif=b"Exif\0\0no such thing")
    make(imagenet)


def test_a_split_of_one_class_is_refused(clipart):
    (clipart / "clipart_test.txt").write_text("clipart/cat/d.jpg 1\n")
    with pytest.raises(UserError, match="test: all images are of one class, so that any classifier is right"):
        index("clipart", str(clipart), clipart / "m.json")


def test_batches_above_the_training_images_are_told_before_any_image_is_opened(imagenet):
    (imagenet / "train/cat/0.JPEG").write_text("not an image")
    batches = {"recipes.cae.batch_size": 4, "probes.linear.batch_size": 5, "finetune.batch_size": 64}
    with pytest.raises(UserError) as error:
        make(imagenet, batches=batches)
    assert str(error.value).splitlines() == [
        "probes.linear.batch_size: 5 is above the 4 training images; lower it in params",
        "finetune.batch_size: 64 is above the 4 training images; lower it in params",
    ]


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


def test_coco_image_that_is_missing_is_named(data, tmp_path, run):
    root = tmp_path / "coco"
    os.symlink(run.folder / "coco" / "val2017", tmp_path / "val")
    root.mkdir()
    for name in ("annotations", "train2017"):
        os.symlink(run.folder / "coco" / name, root / name)
    (root / "val2017").mkdir()
    with pytest.raises(UserError, match="val2017: 6 images of the annotations are missing, first 000000000000.jpg"):
        make(root, "coco")


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


# --- Food-101, DomainNet


@pytest.fixture
def food(tmp_path):
    for split, lines in {"train": ["soup/1", "cake/2", "soup/3"], "test": ["cake/4", "soup/5"]}.items():
        (tmp_path / "meta").mkdir(exist_ok=True)
        (tmp_path / f"meta/{split}.txt").write_text("\n".join(lines) + "\n")
        for line in lines:
            save(tmp_path / f"images/{line}.jpg")
    return tmp_path


@pytest.fixture
def clipart(tmp_path):
    lists = {
        "train": ["clipart/cat/a.jpg 1", "clipart/axe/b c.jpg 0"],
        "test": ["clipart/cat/d.jpg 1", "clipart/axe/e.jpg 0"],
    }
    for split, lines in lists.items():
        (tmp_path / f"clipart_{split}.txt").write_text("\n".join(lines) + "\n")
        for line in lines:
            save(tmp_path / line.rpartition(" ")[0])
    return tmp_path


def test_food101_is_read_by_its_lists(food):
    index("food101", str(food), food / "m.json")
    train, test = Images(food / "m.json", 0), Images(food / "m.json", 1)
    assert train.classes == ["cake", "soup"] and train.labels.tolist() == [1, 0, 1] and test.labels.tolist() == [0, 1]
    assert train.paths[0] == "images/soup/1.jpg" and test[0].size == (8, 6)


def test_domainnet_is_read_by_its_lists(clipart):
    index("clipart", str(clipart), clipart / "m.json")
    train, test = Images(clipart / "m.json", 0), Images(clipart / "m.json", 1)
    assert train.classes == ["axe", "cat"] and train.labels.tolist() == [1, 0] and test.labels.tolist() == [1, 0]
    assert list(train.paths) == ["clipart/cat/a.jpg", "clipart/axe/b c.jpg"]


def test_a_list_that_is_missing_or_wrong_is_named(food, clipart):
    (food / "images/cake/2.jpg").unlink()
    with pytest.raises(UserError, match="1 of 5 images cannot be used:\n.*cake/2.jpg: image is missing"):
        index("food101", str(food), food / "m.json")
    (food / "meta/test.txt").write_text("pie/4\n")
    with pytest.raises(UserError, match="meta/test.txt: class 'pie' has no images to train on"):
        index("food101", str(food), food / "m.json")
    (food / "meta/train.txt").unlink()
    with pytest.raises(UserError, match="meta/train.txt: list of images is missing"):
        index("food101", str(food), food / "m.json")
    for line in ("clipart/dog/e.jpg 1", "clipart/dog/e.jpg", "e.jpg 2"):  # two names for 1, no number, no class
        (clipart / "clipart_test.txt").write_text(line + "\n")
        with pytest.raises(UserError, match="clipart_test.txt: not a line of an image and the number of its class"):
            index("clipart", str(clipart), clipart / "m.json")
    (clipart / "clipart_test.txt").write_text("clipart/dog/e.jpg 3\n")
    with pytest.raises(UserError, match="not numbered from 0 without a gap"):
        index("clipart", str(clipart), clipart / "m.json")
