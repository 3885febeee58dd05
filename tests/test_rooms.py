"""Which room of cae/ may know which: arrows point down, so that a room is read, tested and changed by itself."""

import ast
import subprocess
import sys

from tests.conftest import ROOT

# Each imports only of those before it, and of itself; whoever imports reporting is the command line.
ROOMS = (
    "errors", "progress", "files", "params", "weights", "tensors", "data", "tokenizers", "training", "models", "tasks",
    "analysis", "reporting", "cli",
)  # fmt: skip


def imported(path) -> set[str]:
    """Rooms that a module imports, inside functions too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: a relative import"
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {parts[1] for parts in (name.split(".") for name in names) if parts[0] == "cae" and parts[1:]}


def rooms() -> dict[str, set[str]]:
    """Room: the others that it imports."""
    found = {}
    for path in sorted((ROOT / "cae").rglob("*.py")):
        room = path.relative_to(ROOT / "cae").with_suffix("").parts[0]
        if not room.startswith("__"):
            found.setdefault(room, set()).update(imported(path) - {room})
    return found


def test_rooms_import_only_downward():
    for room, others in rooms().items():
        assert others <= set(ROOMS[: ROOMS.index(room)]), room


def test_data_know_neither_models_nor_training():
    assert rooms()["data"] <= {"errors", "files", "params", "progress"}


def test_reporting_draws_where_there_is_no_torch():
    assert rooms()["reporting"] <= {"errors", "files", "params"}
    script = """
import importlib, pkgutil, sys
import cae.reporting
for module in pkgutil.walk_packages(cae.reporting.__path__, "cae.reporting."):
    importlib.import_module(module.name)
assert not {"torch", "timm"} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)
