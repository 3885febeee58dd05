"""DVC with each kind of link to its cache: what was pulled is made anew, by Snakemake and by DVC, and the cache stays whole."""

import fcntl
import hashlib
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.workflow.conftest import ORDINARY, Tree, copy
from workflow.hooks.failures import keep

# The demo, cut to what gives each stage of dvc.yaml something to do.
CUT = """
base: whole.yaml
scale: demo
seed: 0
only: [random-b, cae-b-300]
cells: {finetune: [random-b], ade20k: [cae-b-300]}
datasets: {coco: null, food101: null, clipart: null, sketch: null}
analyses: {figure5: {models: [cae-b-300, random-b]}}
curves: [random-b, cae-b-300]
"""
STAGES = "import sys; from cae.cli import main; main(['stages'])"
USERS = {"user": ORDINARY} | ({"root": ()} if os.geteuid() == 0 else {})
FICLONE = 0x40049409  # of Linux: one file becomes a reflink of another
FIGURE = Path("results/demo/analyze/figure5.npz")


def has_reflinks(folder: Path) -> bool:
    (folder / "a").write_text("a")
    with open(folder / "a") as source, open(folder / "b", "w") as target:
        try:
            fcntl.ioctl(target, FICLONE, source.fileno())
        except OSError:
            return False
    return True


@pytest.fixture(scope="module")
def origin(tmp_path_factory) -> Tree:
    """A small demo, made, committed and pushed."""
    tree = copy(tmp_path_factory.mktemp("origin"))
    params = tree.path / "params"
    (params / "demo.yaml").rename(params / "whole.yaml")
    (params / "demo.yaml").write_text(CUT)
    tree.run(sys.executable, "-c", STAGES)
    tree.run("git", "init", "--quiet")
    tree.run("dvc", "remote", "add", "--default", "store", str(tmp_path_factory.mktemp("store")))
    tree.run("dvc", "repro")
    tree.run("dvc", "push")
    tree.run("git", "add", ".")
    tree.run("git", "-c", "user.name=x", "-c", "user.email=x@x", "commit", "--quiet", "--message", "x")
    return tree


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def cache_is_whole(tree: Tree) -> bool:
    """DVC names a file of its cache by its checksum."""
    cached = files(tree.path / ".dvc/cache/files/md5")
    names = {path: path.parent.name + path.stem for path in cached}
    return cached != [] and all(hashlib.md5(path.read_bytes()).hexdigest() == name for path, name in names.items())


def contents(tree: Tree) -> dict[Path, bytes]:
    folders = ("data", "results", "reports", ".snakemake/metadata")
    return {path.relative_to(tree.path): path.read_bytes() for top in folders for path in files(tree.path / top)}


def pull(origin: Tree, path: Path, kind: str, by: tuple[str, ...]) -> Tree:
    """A clone with all results, as links of a kind, pulled by a user."""
    clone = Tree(path)
    origin.run("git", "clone", "--quiet", ".", str(path))
    clone.run("dvc", "config", "--local", "cache.type", kind)
    clone.run(*by, "dvc", "pull")
    figure = path / FIGURE
    assert figure.is_symlink() == (kind == "symlink") and (figure.stat().st_nlink > 1) == (kind == "hardlink")
    assert contents(clone) == contents(origin) and clone.dry_run() == {}
    return clone


def make_anew(clone: Tree, by: tuple[str, ...]) -> None:
    """All jobs again, by Snakemake."""
    pulled = contents(clone)
    clone.edit("params/demo.yaml", "seed: 0", "seed: 7")
    rules = {job.split()[0] for job in clone.dry_run()}
    assert rules > {"make_data", "train_tokenizer", "list_tokens", "pretrain_model", "probe", "segment", "tsne", "page"}
    clone.run(*by, "snakemake", "--dry-run")
    assert contents(clone) == pulled
    clone.run(*by, "snakemake", "--cores", "2")
    made = contents(clone)
    assert made.keys() == pulled.keys() and made[FIGURE] != pulled[FIGURE]
    assert clone.dry_run() == {} and cache_is_whole(clone)


@pytest.mark.parametrize("kind", ["symlink", "hardlink"])
def test_what_is_linked_is_made_anew(origin, tmp_path, kind):
    make_anew(pull(origin, tmp_path / "clone", kind, USERS["user"]), USERS["user"])


@pytest.mark.slow
@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("kind", ["symlink", "hardlink", "copy", "reflink"])
def test_snakemake_and_dvc_may_take_turns(origin, tmp_path, kind, user):
    if kind == "reflink" and not has_reflinks(tmp_path):
        pytest.skip("this file system has no reflinks")
    by = USERS[user]
    clone = pull(origin, tmp_path / "clone", kind, by)
    pulled = contents(clone)
    make_anew(clone, by)
    made = contents(clone)

    clone.run("git", "checkout", "--quiet", "params")
    clone.run(*by, "dvc", "checkout", "--force")
    assert contents(clone) == pulled and clone.dry_run() == {}  # records are of the files that are back

    clone.edit("params/demo.yaml", "seed: 0", "seed: 7")
    text = clone.run(*by, "dvc", "repro")
    assert text.count("Running stage") == 5 and contents(clone)[FIGURE] == made[FIGURE]
    assert clone.dry_run() == {} and cache_is_whole(clone) and "up to date" in clone.run("dvc", "status")


def test_a_model_that_training_is_to_replace_is_kept_as_a_file_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("cached", "alone"):
        Path(name).write_text("weights")
    Path("cached").chmod(0o444)
    Path("soft").symlink_to(tmp_path / "cached")
    Path("hard").hardlink_to("cached")
    keep([SimpleNamespace(rule=SimpleNamespace(name="finetune"), output=["soft", "hard", "alone"])], Path("previous"))
    for name in ("soft", "hard", "alone"):
        kept = Path("previous", name)
        assert not kept.is_symlink() and kept.read_text() == "weights" and kept.stat().st_mode & 0o200
