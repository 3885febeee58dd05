"""Figures: arrays of analyses and lines of training to PNG and PDF. They draw and compute nothing.

A file a figure, with its CAPTION (after the paper's) and `draw(*paths)`, which makes a matplotlib figure of the files
that workflow/plan/figures.py names for it: of none, if it is a drawing.
"""

import ast
import importlib
import pkgutil
from pathlib import Path

from cae.errors import UserError
from cae.options import Inputs, Name, OutputFile, Scale
from cae.params import unknown

KINDS = sorted({module.name for module in pkgutil.iter_modules(__path__)} - {"graph", "style"})


def module_of(name: str) -> str:
    """The module that draws the figure `name`; `tokenizer-<tokenizer>` is of the kind `tokenizer`.

    It is imported at run time, so that no figure's code counts as part of another's, and only where it is asked for: it
    takes matplotlib along.
    """
    kind = name.partition("-")[0]
    if kind not in KINDS:
        raise UserError(f"figure: {unknown(kind, KINDS)}")
    return f"{__name__}.{kind}"


def caption_of(name: str) -> str:
    """The figure's CAPTION, read and not imported: who plans asks for all of them, and draws none."""
    tree = ast.parse(Path(__file__).with_name(f"{module_of(name).rpartition('.')[2]}.py").read_bytes())
    names = {ast.unparse(node.targets[0]): node.value for node in tree.body if isinstance(node, ast.Assign)}
    return " ".join(ast.literal_eval(names["CAPTION"]).split())


def main(*inputs: Inputs, name: Name, scale: Scale, output: OutputFile) -> None:
    """Draw one figure from its arrays.

    `output` is .png, beside it is .pdf.
    """
    module = importlib.import_module(module_of(name))
    from cae.reporting.figures import style

    style.save(module.draw, scale, inputs, output)
