"""A report that is kept in the repository: its page, and copies of what it was made of."""

import gzip
import json
from importlib import import_module

import numpy as np
import pytest

from cae.errors import UserError
from cae.reporting import figures, publication


@pytest.fixture
def inputs(tmp_path, monkeypatch):
    """Two tables and a figure, and of one model what they were made of; the working folder holds them."""
    monkeypatch.chdir(tmp_path)
    cell = {"protocol": "linear", "top1": 31.4, "precision": "float32", "revision": "0123abc", "seconds": 1080}
    other = cell | {"protocol": "attentive", "machine": "A processor"}
    texts = {
        "reports/mine/tables/claims.md": "# Claims, scale mine\n\n| Claim |\n|:--|\n| CAE is above BEiT |\n",
        "reports/mine/tables/table1.md": "# Table 1, scale mine\n\n| Method | LIN |\n|:--|--:|\n| CAE | 31.4 |\n",
        "reports/mine/figures/figure3.png": "a picture",
        "results/mine/evaluate/linear/cae-b-300.json": json.dumps(cell),
        "results/mine/evaluate/attentive/cae-b-300.json": json.dumps(other),
        "results/mine/pretrain/cae-b-300/provenance.json": json.dumps({"params": {"seed": 7}}),
        "results/mine/pretrain/cae-b-300/metrics.jsonl": '{"seconds": 60.0}\n{"seconds": 5400.0}\n',
        "data/mine/imagenet.json": json.dumps({"splits": {"train": {"images": [0] * 9469}, "val": {"images": [0] * 3925}}}),
    }  # fmt: skip
    for path, text in texts.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    return list(texts)


def test_the_page_shows_tables_and_figures_and_says_what_made_them(tmp_path, inputs):
    publication.main(*inputs, scale="mine", output="reports/mine/README.md")
    page = (tmp_path / "reports/mine/README.md").read_text()
    assert [line for line in page.splitlines() if line.startswith("#")] == [
        "# Context Autoencoder, scale mine", "## Claims", "## Table 1", "## Figure 3",
    ]  # fmt: skip
    assert "![figure3](figures/figure3.png)" in page and "| CAE | 31.4 |" in page
    assert "imagenet: 9,469 images to train on, 3,925 to validate" in page
    assert "1 models and 1.5 hours in all, with seeds 7. Evaluation: 2 cells and 0.3 hours." in page
    assert "Machines: A processor. Arithmetic: float32. Revisions: 0123abc" in page


def test_what_it_was_made_of_lies_beside_it_under_the_same_paths(tmp_path, inputs):
    old = tmp_path / "reports/mine/published/results/mine/evaluate/linear/left-out.json"
    old.parent.mkdir(parents=True)
    old.write_text("{}")
    publication.main(*inputs, scale="mine", output="reports/mine/README.md")
    kept = tmp_path / "reports/mine/published"
    copies = {str(path.relative_to(kept)): path.read_bytes() for path in kept.rglob("*") if path.is_file()}
    long = gzip.decompress(copies.pop("data/mine/imagenet.json.gz"))
    copies = {path: content.decode() for path, content in copies.items()} | {"data/mine/imagenet.json": long.decode()}
    assert copies == {path: (tmp_path / path).read_text() for path in inputs if path.startswith(("results/", "data/"))}


@pytest.mark.parametrize("name", ["segmentation", "detection"])
def test_pictures_that_models_share_are_kept_once_and_drawn_as_before(tmp_path, name):
    originals = import_module(f"tests.reporting.figures.test_{name}").inputs(tmp_path)
    kept, copies = [], publication.copies_of(originals)
    for path in originals:
        kept.append(tmp_path / "kept" / path.relative_to(tmp_path))
        kept[-1].parent.mkdir(parents=True)
        kept[-1].write_bytes(copies[path])
    first, second = map(np.load, originals)
    assert dict(np.load(kept[0])).keys() == dict(first).keys() and "names" in first
    shared = {"names", "image_0", "image_1"}
    assert shared <= {*second} and not shared & {*np.load(kept[1])}
    again = publication.copies_of(kept)
    assert all(again[path] == path.read_bytes() for path in kept), (
        "a report that was drawn again is published as it was"
    )
    drawn = []
    for files in (originals, kept):
        figures.main(*files, name=name, scale="mine", output=tmp_path / "figure.png")
        drawn.append((tmp_path / "figure.png").read_bytes())
    assert drawn[0] == drawn[1]


def test_arrays_are_kept_as_they_are(tmp_path):
    arrays = {"images": np.arange(60, dtype=np.uint8).reshape(3, 4, 5).transpose(2, 0, 1), "nan": np.array(np.nan),
              "names": np.array(["a", "bc"]), "none": np.zeros((0, 2), bool)}  # fmt: skip
    np.savez(tmp_path / "figure4.npz", **arrays)
    (content,) = publication.copies_of([tmp_path / "figure4.npz"]).values()
    (tmp_path / "kept.npz").write_bytes(content)
    kept = dict(np.load(tmp_path / "kept.npz"))
    assert kept.keys() == arrays.keys()
    for name, array in arrays.items():
        assert kept[name].dtype == array.dtype and np.array_equal(kept[name], array, equal_nan=array.dtype.kind == "f")


def test_more_than_a_clone_should_carry_is_refused_and_named(tmp_path, inputs):
    (tmp_path / inputs[2]).write_bytes(bytes(publication.LARGEST))
    with pytest.raises(
        UserError, match=r"reports/mine: 5.0 MB are too much to publish; the largest file is .*figure3.png"
    ):
        publication.main(*inputs, scale="mine", output="reports/mine/README.md")
    assert not (tmp_path / "reports/mine/published").exists()
