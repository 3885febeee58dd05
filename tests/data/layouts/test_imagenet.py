"""ImageNet's layout: a folder a class, the same classes in both splits; where it is not so, the advice mends it."""

import shutil
import subprocess

import pytest

from cae.errors import UserError
from tests.data.conftest import FILES, follow_advice, listed, make, refusal, save


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
