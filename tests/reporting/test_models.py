"""The table of models: what made each, how long it took, what the loss did."""

import csv
import json

import pytest

from cae.errors import UserError
from cae.reporting import models


@pytest.fixture
def inputs(tmp_path):
    """provenance.json of four models, metrics.jsonl of those that were trained."""
    lines = [{"step": i, "images": 1000 * i, "loss": 6 / i, "seconds": 20.0 * i} for i in (1, 2, 3)]
    files = []
    for name, method, source, epochs, rows in (
        ("random-b", "cae", "built", 0, []),
        ("mae-b", "mae", "released", 1600, None),
        ("moco-v3-b", "moco_v3", "built", 8, lines),
    ):
        folder = tmp_path / name
        folder.mkdir()
        about = {"params": {"method": method, "source": source, "epochs": epochs, "lr": 1.0}}
        (folder / "provenance.json").write_text(json.dumps(about))
        files.append(folder / "provenance.json")
        if rows is not None:
            (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
            files.insert(0, folder / "metrics.jsonl")
    return [str(file) for file in files]


def test_each_model_has_a_line_and_only_what_was_trained_has_losses(tmp_path, inputs):
    models.main(*inputs, scale="demo", output=tmp_path / "models.csv")
    rows = list(csv.DictReader((tmp_path / "models.csv").open()))
    assert [list(row.values()) for row in rows] == [
        ["random-b", "cae", "built", "0", "", "", "", "", ""],
        ["mae-b", "mae", "released", "1600", "", "", "", "", ""],
        ["moco-v3-b", "moco_v3", "built", "8", "3000", "60.0", "50.0", "6.0", "2.0"],
    ]
    text = (tmp_path / "models.md").read_text()
    words = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    assert words[0][:4] == ["Model", "Method", "Source", "Epochs"] and "scale demo" in text
    assert words[-1] == ["moco-v3-b", "MoCo v3", "built", "8", "3,000", "60", "50", "6.000", "2.000"]


def test_a_provenance_that_is_missing_is_named(tmp_path, inputs):
    with pytest.raises(UserError, match="none/provenance.json: no such file"):
        models.main(*inputs, tmp_path / "none/provenance.json", scale="demo", output=tmp_path / "models.csv")
