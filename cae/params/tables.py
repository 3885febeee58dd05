"""The tables of params/tables.yaml: rows of models, columns of evaluations, and the numbers that the paper prints."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ValidationError, field_validator

from cae.errors import UserError
from cae.params.files import read
from cae.params.finetune import of_few_labels
from cae.params.strict import Name, Strict, describe, named, refusal, unknown

PROTOCOLS = (
    "finetune",
    "linear",
    "attentive",
    "supervised",
    "ade20k",
    "coco-mask",
    "coco-cascade",
    "food101",
    "clipart",
    "sketch",
)  # and finetune-<percent of the labels>
PRIMARY = {"ade20k": "miou", "coco-mask": "box_ap", "coco-cascade": "box_ap"}  # metric of a protocol; of others top1


def _known(protocol: str) -> str:
    if protocol.startswith("finetune-"):
        return of_few_labels(protocol)
    if protocol not in PROTOCOLS:
        raise refusal(unknown(protocol, PROTOCOLS))
    return protocol


Protocol = Annotated[str, AfterValidator(_known)]


class Row(Strict):
    """A row of a table. Without a model it is quoted; `paper` holds the numbers that the paper prints.

    `cells`: the protocol behind each column that is run, where that is not every column by its own. `words`: what columns of
    words say of this row, where that is not what they say of most.
    """

    group: str = ""
    method: str
    model: str | None = None
    cells: dict[str, Protocol] | None = None
    paper: dict[str, int | float] = {}
    words: dict[str, str] = {}


class Column(Strict):
    """A column of a table: one metric of one evaluation."""

    heading: str
    protocol: Protocol
    metric: str


class Words(Strict):
    """A column of words, as the paper prints it; not run."""

    heading: str
    usual: str = ""  # of a row that says nothing else


class Table(Strict):
    title: str
    note: str | None = None
    own: bool = False  # not of the paper: shown at scales whose `tables` names it
    words: dict[Name, Words] = {}
    facts: list[Literal["epochs", "crops", "tokenizer"]] = ["epochs"]  # columns about the model itself
    columns: dict[str, Column]
    rows: list[Row]

    @field_validator("columns", mode="before")
    @classmethod
    def expand(cls, columns: Any) -> Any:
        """`ade20k: mIoU` is a protocol and its heading; `box_ap: {heading: AP, protocol: coco-mask}` a metric of one."""

        def whole(name, column):
            column = {"heading": column} if isinstance(column, str) else column
            return {"protocol": name, "metric": name if "protocol" in column else PRIMARY.get(name, "top1")} | column

        return {name: whole(name, column) for name, column in columns.items()}

    def cells_of(self, row: Row) -> dict[str, str]:
        """Column: protocol, of the cells of a row that are run."""
        every = {name: column.protocol for name, column in self.columns.items()}
        return {} if not row.model else every if row.cells is None else row.cells

    @property
    def metrics(self) -> dict[str, list[str]]:
        """Metrics that the cells show, by protocol; each once."""
        found: dict[str, dict] = {}
        for row in self.rows:
            for column, protocol in self.cells_of(row).items():
                found.setdefault(protocol, {})[self.columns[column].metric] = None
        return {protocol: list(metrics) for protocol, metrics in found.items()}


def entries(path: str | Path, kind: type[Strict]) -> Iterator[tuple[str, Strict]]:
    """(name, entry) of a file of named entries, each a `kind`; UserError names the file, the entry and the key."""
    for name, raw in read(path).items():
        try:
            yield named(name), kind.model_validate(raw)
        except ValidationError as error:
            raise UserError("\n".join(f"{path}: {name}: {describe(e)}" for e in error.errors())) from None


def load_tables(path: str | Path, models) -> dict[str, Table]:
    """The tables of params/tables.yaml; UserError for an unknown key, evaluation or model (`models`: the valid names)."""
    tables = {}
    for name, table in entries(path, Table):
        tables[name] = table
        taken = {"model", "group", "method", "tokenizer", "epochs", "crops", *table.columns}  # in the CSV
        if bad := table.words.keys() & taken:
            raise UserError(f"{path}: {name}: words: {min(bad)} is another column's name")
        for row in table.rows:
            if row.model and row.model not in models:
                raise UserError(f"{path}: {name}: model: {unknown(row.model, models)}")
            valid = ["epochs", "crops", *table.columns]
            if bad := row.paper.keys() - set(valid):
                raise UserError(f"{path}: {name}: {row.method}: paper: {unknown(min(bad), valid)}")
            if bad := (row.cells or {}).keys() - table.columns.keys():
                raise UserError(f"{path}: {name}: {row.method}: cells: {unknown(min(bad), table.columns)}")
            if bad := row.words.keys() - table.words.keys():
                raise UserError(f"{path}: {name}: {row.method}: words: {unknown(min(bad), table.words)}")
    return tables
