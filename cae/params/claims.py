"""The claims of params/claims.yaml: what the paper says of its numbers, as comparisons of cells."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from cae.errors import UserError
from cae.params.strict import Strict, refusal, unknown
from cae.params.tables import Table, entries

ATTENTION = ("outside", "outside_area", "object", "object_area", "half_patches")
FIGURES = {  # arrays of results/<scale>/analyze/<figure>.npz that claims may name
    "figure4": ("mse",),
    "figure5": ("purity", "purity_elsewhere"),
    "figure6": ATTENTION,
    "figure7": ATTENTION,
    "figure9": ATTENTION,
}


class Cell(Strict):
    """A number of a table, or of the arrays behind a figure: [table1, cae-b-300, linear], [figure4, cae-b-300-pixels, mse]."""

    where: str
    model: str
    column: str

    def __str__(self):
        return f"{self.where} {self.model} {self.column}"

    @model_validator(mode="before")
    @classmethod
    def expand(cls, cell: Any) -> Any:
        if isinstance(cell, dict):
            return cell
        if not isinstance(cell, list) or len(cell) != 3:
            raise refusal("a cell is three names: [table or figure, model, column or array]")
        return dict(zip(("where", "model", "column"), cell))


class Claim(Strict):
    """What each pair (left, right) of cells must fulfil.

    above: left - right > points, which may be negative (hardly below); close: |left - right| < points.
    """

    claim: str
    place: str
    compare: Literal["above", "close"] = "above"
    points: int | float = 0
    pairs: Annotated[list[Annotated[list[Cell], Field(min_length=2, max_length=2)]], Field(min_length=1)]

    @model_validator(mode="after")
    def close_within_something(self):
        if self.compare == "close" and self.points <= 0:
            raise refusal("how close? more than 0", "points")
        return self

    @property
    def figures(self) -> set[str]:
        return {cell.where for pair in self.pairs for cell in pair} & FIGURES.keys()


def load_claims(path: str | Path, tables: dict[str, Table], figures: dict[str, list[str]]) -> dict[str, Claim]:
    """The claims of params/claims.yaml; UserError for a cell that is in no table and no figure (`figures`: their models)."""
    claims = {}
    for name, claim in entries(path, Claim):
        claims[name] = claim
        for i, pair in enumerate(claim.pairs):
            for cell in pair:
                if wrong := _nowhere(cell, tables, figures):
                    raise UserError(f"{path}: {name}: pairs.{i}: {wrong}")
    return claims


def _nowhere(cell: Cell, tables: dict[str, Table], figures: dict[str, list[str]]) -> str | None:
    """Which name of a cell leads nowhere."""
    if cell.where in tables:
        table = tables[cell.where]
        rows = {row.model: row for row in table.rows if row.model}
        columns = table.cells_of(rows[cell.model]) if cell.model in rows else ()
    elif cell.where in FIGURES:
        rows, columns = figures.get(cell.where, [cell.model]), FIGURES[cell.where]
    else:
        return unknown(cell.where, [*tables, *FIGURES])
    if cell.model not in rows:
        return f"{cell.where}: {unknown(cell.model, rows)}"
    return None if cell.column in columns else f"{cell.where}: {cell.model}: {unknown(cell.column, columns)}"
