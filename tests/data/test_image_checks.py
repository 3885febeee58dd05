"""What a user should know of images that can be used."""

import shutil

from tests.data.conftest import listed


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
