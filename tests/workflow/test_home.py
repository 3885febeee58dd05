"""Snakemake, its jobs and DVC for a user whose home is read-only, or who has no name."""

import getpass
import os

from cae.files import need_no_home
from tests.workflow.conftest import ORDINARY


def test_a_home_that_is_read_only_is_not_needed(tree, tmp_path):
    home, mine = tmp_path / "home", tmp_path / "mine"
    home.mkdir(mode=0o555)
    poor = (*ORDINARY, "env", "--unset=XDG_CACHE_HOME", "--unset=MPLCONFIGDIR", f"HOME={home}")
    tree.run(*poor, "snakemake", "--cores", "1", "figure1")
    assert (tree.path / "reports/demo/figures/figure1.png").exists()
    assert (tree.path / ".snakemake/cache/snakemake").is_dir() and not any(home.iterdir())
    tree.run(*poor, f"XDG_CACHE_HOME={mine}", "snakemake", "--dry-run", "figure1")
    assert [path.name for path in mine.iterdir()] == ["snakemake"]
    tree.run("git", "init", "--quiet")
    assert "report" in tree.run(*poor, "dvc", "stage", "list") and not any(home.iterdir())


def test_a_user_without_a_name_has_a_number(monkeypatch, tmp_path):
    def nobody():
        raise KeyError("getpwuid(): uid not found")

    for name in ("LOGNAME", "XDG_CACHE_HOME", "MPLCONFIGDIR"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    need_no_home(tmp_path)
    assert os.environ["XDG_CACHE_HOME"] == str(tmp_path) and "LOGNAME" not in os.environ
    monkeypatch.setattr(getpass, "getuser", nobody)
    need_no_home(tmp_path / "other")
    assert os.environ["LOGNAME"] == str(os.getuid()) and os.environ["XDG_CACHE_HOME"] == str(tmp_path)
