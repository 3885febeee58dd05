"""ImageNet's layout: a folder a class, the same classes in both splits."""

import pytest

from cae.errors import UserError
from tests.data.conftest import make, save


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
