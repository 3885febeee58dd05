"""What lies in a data set's folders is listed, or counted as left out; another layout is recognised, and the advice mends it."""

import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from cae.data.datasets import Images
from cae.data.layouts import layout_of
from cae.data.layouts.parts import IMAGES
from cae.data.manifests import index
from cae.errors import UserError
from cae.params.data import LAYOUTS

FILES = [f"{split}/{name}/{i}.png" for split in ("train", "val") for name in ("cat", "dog") for i in range(2)]
number = 0


def write(path):
    """An image that no other file equals."""
    global number
    number += 1
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 6), (number % 256, number // 256, 0)).save(path, "PNG")


@pytest.fixture
def root(tmp_path):
    for file in FILES:
        write(tmp_path / "in" / file)
    return tmp_path / "in"


def listed(root):
    index("imagenet", str(root), root.parent / "m.json")
    splits = json.loads((root.parent / "m.json").read_text())["splits"]
    return [path for split in splits.values() for path in split["images"]]


def refusal(root, layout="imagenet"):
    with pytest.raises(UserError) as error:
        index(layout, str(root), root.parent / "m.json")
    return str(error.value)


def follow_advice(root):
    """Run the commands that the refusal gives, as its reader would."""
    commands = re.findall("`(.*?)`", refusal(root))
    assert commands
    for command in commands:
        subprocess.run(["bash", "-euc", command], check=True, cwd=root)


# --- what is read


def test_each_ending_is_one_that_pil_reads():
    Image.init()
    for ending in IMAGES - {""}:
        assert Image.registered_extensions()[ending] in {*Image.OPEN, "MPO"}, ending  # MPO by the reader of JPEG


def test_files_of_all_kinds_are_read(root):
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8))
    kinds = {
        "a.tif": "TIFF",
        "b.GIF": "GIF",
        "c.jfif": "JPEG",
        "d": "JPEG",
        "e.jpg ": "JPEG",
        "f.jp2": "JPEG2000",
        "g.ppm": "PPM",
    }
    for name, kind in kinds.items():
        photo.save(root / "train/cat" / name, kind)
    assert [path for path in listed(root) if "train/cat" in path] == [
        f"train/cat/{name}" for name in sorted([*kinds, "0.png", "1.png"])
    ]
    images = Images(root.parent / "m.json", 0)
    for name in ("a.tif", "g.ppm"):
        np.testing.assert_array_equal(images.pixels(images.paths.index(f"train/cat/{name}")), photo)


def test_of_an_animation_the_first_frame_is_read(root):
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", "blue")]
    frames[0].save(root / "train/cat/0.gif", save_all=True, append_images=frames[1:])
    listed(root)
    assert Images(root.parent / "m.json", 0)[0].getpixel((3, 3)) == (255, 0, 0)


def test_what_is_left_out_is_counted_by_its_kind(root, capsys):
    for name in (
        "train/cat/a.txt",
        "train/dog/b.TXT",
        "train/dog/photo.heic",
        "train/classes.csv",
        "val/dog/x.jpg.part",
    ):
        (root / name).write_text("no image")
    write(root / "train/stray.png")
    write(root / "val/dog/more/deep.png")
    assert listed(root) == FILES
    lines = capsys.readouterr().out.splitlines()
    start = f"note: {root}: {{}}: left out, since these are no images of the layout: "
    found = {split: line for line in lines for split in ("train", "val") if line.startswith(start.format(split))}
    assert {split: set(line.rpartition(": ")[2].split(", ")) for split, line in found.items()} == {
        "train": {"2 *.txt", "1 *.heic", "1 *.csv", "1 images outside of class folders"},
        "val": {"1 *.part", "1 folders inside of class folders"},
    }


def test_hidden_and_system_files_and_folders_are_passed_over(root, capsys):
    for folder in (".ipynb_checkpoints", "@eaDir", "__MACOSX", "$RECYCLE.BIN", "lost+found"):
        for place in ("train", "val/cat", "."):
            write(root / place / folder / "x.png")
    for file in (".DS_Store", "Thumbs.db", "desktop.ini", "._0.jpg"):
        for place in ("train", "train/cat", "."):
            (root / place / file).write_text("of the system")
    assert listed(root) == FILES
    assert "left out" not in capsys.readouterr().out


def test_label_maps_and_images_of_scenes_are_counted_too(tmp_path, capsys):
    for split in ("training", "validation"):
        write(tmp_path / "in/images" / split / "a.tif")
        (tmp_path / "in/annotations" / split).mkdir(parents=True)
        Image.new("L", (8, 6), 1).save(tmp_path / "in/annotations" / split / "a.png")
    (tmp_path / "in/images/training/notes.txt").write_text("no image")
    index("ade20k", str(tmp_path / "in"), tmp_path / "m.json")
    assert "training: left out, since these are no images of the layout: 1 *.txt" in capsys.readouterr().out
    assert list(Images(tmp_path / "m.json", 0).paths) == ["images/training/a.tif"]


# --- another layout


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_says_what_it_expects_and_what_is_there(layout, tmp_path):
    (tmp_path / "in/photos").mkdir(parents=True)
    (tmp_path / "in/readme.txt").write_text("no image")
    message = refusal(tmp_path / "in", layout)
    assert f"\nexpected below {tmp_path / 'in'}:\n  {layout_of(layout).EXPECTED[0]}\n" in message
    assert message.endswith("\nfound there:\n  .: 1 folder (photos); 1 other file (readme.txt)")


@pytest.mark.parametrize("layout", ["imagenet", "ade20k", "coco", "clipart"])
def test_a_root_that_is_too_high_or_too_low_is_set_right(layout, data, run, tmp_path):
    shutil.copytree(run.folder / layout, tmp_path / "up/data/set")
    for wrong in (tmp_path / "up", tmp_path / "up/data", next((tmp_path / "up/data/set").glob("*/"))):
        assert refusal(wrong, layout).endswith(f"\nIs {tmp_path / 'up/data/set'} the root?")


def test_a_flat_split_is_recognised(root):
    for split in ("train", "val"):
        shutil.copytree(root, root.parent / split)
        for path in (root.parent / split / split).glob("*/*"):
            path.rename(root.parent / split / split / f"{path.parent.name}{path.name}")
        for folder in (root.parent / split / split).glob("*/"):
            folder.rmdir()
        message = refusal(root.parent / split)
        assert f"\n  {split}: 4 images (cat0.png, cat1.png, dog0.png, …)\n" in message
        assert f"\n{split}/ is flat: put each image into a folder" in message


def test_images_one_folder_deeper_are_moved_up_by_what_is_advised(root):
    for folder in root.glob("*/*/"):
        (folder / "all images").mkdir()
        for path in folder.glob("*.png"):
            path.rename(folder / "all images" / path.name)
    assert "cat: class without images (it holds 1 folder (all images)), as 1 more of train" in refusal(root)
    follow_advice(root)
    assert listed(root) == FILES


def test_tiny_imagenet_is_sorted_by_what_is_advised(root):
    lines = []
    for path in sorted(root.glob("val/*/*")):
        name = f"{path.parent.name}_{path.name}"
        lines.append(f"{name}\t{path.parent.name}\t0\t0\t62\t62\n")
        (root / "val/images").mkdir(exist_ok=True)
        path.rename(root / "val/images" / name)
    for name in ("cat", "dog"):
        (root / "val" / name).rmdir()
        (root / "train" / name / "images").mkdir()
        (root / "train" / name / f"{name}_boxes.txt").write_text("0 0 1 1")
        for path in (root / "train" / name).glob("*.png"):
            path.rename(path.parent / "images" / path.name)
    (root / "val/val_annotations.txt").write_text("".join(lines))
    follow_advice(root)
    assert listed(root) == [path for path in FILES if "train" in path] + [
        f"val/{name}/{name}_{i}.png" for name in ("cat", "dog") for i in range(2)
    ]


def test_splits_of_other_names_are_linked_and_archives_unpacked_by_what_is_advised(root):
    (root / "train").rename(root / "Training")
    (root / "val").rename(root / "valid")
    follow_advice(root)
    assert listed(root) == FILES
    (root / "train").unlink()
    for name in ("cat", "dog"):
        subprocess.run(["tar", "-cf", f"../{name}.tar", "."], check=True, cwd=root / "Training" / name)
        shutil.rmtree(root / "Training" / name)
    (root / "Training").rename(root / "train")
    follow_advice(root)
    assert listed(root) == FILES


def test_class_folders_without_splits_are_recognised(root):
    assert "Is " in refusal(root / "train")
    (root / "train").rename(root.parent / "alone")
    assert refusal(root.parent / "alone").endswith(
        "These look like class folders without splits: move them into train/, and a part of each one's images into val/<class>/"
    )


# --- the same images in both splits


def test_images_that_are_in_both_splits_are_counted(root, capsys):
    listed(root)
    assert "the same to the byte" not in capsys.readouterr().out
    shutil.copy(root / "train/cat/1.png", root / "val/dog/7.png")
    shutil.copy(root / "train/cat/1.png", root / "train/cat/8.png")  # twice in one split is another matter
    listed(root)
    assert (
        f"{root}: 1 of the 5 images of val are in train, too, the same to the byte, first val/dog/7.png"
        in capsys.readouterr().out
    )
    shutil.rmtree(root / "val")
    shutil.copytree(root / "train", root / "val")
    listed(root)
    assert "5 of the 5 images of val are in train, too" in capsys.readouterr().out
