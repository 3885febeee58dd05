"""Which room of cae/ may know which: arrows point down, so that a room is read, tested and changed by itself."""

import ast
import subprocess
import sys

import pytest

from cae.params import METHODS
from tests.conftest import ROOT

# Each imports only of those before it, and of itself; whoever imports reporting is the command line.
ROOMS = (
    "errors", "progress", "files", "locks", "params", "options", "weights", "data", "tokenizers", "training", "models",
    "methods", "released", "tasks", "analysis", "reporting", "cli",
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
    assert rooms()["reporting"] <= {"errors", "files", "params", "options"}
    script = """
import importlib, pkgutil, sys
import cae.reporting
for module in pkgutil.walk_packages(cae.reporting.__path__, "cae.reporting."):
    importlib.import_module(module.name)
assert not {"torch", "timm"} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


# Modules that a command imports before its work: libraries that take seconds and that it has no use for. Each list is one
# process, which imports a line's modules after those of the lines above.
UNUSED = [{
    "cae.cli": "torch timm torchvision lightning_fabric numpy pandas matplotlib sklearn",
    "cae.data.manifests cae.tasks.choose cae.tasks.list_tokens cae.analysis.masks_and_crops": "torch timm pandas sklearn",
    "cae.reporting.tables cae.reporting.metrics cae.reporting.models cae.reporting.page": "torch matplotlib scipy sklearn",
    "cae.data.demo cae.reporting.claims": "torch matplotlib scipy skimage sklearn",
    "cae.reporting.figures.figure5 cae.reporting.figures.training": "torch scipy sklearn",
}, {
    "cae.tasks.tokenize cae.tokenizers.dvae": "timm torchvision lightning_fabric torch._dynamo",
    "cae.tasks.train_tokenizer cae.tokenizers.dvae cae.tokenizers.vqgan": "timm torchvision pandas",
    "cae.tasks.pretrain cae.methods.cae cae.tasks.probe cae.tasks.finetune":
        "sklearn pandas matplotlib scipy segmentation_models_pytorch pycocotools",
}]  # fmt: skip


@pytest.mark.parametrize("unused", UNUSED, ids=["without torch", "with torch"])
def test_a_command_imports_what_it_uses(unused):
    lines = [
        f"import {', '.join(modules.split())}; print(*sorted(set({libraries.split()}) & sys.modules.keys()))"
        for modules, libraries in unused.items()
    ]
    script = "\n".join(["import sys", *lines])
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, text=True)
    assert dict(zip(unused, done.stdout.splitlines())) == dict.fromkeys(unused, "")


def test_captions_are_read_where_nothing_is_drawn():
    script = "import sys; from cae.reporting.figures import caption_of; caption_of('figure4'); print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout == "False\n"


def test_nothing_asks_for_a_methods_name():
    """But a method's own files and its conversion of released checkpoints: others ask for the facts about it."""
    own = {f"cae/{room}/{name}.py" for room in ("methods", "params/methods") for name in METHODS}
    own |= {"cae/params/methods/__init__.py", "cae/released/models.py", "cae/models/flops.py"}
    own |= {"cae/cli.py", "workflow/stages.py"}  # where "cae" is the package
    asked = {}
    for path in (path for room in ("cae", "workflow") for path in sorted((ROOT / room).rglob("*.py"))):
        if (name := str(path.relative_to(ROOT))) not in own:
            constants = (node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant))
            asked[name] = [value for value in constants if isinstance(value, str) and value in METHODS]
    assert len(asked) > 100 and not {name: values for name, values in asked.items() if values}
