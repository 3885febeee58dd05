"""Whatever the layout: a folder in another one is refused with what is expected, what is there and where the right root is."""

import shutil

import pytest

from cae.data.layouts import layout_of
from cae.params.data import LAYOUTS
from tests.data.conftest import refusal


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
