"""A hash of the code a rule runs: what a rerun depends on, where a file's date and its comments are not."""

import ast
import hashlib
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
# Left out, with all that lies in them: what they let through reaches a job as its params, which count by themselves.
DECLARATIONS = ("cae.errors", "cae.params")
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def code_hash(*modules: str) -> str:
    """Of the modules and all that they import of their own package, directly or not; comments, docstrings and layout
    left out."""
    texts = {module: _text(module) for module in sorted(_closure(modules)) if not _declares(module)}
    return hashlib.sha256(repr(texts).encode()).hexdigest()[:12]


def _declares(module: str) -> bool:
    return any(f"{module}.".startswith(f"{each}.") for each in DECLARATIONS)


def _closure(modules) -> set[str]:
    found, todo = set(), list(modules)
    while todo:
        module = todo.pop()
        if module not in found:
            found.add(module)
            todo += _imports(module)
    return found


def _path(module: str) -> Path | None:
    """The module's file; None where there is none, as for a class or a function."""
    path = ROOT / module.replace(".", "/")
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


@cache
def _tree(module: str) -> ast.Module:
    path = _path(module)
    if not path:
        raise ModuleNotFoundError(f"{module}: no such module below {ROOT}")
    return ast.parse(path.read_bytes())


@cache
def _imports(module: str) -> tuple[str, ...]:
    """Modules of the same package that `module` imports, inside functions too, and the packages they lie in."""
    package = module.split(".")[0]
    names = {module.rpartition(".")[0]}
    for node in _statements(_tree(module)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return tuple(name for name in names if name and name.split(".")[0] == package and _path(name))


def _statements(node: ast.AST):
    """All statements below `node`, however deep; no expression is looked into."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.stmt, ast.excepthandler, ast.match_case)):
            yield child
            yield from _statements(child)


@cache
def _text(module: str) -> str:
    """The module without comments, docstrings and layout."""
    tree = _tree(module)
    for node in ast.walk(tree):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return repr(_plain(tree))


def _plain(node):
    """A syntax tree as tuples: the same in every Python from 3.11 on, as `ast.dump` and `ast.unparse` are not."""
    if isinstance(node, ast.AST):
        fields = ((name, _plain(part)) for name, part in ast.iter_fields(node) if part not in (None, []))
        return type(node).__name__, *fields
    return [_plain(part) for part in node] if isinstance(node, list) else node
