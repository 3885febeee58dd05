"""The tables: rows, columns, cells, and mistakes in them."""

import pytest

from cae.errors import UserError
from cae.params import load_tables
from tests.params.conftest import PARAMS


def test_rows_say_the_epochs_of_their_models(paper):
    rows = [row for table in load_tables(PARAMS / "tables.yaml", paper.models).values() for row in table.rows]
    said = [row for row in rows if row.model and "epochs" in row.paper]  # the others are quoted
    assert len(said) > 20
    for row in said:
        assert row.paper["epochs"] == paper.pretraining(row.model).epochs, row


def test_quoted_rows_have_numbers_and_no_job(paper):
    table = load_tables(PARAMS / "tables.yaml", paper.models)["table1"]
    quoted = {row.method: row.paper for row in table.rows if not row.model}
    assert quoted == {"MoCo v3†": {"epochs": 300, "crops": 2, "finetune": 84.1},
                      "BEiT†": {"epochs": 1600, "crops": 1, "finetune": 85.2}}  # fmt: skip
    assert not any(table.cells_of(row) for row in table.rows if not row.model)


def test_cells_are_every_column_unless_a_row_says_which(paper):
    table = load_tables(PARAMS / "tables.yaml", paper.models)["table1"]
    cells = {row.model: table.cells_of(row) for row in table.rows}
    assert cells["mae-b-300"] == {column: column for column in ("finetune", "linear", "attentive")}
    assert cells["deit-b-300"] == {"attentive": "supervised"}


@pytest.mark.parametrize(
    "old,new,message",
    [
        (
            "model: cae-b-800,",
            "model: cae-b-8000,",
            "table1: model: unknown key 'cae-b-8000'; did you mean 'cae-b-800'?",
        ),
        ("linear: LIN,", "linaer: LIN,", "table1: columns"),
        ("linear: 51.8", "linaer: 51.8", "table1: CAE: paper: unknown key 'linaer'; did you mean 'linear'?"),
        ("title: The decoder", "titel: The decoder", "table2: unknown key 'titel'; did you mean 'title'?"),
        ("cells: {attentive:", "cells: {supervised:", "table1: DeiT: cells: unknown key 'supervised'"),
        ("attentive: supervised}", "attentive: supervise}", "table1: rows.1.cells.attentive: Input should be"),
        ("facts: [tokenizer,", "facts: [tokeniser,", "table7: facts.0: Input should be"),
        ("table3:", "table 3:", "table 3: not a name: 'table 3'"),
        ("crops: 2,", "corps: 2,", "table1: MoCo v3: paper: unknown key 'corps'; did you mean 'crops'?"),
    ],
)
def test_mistakes_in_tables_are_named(tmp_path, paper, old, new, message):
    text = (PARAMS / "tables.yaml").read_text()
    assert old in text
    load_tables(PARAMS / "tables.yaml", paper.models)
    (tmp_path / "tables.yaml").write_text(text.replace(old, new, 1))
    with pytest.raises(UserError) as error:
        load_tables(tmp_path / "tables.yaml", paper.models)
    assert "tables.yaml: " in str(error.value) and message in str(error.value)


def test_columns_name_a_protocol_and_one_of_its_metrics(paper):
    tables = load_tables(PARAMS / "tables.yaml", paper.models)
    columns = {
        name: {key: (c.protocol, c.metric) for key, c in table.columns.items()} for name, table in tables.items()
    }
    assert columns["table1"]["finetune"] == ("finetune", "top1")
    assert columns["table2"] == {"attentive": ("attentive", "top1"), "ade20k": ("ade20k", "miou"),
                                 "coco-mask": ("coco-mask", "box_ap")}  # fmt: skip
    assert columns["table4"]["mask_ap75"] == ("coco-mask", "mask_ap75") and len(columns["table4"]) == 6
    assert columns["table5"]["box_ap"] == ("coco-cascade", "box_ap")
    assert list(columns) == [f"table{i}" for i in range(1, 8)]
