"""Figures: arrays in, PNG and PDF out, the same bytes for the same arrays."""

import os
from importlib import import_module
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.text import Text
from PIL import Image

from cae.errors import UserError
from cae.reporting import figures


@pytest.mark.parametrize("name", [*figures.KINDS, "tokenizer-dvae"])
def test_png_and_pdf_have_the_same_bytes_twice(tmp_path, name):
    test = import_module(f"tests.reporting.figures.test_{name.partition('-')[0]}")
    files, outputs = test.inputs(tmp_path), []
    for folder in (tmp_path / "a", tmp_path / "b"):
        figures.main(*files, name=name, scale="demo", output=folder / f"{name}.png")
        assert sorted(path.name for path in folder.iterdir()) == [f"{name}.pdf", f"{name}.png"]
        outputs.append([(folder / f"{name}{suffix}").read_bytes() for suffix in (".png", ".pdf")])
    assert outputs[0] == outputs[1]
    assert b"CreationDate" not in outputs[0][1]
    with Image.open(tmp_path / f"a/{name}.png") as image:
        assert round(image.info["dpi"][0]) == 150 and "Software" not in image.info
    assert not plt.get_fignums()


def test_a_misspelt_figure_is_named_with_the_nearest():
    with pytest.raises(UserError, match=r"unknown key 'figur3'; did you mean 'figure3'\?"):
        figures.main(name="figur3", scale="demo", output="x.png")


HOSTILE = r"a$\frac{$b", "5$ and $6", "<script>$x$</script>"


@pytest.mark.parametrize("name", ["figure3", "figure5", "segmentation", "detection"])
def test_names_of_the_data_are_drawn_as_they_are(tmp_path, name):
    """Formulas of matplotlib's begin with a dollar; a class may be called anything."""
    (file, *_), shown = import_module(f"tests.reporting.figures.test_{name}").inputs(tmp_path), []
    arrays = dict(np.load(file))
    key = {"figure3": "labels", "figure5": "class_names"}.get(name, "names")
    arrays[key] = np.array([HOSTILE[i % len(HOSTILE)] for i in range(len(arrays[key]))])
    np.savez(file, **arrays)
    figure = import_module(f"cae.reporting.figures.{name}").draw(file)
    figure.savefig(tmp_path / "x.svg")  # every text is laid out
    for text in figure.findobj(Text):
        said, formula = text._preprocess_math(text.get_text())
        assert not formula
        shown.append(said)
    assert any(each in said for said in shown for each in HOSTILE)
    plt.close(figure)


def test_arrays_that_hold_a_pickle_are_refused(tmp_path, monkeypatch):
    class Call:
        def __reduce__(self):
            return os.system, ("touch made",)

    monkeypatch.chdir(tmp_path)
    np.savez("figure5.npz", class_names=np.array([Call()], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle=False"):
        figures.main("figure5.npz", name="figure5", scale="demo", output="figure5.png")
    assert not Path("made").exists()
