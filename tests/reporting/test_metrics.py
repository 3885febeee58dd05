"""What DVC is shown: the tables' numbers and the losses, a file a model."""

import json

import pytest

from cae.errors import UserError
from cae.reporting import metrics

NUMBERS = {"linear": ["top1"], "coco-mask": ["box_ap", "mask_ap"]}


def cell(folder, protocol, **numbers):
    path = folder / protocol / "cae-b.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"model": "cae-b", "protocol": protocol, "seconds": 3.5} | numbers))
    return path


def test_a_model_has_the_numbers_of_the_tables_and_no_other(tmp_path):
    log = tmp_path / "cae-b/metrics.jsonl"
    log.parent.mkdir()
    log.write_text(
        '{"step": 1, "images": 32, "loss": 5.5, "lr": 0.1}\n{"step": 2, "images": 64, "loss": 2.25, "lr": 0.1}\n'
    )
    cells = [cell(tmp_path, "linear", top1=15.8, top5=60.0), cell(tmp_path, "coco-mask", box_ap=2, mask_ap=1)]
    metrics.main(*cells, log, params=NUMBERS, output=tmp_path / "out")
    assert json.loads((tmp_path / "out/metrics/cae-b.json").read_text()) == {
        "linear": {"top1": 15.8},
        "coco-mask": {"box_ap": 2, "mask_ap": 1},
    }
    assert (tmp_path / "out/losses/cae-b.csv").read_text() == "images,loss\n32,5.5\n64,2.25\n"


def test_metrics_without_a_number_of_the_tables_are_named(tmp_path):
    with pytest.raises(UserError, match=r"coco-mask/cae-b.json: has no mask_ap; delete it"):
        metrics.main(cell(tmp_path, "coco-mask", box_ap=2), params=NUMBERS, output=tmp_path)
