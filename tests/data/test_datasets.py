"""Reading and indexing data sets: what works, and what is refused with one clear message."""

import json
import os

import numpy as np
import pytest
from PIL import Image

from cae.data.changes import changes
from cae.data.datasets import Images, Paths, read_labels, read_pixels, read_rgb
from cae.data.manifests import index
from cae.errors import UserError
from cae.params import load
from tests.conftest import ROOT
from tests.data.conftest import make, save


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


@pytest.mark.parametrize("read, name", [(read_rgb, "image"), (read_pixels, "image"), (read_labels, "label map")])
@pytest.mark.parametrize("kind", ["png", "jpg"])
def test_a_file_that_says_it_is_huge_is_refused_before_its_pixels_are_made(tmp_path, monkeypatch, read, name, kind):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    path = save(tmp_path / f"x.{kind}", "L", size=(20, 20))
    with pytest.raises(UserError, match=f"x.{kind}: not a readable {name} .*400 pixels.* exceeds limit of 200 pixels"):
        read(path)


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


def test_batches_above_the_training_images_are_told_before_any_image_is_opened(imagenet):
    (imagenet / "train/cat/0.JPEG").write_text("not an image")
    batches = {"recipes.cae.batch_size": 4, "probes.linear.batch_size": 5, "finetune.batch_size": 64}
    with pytest.raises(UserError) as error:
        make(imagenet, batches=batches)
    assert str(error.value).splitlines() == [
        "probes.linear.batch_size: 5 is above the 4 training images; lower it in params",
        "finetune.batch_size: 64 is above the 4 training images; lower it in params",
    ]
