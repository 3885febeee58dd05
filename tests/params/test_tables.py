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
        (
            "attentive: supervised}",
            "attentive: supervise}",
            "table1: rows.1.cells.attentive: unknown key 'supervise'; did you mean",
        ),
        (
            "finetune-10: FT",
            "finetune-0: FT",
            "ablations: columns.finetune-0.protocol: 'finetune-0': a share of the labels is above",
        ),
        ("facts: [tokenizer,", "facts: [tokeniser,", "table7: facts.0: Input should be"),
        ("words: {align: √}", "words: {aling: √}", "table2: CAE: words: unknown key 'aling'; did you mean 'align'?"),
        ("words: {decoder: {", "words: {epochs: {", "table2: words: epochs is another column's name"),
        (
            "heading: Decoder",
            "headnig: Decoder",
            "table2: words.decoder: unknown key 'headnig'; did you mean 'heading'?",
        ),
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
    assert columns["table7"] == {
        "linear": ("linear", "top1"),
        "attentive": ("attentive", "top1"),
        "ade20k": ("ade20k", "miou"),
    }
    assert columns["labels"]["finetune-10"] == ("finetune-10", "top1")
    assert [name for name, table in tables.items() if not table.own] == [f"table{i}" for i in range(1, 8)]


def test_a_table_of_our_own_prints_no_number_of_the_paper(paper):
    own = [table for table in load_tables(PARAMS / "tables.yaml", paper.models).values() if table.own]
    assert own and not any(row.paper for table in own for row in table.rows)


def test_every_column_of_words_that_the_paper_prints_is_there(paper):
    tables = load_tables(PARAMS / "tables.yaml", paper.models)
    headings = {
        name: [words.heading for words in table.words.values()] for name, table in tables.items() if table.words
    }
    supervision = ["Supervised", "Self-supervised"]
    assert headings == {"table2": ["Decoder", "Align"], "table3": supervision, "table4": supervision,
                        "table5": ["Backbone", "Dataset"], "table6": supervision}  # fmt: skip


def test_words_say_how_a_model_is_trained(paper):
    tables = load_tables(PARAMS / "tables.yaml", paper.models)
    for name, table in tables.items():
        for row in table.rows:
            words = {key: row.words.get(key, each.usual) for key, each in table.words.items()}
            recipe = paper.pretraining(row.model) if row.model else None
            if "supervised" in words and recipe:
                learns = recipe.learns_labels, not recipe.learns_labels and recipe.epochs > 0
                assert (words["supervised"], words["self_supervised"]) == tuple("×√"[it] for it in learns), (name, row)
            if "decoder" in words:
                has = recipe.decoder_depth > 0, recipe.alignment_weight > 0
                assert (words["decoder"], words["align"]) == tuple("×√"[it] for it in has), row
            if "backbone" in words and recipe:
                assert words["backbone"] == "ViT-B" and recipe.width == paper.sizes["base"].width


def test_table_7_is_whole(paper):
    rows = load_tables(PARAMS / "tables.yaml", paper.models)["table7"].rows
    assert [row.paper["ade20k"] for row in rows] == [49.7, 50.2, 50.7, 51.1, 50.1, 50.1, 54.7, 54.7]
