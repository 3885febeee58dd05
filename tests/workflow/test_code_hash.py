"""The hash of the code that a rule runs."""

import subprocess
import sys
from pathlib import Path

import pytest

from cae.params import METHODS
from cae.reporting.figures import KINDS
from workflow import code_hash as module

ROOT = Path(__file__).parents[2]
FILES = {
    "pkg/__init__.py": "",
    "pkg/loss.py": '"""Losses."""\n\ndef loss(x):\n    """Mean square."""\n    return (x**2).mean()  # over all\n',
    "pkg/draw.py": "import matplotlib\nLINE = 1\n",
    "pkg/sub/__init__.py": "",
    "pkg/sub/data.py": "SIZE = 2\n",
    "pkg/train.py": "import json\nfrom pkg.sub import data\n\ndef main():\n    from pkg.loss import loss\n    loss(data)\n",
}


@pytest.fixture
def changed(tmp_path, monkeypatch):
    """changed(file, old, new): whether the edit moves the hash of pkg.train."""
    monkeypatch.setattr(module, "ROOT", tmp_path)

    def code_hash():
        for cached in (module._tree, module._imports, module._text):
            cached.cache_clear()
        return module.code_hash("pkg.train")

    def changed(file, old, new):
        for name, text in FILES.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        before = code_hash()
        assert old in FILES[file]
        (tmp_path / file).write_text(FILES[file].replace(old, new))
        return code_hash() != before

    return changed


@pytest.mark.parametrize(
    "edit",
    [
        ("pkg/loss.py", "  # over all", ""),
        ("pkg/loss.py", "Mean square.", "Mean of squares."),
        ("pkg/loss.py", '    """Mean square."""\n', ""),
        ("pkg/loss.py", '"""Losses."""\n\n', ""),
        ("pkg/loss.py", "(x**2).mean()", "(x ** 2).mean(\n    )"),
        ("pkg/draw.py", "LINE = 1", "LINE = 2"),  # nothing that pkg.train imports
    ],
)
def test_is_blind_to(changed, edit):
    assert not changed(*edit)


@pytest.mark.parametrize(
    "edit",
    [
        ("pkg/loss.py", "x**2", "abs(x)"),  # imported inside a function
        ("pkg/sub/data.py", "2", "3"),  # a module imported from its package
        ("pkg/__init__.py", "", "import os"),
        ("pkg/sub/__init__.py", "", "import os"),
        ("pkg/train.py", "import json", "import yaml"),
    ],
)
def test_sees(changed, edit):
    assert changed(*edit)


def test_follows_imports_through_the_library():
    closure = module._closure(["cae.tasks.pretrain"])
    assert {"cae", "cae.tasks", "cae.models.vit", "cae.data.rng", "cae.training.loop"} <= closure
    assert not {name for name in closure if name.startswith(("cae.reporting", "cae.analysis", "cae.cli"))}


def test_a_method_is_no_part_of_another():
    methods = {f"cae.methods.{method}" for method in METHODS}
    assert not methods & module._closure(["cae.tasks.pretrain"])
    for method in methods:
        assert methods & module._closure(["cae.tasks.pretrain", method]) == {method}
    assert methods & module._closure(["cae.analysis.reconstruction"]) == {"cae.methods.cae"}


def test_a_figure_is_no_part_of_another():
    figures = {f"cae.reporting.figures.{kind}" for kind in KINDS}
    like = {
        "figure1": "figure2",
        "figure7": "figure6",
        "figure9": "figure6",
    }  # drawn of another's description, or as another
    for figure in figures:
        closure, kind = module._closure([figure]), figure.rpartition(".")[2]
        parts = {figure, f"cae.reporting.figures.{like.get(kind, kind)}"}
        assert figures & closure == parts and "cae.reporting.figures.style" in closure
    assert not figures & module._closure(["cae.reporting.page"])


def test_unknown_module():
    with pytest.raises(ModuleNotFoundError, match="cae.tasks.pretrian"):
        module.code_hash("cae.tasks.pretrian")


def test_is_the_same_in_another_process():
    """Nothing of it may depend on the order of sets or on the hash seed."""
    command = [sys.executable, "-c", "from workflow.code_hash import code_hash; print(code_hash('cae.tasks.pretrain'))"]
    done = subprocess.run(command, cwd=ROOT, env={"PYTHONHASHSEED": "7"}, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == module.code_hash("cae.tasks.pretrain")


def test_a_new_kind_of_params_moves_nothing(changed, monkeypatch):
    for declared in ("pkg.sub.data", "pkg.sub"):  # a module, a package
        monkeypatch.setattr(module, "DECLARATIONS", (declared,))
        assert not changed("pkg/sub/data.py", "SIZE = 2", "SIZE = 3")
    monkeypatch.setattr(module, "DECLARATIONS", ("pkg.sub.dat",))
    assert changed("pkg/sub/data.py", "SIZE = 2", "SIZE = 3")
    assert changed("pkg/loss.py", "x**2", "x**3")
