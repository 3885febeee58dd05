"""Tables: params and metrics in, CSV, Markdown and LaTeX out."""

import csv
import json
import re

import numpy as np
import pandas as pd
import pytest
import yaml

from cae.errors import UserError
from cae.params import Row, Table
from cae.reporting import tables

TABLES = {
    "table1": {
        "title": "Quality of A & B, 100% measured",
        "note": "A note_with underscores.",
        "columns": {"linear": "LIN", "attentive": "ATT"},
        "rows": [
            {"group": "Using ViT-S", "method": "Random init.", "model": "random-s", "paper": {"epochs": 0}},
            {"group": "Using ViT-S", "method": "CAE", "model": "cae-s",
             "paper": {"epochs": 300, "linear": 51.8, "attentive": 65.0}},
            {"group": "Using ViT-B", "method": "CAE | λ_2", "model": "cae-b", "paper": {"epochs": 800, "linear": 68.6}},
            {"group": "Another first", "method": "Elsewhere", "paper": {"linear": 1.0}},
        ],
    },
    "table7": {
        "title": "Tokenizers",
        "facts": ["tokenizer", "epochs", "crops"],
        "columns": {"linear": "LIN", "attentive": "ATT"},
        "rows": [
            {"method": "DALL-E", "model": "cae-s", "paper": {"epochs": 300, "crops": 1}},
            {"method": "DeiT", "model": "deit-s", "cells": {"attentive": "supervised"},
             "paper": {"epochs": 300, "attentive": 79.9}},
            {"method": "Left out", "model": "cae-l", "cells": {"attentive": "attentive"}},
        ],
    },
}  # fmt: skip
TABLES["table4"] = {
    "title": "Detection",
    "facts": [],
    "columns": {"ade20k": "mIoU", "box_ap": {"heading": "APᵇ", "protocol": "coco-mask"},
                "mask_ap50": {"heading": "APᵐ50", "protocol": "coco-mask"}},
    "rows": [{"method": "CAE", "model": "cae-s", "paper": {"box_ap": 44.1}}, {"method": "Quoted†", "paper": {"ade20k": 45.7}}],
}  # fmt: skip
TABLES["labels"] = {
    "title": "Few labels", "own": True, "columns": {"finetune": "FT 100 %", "finetune-10": "FT 10 %"},
    "rows": [{"method": "Random init.", "model": "random-s"}, {"method": "CAE", "model": "cae-s"}],
}  # fmt: skip
FACTS = {
    "labels": {"random-s": {"epochs": 0}, "cae-s": {"epochs": 3}},
    "table1": {"random-s": {"epochs": 0}, "cae-s": {"epochs": 3}, "cae-b": {"epochs": 8}},
    "table7": {"cae-s": {"tokenizer": "dvae-64 (d-VAE, 64 codes)", "epochs": 3, "crops": 1},
               "deit-s": {"tokenizer": None, "epochs": 4, "crops": None}},
}  # fmt: skip


@pytest.fixture
def make(tmp_path):
    """Runs the table on {(model, protocol): top1}; returns the folder of its files."""
    (tmp_path / "tables.yaml").write_text(yaml.safe_dump(TABLES, sort_keys=False))

    def make(cells, name="table1", scale="demo"):
        files = []
        for (model, protocol), top1 in cells.items():
            files.append(tmp_path / f"{protocol}-{model}.json")
            metrics = top1 if isinstance(top1, dict) else {"top1": top1}
            files[-1].write_text(json.dumps({"model": model, "protocol": protocol, **metrics}))
        facts = FACTS.get(name, {})
        about = {"tables": tmp_path / "tables.yaml", "name": name, "scale": scale, "facts": facts}
        tables.main(*files, **about, output=tmp_path / f"out/{name}.csv")
        return tmp_path / "out"

    return make


CELLS = {("random-s", "linear"): 11.04, ("cae-s", "linear"): 22.0625, ("cae-s", "attentive"): 30.0}


def rows_of(markdown):
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_csv_has_ours_and_the_papers_numbers_in_their_cells(make):
    rows = {row["model"]: row for row in csv.DictReader((make(CELLS) / "table1.csv").open())}
    assert list(rows["cae-s"]) == ["model", "group", "method", "epochs", "epochs_paper", "linear", "linear_paper",
                                   "attentive", "attentive_paper"]  # fmt: skip
    cae = rows["cae-s"]
    assert [cae[k] for k in ("epochs", "epochs_paper", "linear", "linear_paper", "attentive", "attentive_paper")] == [
        "3", "300", "22.0625", "51.8", "30.0", "65.0"]  # fmt: skip
    assert rows["random-s"]["linear"] == "11.04" and rows["random-s"]["linear_paper"] == ""
    assert rows["cae-b"]["linear"] == "" and rows["cae-b"]["linear_paper"] == "68.6"


def test_markdown_keeps_groups_in_order_and_says_why_a_cell_is_empty(make):
    text = (make(CELLS) / "table1.md").read_text()
    rows = rows_of(text)
    assert rows[0] == ["Method", "Epochs", "Epochs, paper", "LIN", "LIN, paper", "ATT", "ATT, paper"]
    assert [row[0] for row in rows[2:]] == ["**Using ViT-S**", "Random init.", "CAE", "**Using ViT-B**", r"CAE \| λ_2",
                                            "**Another first**", "Elsewhere"]  # fmt: skip
    assert rows[4] == ["CAE", "3", "300", "22.1", "51.8", "30.0", "65.0"]
    assert rows[6] == [r"CAE \| λ_2", "8", "800", "–", "68.6", "–", ""]
    assert "–: not run at this scale." in text and "A note_with underscores." in text


def test_a_cell_may_hold_another_protocol_and_facts_stand_beside_the_papers(make):
    cells = {("cae-s", "linear"): 22.0, ("deit-s", "supervised"): 35.04}
    folder = make(cells, "table7")
    rows = {row["model"]: row for row in csv.DictReader((folder / "table7.csv").open())}
    assert list(rows["cae-s"]) == ["model", "group", "method", "tokenizer", "epochs", "epochs_paper", "crops",
                                   "crops_paper", "linear", "linear_paper", "attentive", "attentive_paper"]  # fmt: skip
    assert list(rows["cae-s"].values())[3:8] == ["dvae-64 (d-VAE, 64 codes)", "3", "300", "1", "1"]
    assert list(rows["deit-s"].values())[3:] == ["", "4", "300", "", "", "", "", "35.04", "79.9"]
    assert list(rows["cae-l"].values())[3:] == [""] * 9


def test_what_was_not_run_is_told_from_what_does_not_apply(make):
    folder = make({("cae-s", "linear"): 22.0, ("deit-s", "supervised"): 35.04}, "table7")
    text = (folder / "table7.md").read_text()
    head, _, cae, deit, absent = rows_of(text)
    assert head[:4] == ["Method", "Tokenizer", "Epochs", "Epochs, paper"]
    assert cae == [
        "DALL-E (here d-VAE, 64 codes)",
        "dvae-64 (d-VAE, 64 codes)",
        "3",
        "300",
        "1",
        "1",
        "22.0",
        "",
        "–",
        "",
    ]
    assert deit == ["DeiT", "n/a", "4", "300", "n/a", "", "n/a", "", "35.0", "79.9"]
    assert absent == ["Left out", "–", "–", "", "–", "", "n/a", "", "–", ""]
    assert "\n–: not run at this scale; n/a: does not apply.\n" in text
    assert r"\begin{tabular}{llrrrrrrrr}" in (folder / "table7.tex").read_text()


def test_only_another_scale_than_the_papers_warns(make):
    demo, paper = ((make(CELLS, scale=scale) / "table1.md").read_text() for scale in ("demo", "paper"))
    assert "scale demo compare with nothing but themselves" in demo
    assert "compare with" not in paper and "scale paper" in paper


def test_a_complete_table_has_no_footnote_on_empty_cells(tmp_path, make):
    cells = {(model, protocol): 1.0 for model in ("random-s", "cae-s", "cae-b") for protocol in ("linear", "attentive")}
    table = {**TABLES["table1"], "rows": TABLES["table1"]["rows"][:3]}
    (tmp_path / "tables.yaml").write_text(yaml.safe_dump({"table1": table}, sort_keys=False))
    assert "not run" not in (make(cells) / "table1.md").read_text()


def test_latex_is_balanced_and_escaped(make):
    text = (make(CELLS) / "table1.tex").read_text()
    assert re.findall(r"\\begin\{(\w+)\}", text) == ["table", "tabular"]
    assert re.findall(r"\\end\{(\w+)\}", text) == ["tabular", "table"]
    bare = re.sub(r"\\[\\{}&%#_$]", "", text)
    assert bare.count("{") == bare.count("}") and bare.count("$") == 2
    assert r"Quality of A \& B, 100\% measured" in text and r"note\_with" in text and r"$\lambda$\_2" in text
    assert r"\cmidrule(lr){2-3}\cmidrule(lr){4-5}\cmidrule(lr){6-7}" + "\n & ours & paper &" in text
    head, *groups = re.search(r"\\toprule\n(.*)\\bottomrule", text, re.S)[1].split("\\midrule\n")
    assert [group.splitlines()[0].split(" & ")[0] for group in groups] == [
        rf"\rlap{{\textit{{{name}}}}}" for name in ("Using ViT-S", "Using ViT-B", "Another first")
    ]
    body = "".join(groups).splitlines()
    assert {len(re.findall(r"(?<!\\)&", line)) for line in body} == {6}
    assert all(line.endswith(r"\\") for line in body)
    assert r"CAE & 3 & 300 & \textbf{22.1} & 51.8 & 30.0 & 65.0 \\" in body


WORDS = {
    "title": "Words",
    "facts": [],
    "words": {"supervised": {"heading": "Supervised", "usual": "×"}, "dataset": {"heading": "Dataset"}},
    "columns": {"linear": "LIN"},
    "rows": [{"method": "CAE", "model": "cae-s", "words": {"dataset": "ImageNet-1K"}},
             {"method": "DeiT", "model": "deit-s", "words": {"supervised": "√", "dataset": "ImageNet-1K"}},
             {"method": "Quoted†", "paper": {"linear": 1.0}}],
}  # fmt: skip
TABLES["words"] = WORDS
BEST = {
    "title": "Best of groups",
    "facts": [],
    "columns": {"linear": "LIN", "attentive": "ATT"},
    "rows": [
        {"group": "S", "method": "Random", "model": "a"},
        {"group": "S", "method": "CAE", "model": "b", "paper": {"linear": 2.0, "attentive": 65.0}},
        {"group": "S", "method": "DeiT", "model": "c", "cells": {"attentive": "supervised"},
         "paper": {"attentive": 79.9}},
        {"group": "B", "method": "CAE", "model": "d", "paper": {"linear": 1.0, "attentive": 7.0}},
        {"group": "B", "method": "Quoted†", "paper": {"linear": 1.0, "attentive": 8.0}},
        {"group": "B", "method": "MAE", "model": "e", "paper": {"linear": 0.5}},
    ],
}  # fmt: skip
TABLES["best"] = BEST
BEST_CELLS = {("a", "linear"): 12.04, ("b", "linear"): 11.9, ("a", "attentive"): 1.0, ("b", "attentive"): 3.0,
              ("c", "supervised"): 99.0, ("d", "linear"): 5.04, ("e", "linear"): 4.96, ("d", "attentive"): 5.0}  # fmt: skip


def test_the_best_of_each_column_and_group_is_bold_ours_and_the_papers_apart(make):
    folder = make(BEST_CELLS, "best")
    frame, table = pd.read_csv(folder / "best.csv"), Table.model_validate(BEST)
    best = tables.best_cells(frame, table)
    body = tables.cells_as_text(frame, table)
    assert best.shape == body.shape and list(best) == list(body) and best.to_numpy().dtype == bool
    assert [(body["Method", ""][i], *body.columns[j], body.iat[i, j]) for i, j in zip(*best.to_numpy().nonzero())] == [
        ("Random", "LIN", "ours", "12.0"),
        # alone with its number of the paper in LIN; DeiT's own accuracy stands for reference, as 79.9 does
        ("CAE", "ATT", "ours", "3.0"),
        ("CAE", "LIN", "paper", "1.0"),  # as printed: one of two
        ("Quoted†", "LIN", "paper", "1.0"),
        ("Quoted†", "ATT", "paper", "8.0"),
    ]  # 5.04 and 4.96 are printed alike, and none is above them
    text = (folder / "best.tex").read_text()
    assert text.count(r"\textbf{") == 5 and r"Quoted$\dagger$ &  & \textbf{1.0} &  & \textbf{8.0} \\" in text
    assert "**" not in (folder / "best.md").read_text().replace("**S**", "").replace("**B**", "")


def test_words_stand_behind_the_method_in_every_file(make):
    folder = make({("cae-s", "linear"): 22.0}, "words")
    rows = list(csv.DictReader((folder / "words.csv").open()))
    assert list(rows[0])[:6] == ["model", "group", "method", "supervised", "dataset", "linear"]
    assert [(row["supervised"], row["dataset"]) for row in rows] == [
        ("×", "ImageNet-1K"),
        ("√", "ImageNet-1K"),
        ("×", ""),
    ]
    head, _, *lines = rows_of((folder / "words.md").read_text())
    assert head[:4] == ["Method", "Supervised", "Dataset", "LIN"]
    assert [line[1:3] for line in lines] == [["×", "ImageNet-1K"], ["√", "ImageNet-1K"], ["×", ""]]
    text = (folder / "words.tex").read_text()
    assert r"\begin{tabular}{lllrr}" in text and r"DeiT & $\surd$ & ImageNet-1K & " in text
    table = Table.model_validate(WORDS)  # as the page reads them: empty words are no missing numbers
    assert list(tables.cells_as_text(pd.read_csv(folder / "words.csv"), table)["Dataset", ""])[2] == ""


@pytest.mark.parametrize(
    ("method", "tokenizer", "name"),
    [
        ("DALL-E", "dalle (DALL-E, 8192 codes)", "DALL-E"),
        ("DALL-E", None, "DALL-E"),  # released
        ("DALL-E", "dvae (d-VAE, 128 codes)", "DALL-E (here d-VAE, 128 codes)"),
        ("VQGAN (OpenImages)", "x-y (d-VAE, 64 codes)", "VQGAN (OpenImages; here d-VAE, 64 codes)"),
        ("d-VAE (ImageNet-1K)", "dvae-64 (d-VAE, 64 codes)", "d-VAE (ImageNet-1K)"),
    ],
)
def test_a_row_says_which_tokenizer_stands_for_the_one_that_it_names(method, tokenizer, name):
    assert tables.name_of(Row(method=method), tokenizer) == name


def test_a_misspelt_table_is_named_with_the_nearest(make):
    with pytest.raises(UserError, match=r"tables.yaml: unknown key 'tabel1'; did you mean 'table1'\?"):
        make({}, name="tabel1")


def test_metrics_of_a_model_that_no_row_names_are_refused(make):
    with pytest.raises(UserError, match=r"linear-cae-ss.json: model: unknown key 'cae-ss'; did you mean 'cae-s'\?"):
        make({("cae-ss", "linear"): 1.0})
    with pytest.raises(UserError, match=r"protocol: unknown key 'liner'; did you mean 'linear'\?"):
        make({("cae-s", "liner"): 1.0})
    with pytest.raises(UserError, match="protocol: unknown key 'supervised'"):
        make({("cae-s", "supervised"): 1.0})


AP = {"box_ap": 12.5, "mask_ap50": 30.25, "note": "Heads of 4conv1fc.",
      "params_hash": "abc", "seconds": 9.5, "images_per_second": 3.0, "precision": "bfloat16",
      "revision": "f00+"}  # fmt: skip


def test_one_evaluation_fills_several_columns(make):
    out = make({("cae-s", "coco-mask"): AP, ("cae-s", "ade20k"): {"miou": 41.0}}, "table4")
    ours, quoted = csv.DictReader((out / "table4.csv").open())
    assert [ours[k] for k in ("ade20k", "box_ap", "box_ap_paper", "mask_ap50")] == ["41.0", "12.5", "44.1", "30.25"]
    assert quoted["ade20k"] == "" and quoted["ade20k_paper"] == "45.7"
    assert rows_of((out / "table4.md").read_text())[-1] == ["Quoted†", "", "45.7", "", "", "", ""]
    assert "AP$^b$" in (out / "table4.tex").read_text()


def test_every_cell_says_where_it_comes_from(make):
    out = make({("cae-s", "coco-mask"): AP, ("cae-s", "ade20k"): {"miou": 41.0}}, "table4")
    cells = {cell["column"]: cell for cell in csv.DictReader((out / "table4-cells.csv").open())}
    assert list(cells) == ["ade20k", "box_ap", "mask_ap50"]
    cell = cells["mask_ap50"]
    assert {key: cell[key] for key in ("model", "value", "params_hash", "seconds", "precision", "revision")} == {
        "model": "cae-s", "value": "30.25", "params_hash": "abc", "seconds": "9.5", "precision": "bfloat16",
        "revision": "f00+"}  # fmt: skip
    assert cell["metrics"] == "results/demo/evaluate/coco-mask/cae-s.json"
    assert cell["log"] == "work/demo/logs/coco-mask/cae-s.log"


def test_what_evaluations_say_of_themselves_stands_below_once(make):
    cells = {("cae-s", "coco-mask"): AP, ("cae-s", "ade20k"): {"miou": 41.0}}
    assert (make(cells, "table4") / "table4.md").read_text().count("Heads of 4conv1fc.") == 1


def test_probes_share_a_log(make):
    cells = list(csv.DictReader((make(CELLS) / "table1-cells.csv").open()))
    assert len(cells) == 3 and {cell["log"] for cell in cells if cell["model"] == "cae-s"} == {
        "work/demo/logs/probe/cae-s.log"
    }


def test_metrics_without_the_columns_number_are_refused(make):
    with pytest.raises(UserError, match="coco-mask-cae-s.json: has no mask_ap50"):
        make({("cae-s", "coco-mask"): {"box_ap": 1.0}}, "table4")


SEEDS = {("cae-s", "linear"): 22.0625, ("cae-s@1", "linear"): 23.5, ("cae-s@7", "linear"): 20.0,
         ("cae-s", "attentive"): 30.0, ("cae-s@1", "attentive"): 30.0, ("cae-s@7", "attentive"): 30.0,
         ("random-s", "linear"): 11.04, ("random-s@1", "linear"): 12.04}  # fmt: skip


def test_seeds_become_a_mean_with_its_spread(make):
    folder = make(SEEDS)
    rows = {row["model"]: row for row in csv.DictReader((folder / "table1.csv").open())}
    assert list(rows) == ["random-s", "cae-s", "cae-b", ""]
    assert list(rows["cae-s"])[5:] == ["linear", "linear_paper", "linear_sd", "linear_n", "attentive", "attentive_paper",
                                       "attentive_sd", "attentive_n"]  # fmt: skip
    numbers = np.array([22.0625, 23.5, 20.0])
    assert float(rows["cae-s"]["linear"]) == pytest.approx(numbers.mean(), abs=1e-12)
    assert float(rows["cae-s"]["linear_sd"]) == pytest.approx(numbers.std(ddof=1), abs=1e-12)
    assert [rows["cae-s"][key] for key in ("linear_n", "linear_paper", "attentive_sd", "attentive_n")] == [
        "3",
        "51.8",
        "0.0",
        "3",
    ]
    assert float(rows["random-s"]["linear_sd"]) == pytest.approx(0.5**0.5) and rows["random-s"]["linear_n"] == "2"
    assert [rows["random-s"][f"attentive{what}"] for what in ("", "_sd", "_n")] == ["", "", ""]
    text = (folder / "table1.md").read_text()
    assert rows_of(text)[4] == ["CAE", "3", "300", "21.9 ± 1.8 (3)", "51.8", "30.0 ± 0.0 (3)", "65.0"]
    assert "11.5 ± 0.7 (2)" in text
    assert "\na ± b (n): mean and sample standard deviation of n seeds.\n" in text
    assert r"\textbf{21.9 $\pm$ 1.8 (3)} & 51.8" in (folder / "table1.tex").read_text()
    table = Table.model_validate(TABLES["table1"])  # as the page reads it
    assert list(tables.cells_as_text(pd.read_csv(folder / "table1.csv"), table)["LIN", "ours"])[1] == "21.9 ± 1.8 (3)"


def test_a_caption_names_the_number_of_seeds_where_it_is_the_same_for_all(make):
    text = (make({("cae-s", "linear"): 20.0, ("cae-s@1", "linear"): 22.0}) / "table1.md").read_text()
    assert "21.0 ± 1.4 |" in text and "\na ± b: mean and sample standard deviation of 2 seeds.\n" in text
    text = (
        make({("cae-s", "linear"): 20.0, ("cae-s@1", "linear"): 22.0, ("random-s", "linear"): 1.0}) / "table1.md"
    ).read_text()
    assert "\na ± b: mean and sample standard deviation of 2 seeds; a number without ±: of one seed.\n" in text


def test_each_seed_says_where_its_number_comes_from(make):
    cells = list(csv.DictReader((make(SEEDS) / "table1-cells.csv").open()))
    said = [(cell["model"], cell["value"]) for cell in cells if cell["column"] == "linear"]
    assert said == [("random-s", "11.04"), ("random-s@1", "12.04"), ("cae-s", "22.0625"), ("cae-s@1", "23.5"),
                    ("cae-s@7", "20.0")]  # fmt: skip
    assert "results/demo/evaluate/linear/cae-s@7.json" in {cell["metrics"] for cell in cells}
    with pytest.raises(UserError, match="model: unknown key 'cae-x'"):
        make({("cae-x@1", "linear"): 1.0})


def test_a_table_of_one_seed_has_no_columns_of_several(make):
    text = (make(CELLS) / "table1.csv").read_text()
    assert "_sd" not in text and "_n," not in text
    rows = {
        row["model"]: row for row in csv.DictReader((make(CELLS | {("cae-s@1", "linear"): 2.0}) / "table1.csv").open())
    }
    assert (rows["random-s"]["linear_n"], rows["random-s"]["linear_sd"], rows["cae-s"]["linear_n"]) == ("1", "", "2")


def test_a_table_of_our_own_shows_no_columns_of_the_paper(make):
    out = make({("random-s", "finetune"): 11.0, ("cae-s", "finetune"): 22.0, ("cae-s", "finetune-10"): 15.0}, "labels")
    text = (out / "labels.md").read_text()
    assert text.startswith("# Labels, scale demo\n\nFew labels\n") and "paper" not in text
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| ")
    ]
    assert rows == [
        ["Method", "Epochs", "FT 100 %", "FT 10 %"],
        ["Random init.", "0", "11.0", "–"],
        ["CAE", "3", "22.0", "15.0"],
    ]
    latex = (out / "labels.tex").read_text()
    assert "paper" not in latex and r"\cmidrule" not in latex and r"\textbf{22.0}" in latex
    assert {"finetune_paper", "finetune-10_paper"} < set(pd.read_csv(out / "labels.csv"))  # the form of all tables
