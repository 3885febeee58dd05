import numpy as np

from cae.reporting.figures import figure5
from tests.reporting.figures.conftest import save, texts


def inputs(folder, **changes):
    rng = np.random.default_rng(1)
    data = {"points_0": rng.normal(size=(50, 2)), "points_1": rng.normal(size=(50, 2)),
            "purity": [0.71, 0.25], "purity_elsewhere": [0.61, 0.15],
            "labels": rng.integers(0, 3, 50), "class_names": ["sky", "tree", "road", "absent"],
            "models": ["cae-b", "random-b"], "images": 5}  # fmt: skip
    return save(folder / "figure5.npz", data | changes)


def test_figure5_names_models_purity_and_the_classes_that_occur(tmp_path):
    words = texts(figure5.draw(*inputs(tmp_path)))
    assert "cae-b (pretrained)\npurity 0.71, elsewhere 0.61" in words
    assert "random-b (random weights)\npurity 0.25, elsewhere 0.15" in words
    assert {"sky", "tree", "road"} <= set(words) and "absent" not in words


def test_figure5_has_no_legend_of_many_classes(tmp_path):
    figure = figure5.draw(*inputs(tmp_path, class_names=[f"class {i}" for i in range(150)]))
    assert not figure.legends
