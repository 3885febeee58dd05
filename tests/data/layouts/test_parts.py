"""What lies in a data set's folders is listed, or counted as left out."""

import numpy as np
from PIL import Image

from cae.data.datasets import Images
from cae.data.layouts.parts import IMAGES
from tests.data.conftest import FILES, listed, write


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
