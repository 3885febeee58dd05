import numpy as np

from cae.reporting.figures import segmentation
from cae.reporting.figures.style import category_colours
from tests.reporting.figures.conftest import save_examples


def inputs(folder, **changes):
    def parts(rng, i, height, width):
        labels = {f"{part}_{i}": rng.integers(0, 3, (height, width), np.uint8) for part in ("truth", "prediction")}
        for each in labels.values():
            each[0] = 255  # not labelled
        return labels

    return save_examples(folder, parts, **changes)


def test_segmentation_shows_labels_and_every_models_predictions(tmp_path):
    files = inputs(tmp_path)
    cae, random = map(np.load, files)
    figure = segmentation.draw(*files)
    axes = np.array(figure.axes).reshape(4, 2)
    assert [ax.get_ylabel() for ax in axes[:, 0]] == ["image", "ground truth", "cae-b", "random-b"]
    colours = category_colours(3)
    for row, (data, part) in zip(axes[1:], ((cae, "truth"), (cae, "prediction"), (random, "prediction"))):
        for i, ax in enumerate(row):
            drawn, labels = ax.images[0].get_array(), data[f"{part}_{i}"]
            assert np.allclose(drawn[labels < 3], colours[labels[labels < 3]]) and np.allclose(drawn[0], [0, 0, 0, 1])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["sky", "tree", "road"]


def test_segmentation_has_no_legend_of_many_classes(tmp_path):
    assert not segmentation.draw(*inputs(tmp_path, names=np.array([f"class {i}" for i in range(150)]))).legends
