import errno
import json
import os
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from cae.errors import UserError
from cae.files import atomic, read_json, revision, write_json


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "deep" / "x.json"
    with atomic(path) as temporary:
        assert temporary.parent == path.parent and temporary.suffix == ".json" and not path.exists()
        temporary.write_text("1")
    assert path.read_text() == "1"
    with pytest.raises(ValueError), atomic(path) as temporary:
        temporary.write_text("2")
        raise ValueError
    assert path.read_text() == "1" and [p.name for p in path.parent.iterdir()] == ["x.json"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_full_disk_is_said_plainly(tmp_path, number):
    with pytest.raises(UserError, match="x.npz: the disk is full; make room and run"), atomic(tmp_path / "x.npz"):
        raise OSError(number, "some words")
    assert list(tmp_path.iterdir()) == []


def test_full_disk_is_told_from_the_free_space_where_the_error_does_not_say(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(UserError, match="the disk is full"), atomic(tmp_path / "x.ckpt"):
        raise RuntimeError("unexpected pos 290304 vs 290192")


def test_json_goes_and_comes_back(tmp_path):
    write_json(tmp_path / "x.json", {"a": [1, 2]})
    assert read_json(tmp_path / "x.json") == {"a": [1, 2]} == json.loads((tmp_path / "x.json").read_text())


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_json_is_read_with_and_without_a_byte_order_mark(tmp_path, encoding):
    (tmp_path / "x.json").write_text('{"name": "café"}', encoding)
    assert read_json(tmp_path / "x.json") == {"name": "café"}


@pytest.mark.parametrize("data, keys", [
    ({"miou": float("nan")}, "miou would be nan"),
    ({"iou": {"sky": 1.0, "tree": np.float64("inf")}}, "iou.tree would be inf"),
    ({"losses": [0.5, [1.0, -float("inf")]]}, "losses.1.1 would be -inf"),
])  # fmt: skip
def test_a_number_that_json_does_not_have_is_named_and_what_is_there_stays(tmp_path, data, keys):
    write_json(tmp_path / "x.json", {"miou": 1.0})
    with pytest.raises(UserError, match=f"x.json: {keys}, which JSON does not have; nothing is written"):
        write_json(tmp_path / "x.json", data)
    assert read_json(tmp_path / "x.json") == {"miou": 1.0}
    assert list(tmp_path.iterdir()) == [tmp_path / "x.json"]


def test_revision_is_a_commit_or_unknown():
    assert revision() == "unknown" or len(revision().rstrip("+")) == 12


def test_files_are_as_readable_as_the_umask_lets_them(tmp_path):
    """safetensors writes for the owner alone; on a cluster others read what one has trained."""
    old = os.umask(0o027)
    try:
        with atomic(tmp_path / "x.safetensors") as temporary:
            save_file({"a": torch.zeros(1)}, temporary)
    finally:
        os.umask(old)
    assert (tmp_path / "x.safetensors").stat().st_mode & 0o777 == 0o640
