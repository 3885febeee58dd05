"""DomainNet's layout: a list of images and numbers of classes for each split."""

import codecs

import pytest

from cae.data.datasets import Images
from cae.data.manifests import index
from cae.errors import UserError
from tests.data.conftest import save


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


def test_domainnet_is_read_by_its_lists(clipart):
    index("clipart", str(clipart), clipart / "m.json")
    train, test = Images(clipart / "m.json", 0), Images(clipart / "m.json", 1)
    assert train.classes == ["axe", "cat"] and train.labels.tolist() == [1, 0] and test.labels.tolist() == [1, 0]
    assert list(train.paths) == ["clipart/cat/a.jpg", "clipart/axe/b c.jpg"]


def test_a_split_of_one_class_is_refused(clipart):
    (clipart / "clipart_test.txt").write_text("clipart/cat/d.jpg 1\n")
    with pytest.raises(UserError, match="test: all images are of one class, so that any classifier is right"):
        index("clipart", str(clipart), clipart / "m.json")


def test_a_list_that_is_wrong_is_named(clipart):
    for line in ("clipart/dog/e.jpg 1", "clipart/dog/e.jpg", "e.jpg 2"):  # two names for 1, no number, no class
        (clipart / "clipart_test.txt").write_text(line + "\n")
        with pytest.raises(UserError, match="clipart_test.txt: not a line of an image and the number of its class"):
            index("clipart", str(clipart), clipart / "m.json")
    (clipart / "clipart_test.txt").write_text("clipart/dog/e.jpg 3\n")
    with pytest.raises(UserError, match="not numbered from 0 without a gap"):
        index("clipart", str(clipart), clipart / "m.json")


def test_two_classes_of_one_name_are_refused(clipart):
    (clipart / "clipart_train.txt").write_text("clipart/cat/a.jpg 1\nclipart/axe/b c.jpg 0\nclipart/cat/a.jpg 2\n")
    with pytest.raises(UserError, match="clipart_train.txt: classes 1 and 2 are both named 'cat'"):
        index("clipart", str(clipart), clipart / "m.json")


@pytest.mark.parametrize(
    "encoding, start", [("latin-1", b""), ("utf-8", codecs.BOM_UTF8), ("utf-16-be", codecs.BOM_UTF16_BE)]
)
def test_lists_are_read_in_the_encodings_that_tools_write(clipart, encoding, start):
    save(clipart / "clipart/café/é.jpg", colour="red")
    lines = (clipart / "clipart_train.txt").read_text().replace("\n", "\r\n") + "clipart/café/é.jpg 2\r\n"
    (clipart / "clipart_train.txt").write_bytes(start + lines.encode(encoding))
    index("clipart", str(clipart), clipart / "m.json")
    train = Images(clipart / "m.json", 0)
    assert (
        train.classes == ["axe", "cat", "café"] and train.paths[2] == "clipart/café/é.jpg" and train[2].size == (8, 6)
    )
