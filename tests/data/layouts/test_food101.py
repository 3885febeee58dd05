"""Food-101's layout: a list of images for each split."""

import pytest

from cae.data.datasets import Images
from cae.data.manifests import index
from cae.errors import UserError
from tests.data.conftest import save


@pytest.fixture
def food(tmp_path):
    for split, lines in {"train": ["soup/1", "cake/2", "soup/3"], "test": ["cake/4", "soup/5"]}.items():
        (tmp_path / "meta").mkdir(exist_ok=True)
        (tmp_path / f"meta/{split}.txt").write_text("\n".join(lines) + "\n")
        for line in lines:
            save(tmp_path / f"images/{line}.jpg")
    return tmp_path


def test_food101_is_read_by_its_lists(food):
    index("food101", str(food), food / "m.json")
    train, test = Images(food / "m.json", 0), Images(food / "m.json", 1)
    assert train.classes == ["cake", "soup"] and train.labels.tolist() == [1, 0, 1] and test.labels.tolist() == [0, 1]
    assert train.paths[0] == "images/soup/1.jpg" and test[0].size == (8, 6)


def test_a_list_that_is_missing_or_wrong_is_named(food):
    (food / "images/cake/2.jpg").unlink()
    with pytest.raises(UserError, match="1 of 5 images cannot be used:\n.*cake/2.jpg: image is missing"):
        index("food101", str(food), food / "m.json")
    (food / "meta/test.txt").write_text("pie/4\n")
    with pytest.raises(UserError, match="meta/test.txt: class 'pie' has no images to train on"):
        index("food101", str(food), food / "m.json")
    (food / "meta/train.txt").unlink()
    with pytest.raises(UserError, match="meta/train.txt: list of images is missing"):
        index("food101", str(food), food / "m.json")
