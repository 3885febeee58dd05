"""The hash of the code that a rule runs: what moves it, what does not, and that it covers all that a job executes."""

import ast
import copy
import inspect
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from cae.cli import main
from cae.params import METHODS, untrained
from cae.reporting.figures import KINDS
from tests.conftest import MODELS, text
from workflow import code_hash as module

ROOT = Path(__file__).parents[2]
FILES = {
    "pkg/__init__.py": "",
    "pkg/loss.py": '''"""Losses."""

EPS = 1e-6
SCALE = 2.0


def loss(x):
    """Mean square."""
    if not len(x):
        raise ValueError(f"no values: {hint(x)}")
    return (x**2).mean() + EPS  # over all


def hint(x):
    return type(x).__name__


def unused(x):
    return SCALE * x
''',
    "pkg/draw.py": "import matplotlib\nLINE = 1\n",
    "pkg/sub/__init__.py": "from pkg.sub.again import Exported\n",
    "pkg/sub/again.py": """class Exported:
    base = 1

    def go(self):
        return helper()


def helper():
    return 1
""",
    "pkg/sub/data.py": "SIZE = 2\nOTHER = 3\n",
    "pkg/sub/whole.py": "FIRST = 1\nSECOND = 2\n",
    "pkg/stars.py": "STAR = 1\n",
    "pkg/acts.py": "import os\n\nos.environ['X'] = '1'\nIDLE = 1\n",
    "pkg/train.py": """import json
import pkg.acts
from pkg.sub import Exported, data, whole
from pkg.stars import *


def main():
    from pkg.loss import loss

    loss(data.SIZE)
    Exported().go()
    inspect(whole)


def inspect(x):
    return vars(x)


def spare():
    return data.OTHER
""",
}


@pytest.fixture
def changed(tmp_path, monkeypatch):
    """changed(file, old, new): whether the edit moves the hash of pkg.train.main."""
    monkeypatch.setattr(module, "ROOT", tmp_path)

    def code_hash():
        forget()
        return module.code_hash("pkg.train.main")

    def changed(file, old, new):
        for name, content in FILES.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(content)
        before = code_hash()
        assert old in FILES.get(file, "")
        (tmp_path / file).write_text(FILES.get(file, "").replace(old, new, 1))
        return code_hash() != before

    yield changed
    forget()


def forget():
    for cached in (module._tree, module._module, module._uses, module._text, module._path):
        cached.cache_clear()


@pytest.mark.parametrize(
    "edit",
    [
        ("pkg/loss.py", "  # over all", ""),
        ("pkg/loss.py", "Mean square.", "Mean of squares."),
        ("pkg/loss.py", '    """Mean square."""\n', ""),
        ("pkg/loss.py", '"""Losses."""\n\n', ""),
        ("pkg/loss.py", "(x**2).mean()", "(x ** 2).mean(\n    )"),
        ("pkg/loss.py", "no values: ", "nothing to average: "),  # the message of an error
        ("pkg/loss.py", "__name__", "__qualname__"),  # used by that message alone
        ("pkg/loss.py", "SCALE * x", "x"),  # a function that main does not call
        ("pkg/loss.py", "SCALE = 2.0", "SCALE = 3.0"),
        ("pkg/loss.py", "EPS = 1e-6", "EPS = 1e-6\nNEW = 1"),  # a new constant
        ("pkg/loss.py", "def hint(x)", "def new(x):\n    return x\n\n\ndef hint(x)"),  # a new function
        ("pkg/sub/data.py", "OTHER = 3", "OTHER = 4"),
        ("pkg/acts.py", "IDLE = 1", "IDLE = 2"),
        ("pkg/draw.py", "LINE = 1", "LINE = 2"),  # a module that nothing imports
        ("pkg/train.py", "import json", "import yaml"),  # unused
        ("pkg/train.py", "return data.OTHER", "return 1"),
        ("pkg/new.py", "", "X = 1"),
    ],
)
def test_is_blind_to(changed, edit):
    assert not changed(*edit)


@pytest.mark.parametrize(
    "edit",
    [
        ("pkg/loss.py", "x**2", "abs(x)"),  # imported inside a function
        ("pkg/loss.py", "EPS = 1e-6", "EPS = 1e-5"),  # a constant that it uses
        ("pkg/loss.py", "if not len(x)", "if len(x) < 2"),  # the condition of an error
        ("pkg/loss.py", "raise ValueError", "raise TypeError"),
        ("pkg/sub/data.py", "SIZE = 2", "SIZE = 3"),
        ("pkg/sub/data.py", "SIZE = 2", "SIZE = 2\nSIZE += 1"),
        ("pkg/sub/again.py", "return 1", "return 2"),  # used by a method of a class that another module passes on
        ("pkg/sub/again.py", "base = 1", "base = 2"),
        ("pkg/sub/whole.py", "SECOND = 2", "SECOND = 3"),  # the module is passed on as a value
        ("pkg/acts.py", "'1'", "'2'"),  # acts on import
        ("pkg/loss.py", "SCALE = 2.0", "SCALE = 2.0\nprint(SCALE)"),
        ("pkg/loss.py", "SCALE = 2.0", "SCALE = 2.0\nloss.scale = 1"),
        ("pkg/loss.py", "def unused", "@registered\ndef unused"),  # who knows where
        ("pkg/__init__.py", "", "import os\nos.umask(0)"),
        ("pkg/sub/__init__.py", "", "print()\n"),
        ("pkg/stars.py", "STAR = 1", "STAR = 1\n\n\ndef vars(x):\n    return {}"),
    ],
)
def test_sees(changed, edit):
    assert changed(*edit)


def modules_of(*starts: str) -> set[str]:
    return {name for name, _ in module.reached(*starts)}


def test_follows_names_through_the_library():
    found = module.reached("cae.tasks.pretrain.main")
    assert {("cae.data.rng", "uniforms"), ("cae.training.loop", "train"), ("cae.training.run", "Run")} <= found
    assert not {name for name, _ in found if name.startswith(("cae.reporting", "cae.analysis", "cae.cli"))}


def test_a_method_is_no_part_of_another():
    methods = {f"cae.methods.{method}" for method in METHODS}
    assert not methods & modules_of("cae.tasks.pretrain.main")
    for method in methods:
        assert methods & modules_of("cae.tasks.pretrain.main", method) == {method}
    assert methods & modules_of("cae.analysis.reconstruction.main") == {"cae.methods.cae"}


def test_a_figure_is_no_part_of_another():
    figures = {f"cae.reporting.figures.{kind}" for kind in KINDS}
    # Drawn from another's description, or as another.
    like = {"figure1": "figure2", "figure7": "figure6", "figure9": "figure6"}
    for figure in figures:
        kind = figure.rpartition(".")[2]
        parts = {figure, f"cae.reporting.figures.{like.get(kind, kind)}"}
        found = modules_of(f"{figure}.draw", "cae.reporting.figures.style.save")
        assert figures & found <= parts and "cae.reporting.figures.style" in found
    assert not figures & modules_of("cae.reporting.page.main")


@pytest.mark.parametrize("name", ["cae.tasks.pretrian", "cae.tasks.pretrain.mian"])
def test_unknown_module_or_function(name):
    with pytest.raises(ModuleNotFoundError, match=name):
        module.code_hash(name)


def test_is_the_same_in_another_process():
    """Nothing of it may depend on the order of sets or on the hash seed."""
    start = "cae.tasks.pretrain.main"
    command = [sys.executable, "-c", f"from workflow.code_hash import code_hash; print(code_hash('{start}'))"]
    done = subprocess.run(command, cwd=ROOT, env={"PYTHONHASHSEED": "7"}, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == module.code_hash(start)


def test_a_new_kind_of_params_moves_nothing(changed, monkeypatch):
    for declared in ("pkg.sub.data", "pkg.sub"):  # a module, a package
        monkeypatch.setattr(module, "DECLARATIONS", (declared,))
        assert not changed("pkg/sub/data.py", "SIZE = 2", "SIZE = 3")
    monkeypatch.setattr(module, "DECLARATIONS", ("pkg.sub.dat",))
    assert changed("pkg/sub/data.py", "SIZE = 2", "SIZE = 3")
    assert changed("pkg/loss.py", "x**2", "x**3")


# --- what real jobs execute


class Executed:
    """Records the package's functions that run inside the block, in all threads."""

    def __enter__(self):
        self.codes = set()
        threading.setprofile(self.note)
        sys.setprofile(self.note)
        return self

    def note(self, frame, event, _):
        if event == "call":
            self.codes.add(frame.f_code)

    def __exit__(self, *_):
        sys.setprofile(None)
        threading.setprofile(None)

    def definitions(self) -> set[tuple[str, str]]:
        """Return (module, name at its top level) of the functions that count."""
        found = set()
        for code in self.codes:
            path = Path(code.co_filename)
            # Bodies of modules and classes run on import, used or not.
            if path.is_relative_to(ROOT / "cae") and code.co_flags & inspect.CO_OPTIMIZED:
                name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
                if not module._declares(name) and name not in ("cae.cli", "cae.options"):
                    found.add((name, enclosing(path, code.co_firstlineno)))
        return found


def enclosing(path: Path, line: int) -> str:
    """Return the name that the top-level statement at a file's line binds."""
    for statement in ast.parse(path.read_bytes()).body:
        first = min([statement.lineno, *(each.lineno for each in getattr(statement, "decorator_list", []))])
        if first <= line <= statement.end_lineno:
            return min(module._bound(statement), default="")
    raise AssertionError(f"{path}: no statement at line {line}")


def starts_of(command: str, **names: str) -> list[str]:
    """Return what the rule that runs `python -m cae <command>` hashes, its own names filled in."""
    rules = (part for path in (ROOT / "workflow/rules").glob("*.smk") for part in path.read_text().split("\nrule "))
    (rule,) = (part for part in rules if re.search(rf'python -m cae {command}[\s"]', part))
    (code,) = re.findall(r"\n        code=(.*?\n(?=    \w))", rule, re.DOTALL)
    starts = [
        re.sub(r"\.(\w+)\.\{.*?\}$", lambda each: f".{each[1]}.{names[each[1]]}", each)
        for each in re.findall(r'"([^"]+)"', code)
    ]
    starts += [f"cae.tokenizers.{names['tokenizers']}"] if "tokenizer_module" in code else []
    return starts + ([f"cae.methods.{names['encoders']}.build_encoder"] if "initialising_code" in code else [])


@pytest.fixture(scope="module")
def jobs(tiny, tmp_path_factory) -> dict[tuple[str, ...], set]:
    """What jobs of every kind execute, by what their rules hash: a tiny run of the whole pipeline."""
    folder, found = tmp_path_factory.mktemp("jobs"), {}

    def job(command, *arguments, **names):
        with Executed() as executed:
            main([command, *map(str, arguments)])
        found.setdefault(tuple(starts_of(command, **names)), set()).update(executed.definitions())

    def work(name):
        return "--work", folder / "work" / name

    data = {}
    for layout, scenes in {
        "imagenet": (128, 100),
        "ade20k": (8, 20),
        "coco": (8, 6),
        "clipart": (64, 40),
        "food101": (64, 40),
    }.items():
        data[layout] = folder / f"{layout}.json"
        about = ["--layout", layout, "--root", folder / layout, "--output", data[layout]]
        about += ["--classes", 11] if layout == "ade20k" else []
        job("make", *about, "--seed", 0, "--scenes", *scenes, layouts=layout)
        job("index", *about, layouts=layout)
    of = {"data": ("--data", data["imagenet"])}
    tokenizer, tokens = folder / "tokenizer", folder / "tokens"
    about = text(tokenizer=tiny.tokenizers["dvae"], image=tiny.image, view=tiny.view, seed=0)
    job("train-tokenizer", *of["data"], "--params", about, *work("t"), "--output", tokenizer, tokenizers="dvae")
    of["tokens"] = *of["data"], "--tokenizer", tokenizer, "--params", text(seed=0, view=tiny.view, image=tiny.image)
    shard = tokens / "shards/1.npy"
    job("tokenize", *of["tokens"], "--shard", "1/1", *work("s"), "--output", shard, tokenizers="dvae")
    job("list-tokens", *of["tokens"], "--output", tokens, shard)

    encoder = {}
    for name in [*MODELS.values(), "cae-b-300-pixels", "cae-b-300-pixels-no-align"]:
        params, encoder[name] = tiny.pretraining(name), folder / "pretrain" / name
        targets = ["--tokenizer", tokenizer, "--tokens", tokens] if params.target_tokenizer else []
        about = [*of["data"], *targets, "--params", params.model_dump_json(), "--output", encoder[name]]
        job("pretrain", *about, *work(name), methods=params.method)
    encoder["random-b"], params = folder / "pretrain/random-b", untrained(tiny.pretraining("random-b"))
    about = ["--params", params.model_dump_json(), "--output", encoder["random-b"]]
    job("initialise", *about, encoders="cae")
    cae, probes = encoder["cae-b-300"], [folder / name / "model.safetensors" for name in ("linear", "attentive")]
    metrics = [part for name in ("linear", "attentive") for part in (f"--{name}", folder / f"{name}.json")]
    about = text(**tiny.probes.model_dump(), seed=0)
    job("probe", *of["data"], "--encoder", cae, "--params", about, *work("p"), *metrics, "--weights", *probes)
    tuned, about = folder / "finetune", text(**tiny.finetuning("cae-b-300").model_dump(), seed=0)
    end = ["--protocol", "finetune", "--metrics", folder / "f.json", "--output", tuned]
    job("finetune", *of["data"], "--encoder", cae, "--params", about, *work("f"), *end)
    job("classify", *of["data"], "--encoder", tuned, "--params", text(micro_batch=33), "--output", folder / "c.json")
    about = text(**next(iter(tiny.segmenting("cae-b-300").values())).model_dump(), seed=0)
    segmented = folder / "segment"
    job("segment", "--data", data["ade20k"], "--encoder", cae, "--params", about, *work("g"), "--output", segmented)
    about, end = (
        text(**tiny.detecting("cae-b-300").model_dump(), seed=0, cascade=False),
        ["--metrics", folder / "d.json", "--output", folder / "d"],
    )
    job(
        "detect",
        "--data",
        data["coco"],
        "--encoder",
        cae,
        "--protocol",
        "coco-mask",
        "--params",
        about,
        *work("d"),
        *end,
    )
    about = text(figure3=tiny.analyses.figure3, image=tiny.image, view=tiny.view, mask=tiny.shared_mask, seed=0)
    job("masks-and-crops", *of["data"], "--params", about, "--output", folder / "figure3.npz")
    models = encoder["cae-b-300-pixels"], encoder["cae-b-300-pixels-no-align"]
    about = "--params", text(figure4=tiny.analyses.figure4, seed=0)
    job("reconstruct", *of["data"], "--models", *models, *about, "--output", folder / "figure4.npz")
    about = "--params", text(figure5=tiny.analyses.figure5, seed=0)
    job(
        "tsne",
        "--data",
        data["ade20k"],
        "--models",
        cae,
        encoder["random-b"],
        *about,
        "--output",
        folder / "figure5.npz",
    )
    return found


# What jobs run and no hash covers: what calls the index, a check that makes nothing, and the model card, which is prose about
# the weights beside it.
UNCOUNTED = (
    *(("cae.tasks.index", name) for name in ("main", "make")),
    ("cae.data.few_labels", "check"),
    *(("cae.models.card", name) for name in ("card", "pooling", "_cell", "_data", "_list", "_table", "_tokenizer")),
)


@pytest.mark.slow
def test_the_hash_covers_every_function_that_a_job_runs(jobs):
    for starts, ran in jobs.items():
        missed = ran - module.reached(*starts) - set(UNCOUNTED)
        assert ran and not missed, f"run, but no part of the hash of {starts}: {sorted(missed)}"


@pytest.mark.slow
def test_a_change_of_any_function_that_a_job_runs_is_noticed(jobs, monkeypatch):
    """Each function of models, methods, data and training that a job ran is changed once, and the hash of the job with it."""
    trees, before = {}, {starts: module.code_hash(*starts) for starts in jobs}
    unchanged = module._tree.__wrapped__

    def tree(name):
        trees[name] = trees.get(name) or unchanged(name)
        return trees[name]

    monkeypatch.setattr(module, "_tree", tree)
    rooms = ("cae.models", "cae.methods", "cae.data", "cae.training")
    changed = {each for ran in jobs.values() for each in ran if each[0].startswith(rooms)} - set(UNCOUNTED)
    assert len(changed) > 150
    for name, definition in changed:
        plain = tree(name)
        trees[name] = with_another_statement(plain, definition)
        for cached in (module._module, module._uses, module._text):
            cached.cache_clear()
        users = [starts for starts, ran in jobs.items() if (name, definition) in ran]
        for starts in users[:2]:
            assert module.code_hash(*starts) != before[starts], f"a change of {name}.{definition} is not noticed"
        trees[name] = plain
    for cached in (module._module, module._uses, module._text):
        cached.cache_clear()


def with_another_statement(tree: ast.Module, definition: str) -> ast.Module:
    """Return a copy in which each function of a definition has another last statement, or a constant another value."""
    tree = copy.deepcopy(tree)
    for statement in tree.body:
        if definition in module._bound(statement):
            functions = [node for node in ast.walk(statement) if isinstance(node, ast.FunctionDef)]
            for node in functions:
                node.body.append(ast.Pass())
            if not functions:
                statement.value = ast.Tuple([statement.value], ast.Load())
    return tree
