import numpy as np

from cae.reporting.figures import detection
from tests.reporting.figures.conftest import save_examples


def inputs(folder):
    def parts(rng, i, height, width):
        data = {f"prediction_{i}_scores": np.full(i + 1, 0.75)}
        for part, n in (("truth", i), ("prediction", i + 1)):  # the first image has no objects
            data[f"{part}_{i}_boxes"] = np.tile([1.0, 2.0, 6.0, 9.0], (n, 1))
            data[f"{part}_{i}_labels"] = np.arange(n)
            data[f"{part}_{i}_masks"] = np.zeros((n, height, width), bool)
        return data

    return save_examples(folder, parts)


def test_detection_shows_objects_and_what_every_model_finds(tmp_path):
    axes = np.array(detection.draw(*inputs(tmp_path)).axes).reshape(4, 2)
    assert [[len(ax.patches) for ax in row] for row in axes] == [[0, 0], [0, 1], [1, 2], [1, 2]]
    assert [text.get_text() for text in axes[1, 1].texts] == ["sky"]
    assert [text.get_text() for text in axes[2, 1].texts] == ["sky .75", "tree .75"]
    box = axes[2, 1].patches[0]
    assert (box.get_xy(), box.get_width(), box.get_height()) == ((0.5, 1.5), 5, 7)
