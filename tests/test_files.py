import errno
import json
from types import SimpleNamespace

import pytest

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


def test_revision_is_a_commit_or_unknown():
    assert revision() == "unknown" or len(revision().rstrip("+")) == 12
