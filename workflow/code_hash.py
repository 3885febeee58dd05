"""A hash of the code that a rule runs, so that a job reruns when this code changes and for no other reason.

A job names the function that it starts from, or a module, which stands for all that it defines. The hash covers every
definition of the package that these can reach: functions, classes and constants, followed by name from one to the next.
Comments, docstrings, layout and the messages of errors do not count. A new definition that nothing uses changes no hash.

The hash is never too small. Where a name cannot be followed, the whole module counts: a module that is passed on as a value, a
star import, a name that its module does not bind. Statements of a module that act when it is imported always count.
"""

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
# These packages do not count: what they decide reaches a job as its params, which are compared by themselves.
DECLARATIONS = ("cae.errors", "cae.options", "cae.params")
# Decorators that return the function or class and register it nowhere.
PURE = {
    "cache", "cached_property", "contextmanager", "dataclass", "lru_cache", "no_grad", "once_differentiable",
}  # fmt: skip
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
DEFINITIONS = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
EVERYTHING = "*"  # in the place of a name: all definitions of a module


class Module(NamedTuple):
    """A module's statements: which of them bind a name, which act on import, and what its imports bind."""

    definitions: dict[str, tuple[ast.stmt, ...]]
    actions: tuple[ast.stmt, ...]
    imports: dict[str, str]  # name: full name of what it stands for


def code_hash(*starts: str) -> str:
    """Return the hash of the functions or modules `starts`, by their full names, and of all that they reach."""
    texts = {key: text for key in sorted(reached(*starts)) if (text := _text(*key)) != "[]"}
    return hashlib.sha256(repr(texts).encode()).hexdigest()[:12]


def code_of_figure(module: str) -> str:
    """Return the hash of what draws a figure and saves it; `module`: the figure's."""
    return code_hash(f"{module}.draw", "cae.reporting.figures.style.save")


def reached(*starts: str) -> set[tuple[str, str]]:
    """Return (module, name) of all definitions that `starts` reach; the name "" stands for what acts on import."""
    found, todo = set(), []
    for start in starts:
        module = _source(start)
        if not module or module != start and not _looked_up(module, (start[len(module) + 1 :],)):
            raise ModuleNotFoundError(f"{start}: no such module or function below {ROOT}")
        todo += _resolved(start, ())
    while todo:
        module, name = todo.pop()
        if (module, name) in found or _declares(module):
            continue
        if name == EVERYTHING:
            todo += [(module, each) for each in ("", *_module(module).definitions)]
            continue
        found.add((module, name))
        todo += _uses(module, name)
    return found


@cache
def _uses(module: str, name: str) -> tuple[tuple[str, str], ...]:
    """Return (module, name) of what a definition uses; of a module's import, what runs with it."""
    statements = _statements(module, name)
    local = {key: value for each in statements for key, value in _imports_within(each, module).items()}
    targets = [(module, "")]  # a definition exists once its module is imported
    if not name:
        parent = module.rpartition(".")[0]
        targets += [(parent, "")] if _path(parent) else []
        targets += [(source, "") for value in _module(module).imports.values() if (source := _source(value))]
    # Imports inside a definition run their module, also where it is not called by name.
    targets += [(source, "") for value in local.values() if (source := _source(value))]
    for chain in (chain for each in statements for chain in _chains(each)):
        if chain[0] in local:
            targets += _resolved(local[chain[0]], chain[1:])
        else:
            targets += _looked_up(module, chain)
    return tuple(dict.fromkeys(target for target in targets if target != (module, name)))


def _looked_up(module: str, chain: tuple[str, ...]) -> list[tuple[str, str]]:
    """Return what a dotted name means at the top level of a module; nothing for builtins and local variables."""
    first, *rest = chain
    parts = _module(module)
    if first in parts.definitions:
        return [(module, first)]
    if first in parts.imports:
        return _resolved(parts.imports[first], tuple(rest))
    return [
        (_source(value), EVERYTHING) for key, value in parts.imports.items() if key.startswith("*") and _source(value)
    ]


def _resolved(full: str, rest: tuple[str, ...]) -> list[tuple[str, str]]:
    """Return what `full`, followed by the attributes `rest`, stands for; nothing outside of the package."""
    source = _source(full)
    if not source:
        return []
    while full == source and rest and _path(f"{full}.{rest[0]}") and rest[0] not in _module(full).definitions:
        full = source = f"{full}.{rest[0]}"
        rest = rest[1:]
    if full == source:  # a module
        full, rest = (f"{full}.{rest[0]}", rest[1:]) if rest else (full, ())
    name = full[len(source) + 1 :]
    if not name:
        return [(source, EVERYTHING)]
    return _looked_up(source, (name, *rest)) or [(source, EVERYTHING)]


def _source(full: str) -> str | None:
    """Return the module of the package that a full name is or lies in."""
    parent = full.rpartition(".")[0]
    return full if _path(full) else parent if parent and _path(parent) else None


def _declares(module: str) -> bool:
    return any(f"{module}.".startswith(f"{each}.") for each in DECLARATIONS)


@cache
def _path(module: str) -> Path | None:
    """Return the module's file; None for a class, a function or another package."""
    path = ROOT / module.replace(".", "/")
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


@cache
def _module(module: str) -> Module:
    definitions: dict[str, tuple] = {}
    actions, imports = [], {}
    for statement in _tree(module).body:
        imports |= _imports_within(statement, module) if not isinstance(statement, DEFINITIONS) else {}
        if isinstance(statement, (ast.Import, ast.ImportFrom)):
            continue
        names = _bound(statement)
        for name in names:
            definitions[name] = (*definitions.get(name, ()), statement)
        if not names or not _only_binds(statement):
            actions.append(statement)
    return Module(definitions, tuple(actions), imports)


def _bound(statement: ast.stmt) -> set[str]:
    """Return the names that a top-level statement binds."""
    if isinstance(statement, DEFINITIONS):
        return {statement.name}
    nodes = [node for node in ast.walk(statement) if isinstance(node, (ast.Name, *DEFINITIONS))]
    names = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return names | {node.name for node in nodes if isinstance(node, DEFINITIONS)}


def _only_binds(statement: ast.stmt) -> bool:
    """Whether a statement does nothing but bind names, so that it matters only to who uses them."""
    if isinstance(statement, DEFINITIONS):
        return all(_chain_of(each)[-1:] and _chain_of(each)[-1] in PURE for each in statement.decorator_list)
    if isinstance(statement, (ast.Assign, ast.AnnAssign)):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        names = (name for target in targets for name in getattr(target, "elts", [target]))
        return all(isinstance(name, ast.Name) for name in names)
    return isinstance(statement, ast.AugAssign)


def _chain_of(node: ast.expr) -> tuple[str, ...]:
    """Return a.b.c of a decorator as ("a", "b", "c")."""
    node = node.func if isinstance(node, ast.Call) else node
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names, node = [node.attr, *names], node.value
    return (node.id, *names) if isinstance(node, ast.Name) else ()


def _statements(module: str, name: str) -> tuple[ast.stmt, ...]:
    return _module(module).definitions[name] if name else _module(module).actions


def _imports_within(node: ast.AST, module: str) -> dict[str, str]:
    """Return what imports bind in a statement, however deep: name and full name; a star import under "*<module>"."""
    found = {}
    for each in ast.walk(node):
        for alias in each.names if isinstance(each, (ast.Import, ast.ImportFrom)) else ():
            if isinstance(each, ast.ImportFrom) and alias.name == "*":
                found[f"*{each.module}"] = each.module
            elif isinstance(each, ast.ImportFrom):
                found[alias.asname or alias.name] = f"{each.module}.{alias.name}"
            elif alias.asname:
                found[alias.asname] = alias.name
            else:
                package = alias.name.partition(".")[0]
                found |= {
                    package: package,
                    f".{alias.name}": alias.name,
                }  # no code has this name; the import runs all the same
    return found


def _chains(node: ast.AST) -> Iterator[tuple[str, ...]]:
    """Yield the dotted names of a statement, each as its parts: a.b(c) has ("a", "b") and ("c",)."""
    for child in _children(node):
        if isinstance(child, ast.Attribute) and (chain := _chain_of(child)):
            yield chain
        elif isinstance(child, ast.Name):
            yield (child.id,)
        else:
            yield from _chains(child)


def _children(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the parts of a node that decide what it does: of an error that is raised, its class alone."""
    if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
        yield node.exc.func
        return
    yield from ast.iter_child_nodes(node)


@cache
def _tree(module: str) -> ast.Module:
    tree = ast.parse(_path(module).read_bytes())
    for node in ast.walk(tree):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return tree


@cache
def _text(module: str, name: str) -> str:
    """Return a definition without comments, docstrings, layout and messages of errors."""
    return repr([_plain(statement) for statement in _statements(module, name)])


def _plain(node):
    """Return a syntax tree as tuples: the same in every Python from 3.11 on, as `ast.dump` and `ast.unparse` are not."""
    if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
        return "Raise", _plain(node.exc.func)
    if isinstance(node, ast.AST):
        fields = ((name, _plain(part)) for name, part in ast.iter_fields(node) if part not in (None, []))
        return type(node).__name__, *fields
    return [_plain(part) for part in node] if isinstance(node, list) else node
