"""Figures: arrays in, PNG and PDF out, the same bytes for the same arrays."""

from importlib import import_module

import matplotlib.pyplot as plt
import pytest
from PIL import Image

from cae.errors import UserError
from cae.reporting import figures


@pytest.mark.parametrize("name", [*figures.KINDS, "tokenizer-dvae"])
def test_png_and_pdf_have_the_same_bytes_twice(tmp_path, name):
    test = import_module(f"tests.reporting.figures.test_{name.partition('-')[0]}")
    files, outputs = test.inputs(tmp_path), []
    for folder in (tmp_path / "a", tmp_path / "b"):
        figures.main(name, "demo", files, folder / f"{name}.png")
        assert sorted(path.name for path in folder.iterdir()) == [f"{name}.pdf", f"{name}.png"]
        outputs.append([(folder / f"{name}{suffix}").read_bytes() for suffix in (".png", ".pdf")])
    assert outputs[0] == outputs[1]
    assert b"CreationDate" not in outputs[0][1]
    with Image.open(tmp_path / f"a/{name}.png") as image:
        assert round(image.info["dpi"][0]) == 150 and "Software" not in image.info
    assert not plt.get_fignums()


def test_a_misspelt_figure_is_named_with_the_nearest():
    with pytest.raises(UserError, match=r"unknown key 'figur3'; did you mean 'figure3'\?"):
        figures.main("figur3", "demo", [], "x.png")
