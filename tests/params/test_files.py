"""Params files that cannot be read, and files laid over each other."""

import pytest

from cae.errors import UserError
from cae.params import load, merge


def test_files_that_cannot_be_read_are_named(tmp_path):
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00scale")
    with pytest.raises(UserError, match="binary.yaml: not valid YAML"):
        load(tmp_path / "binary.yaml")
    with pytest.raises(UserError, match=f"{tmp_path}: no such params file"):
        load(tmp_path)
    with pytest.raises(UserError, match="none.yaml: no such params file"):
        load(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("a: [1,")
    with pytest.raises(UserError, match="bad.yaml: not valid YAML"):
        load(tmp_path / "bad.yaml")
    (tmp_path / "list.yaml").write_text("- 1")
    with pytest.raises(UserError, match="list.yaml: expected a mapping"):
        load(tmp_path / "list.yaml")


def test_merge_lays_one_mapping_over_another():
    assert merge({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": 9}, "e": 4, "d": None}) == {"a": {"b": 9, "c": 2}, "e": 4}
