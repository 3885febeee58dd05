"""Each figure's test has a function `inputs(folder, **changes)`, which writes files that the figure is drawn from."""

import matplotlib.pyplot as plt
import numpy as np
import pytest


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def pictures(n, size=12):
    return np.random.default_rng(0).integers(0, 256, (n, size, size, 3), np.uint8)


def save(path, arrays):
    np.savez(path, **arrays)
    return [path]


def save_examples(folder, parts, **changes):
    """examples.npz of two models, each with an image that is wide and one that is high: `parts(rng, i, height, width)`."""
    files = []
    for seed, model in enumerate(("cae-b", "random-b")):
        rng, data = np.random.default_rng(seed), {"names": np.array(["sky", "tree", "road"])}
        for i, (height, width) in enumerate([(10, 20), (16, 8)]):
            image = np.random.default_rng(i).integers(0, 256, (height, width, 3), np.uint8)
            data |= {f"image_{i}": image} | parts(rng, i, height, width)
        (folder / model).mkdir()
        files += save(folder / model / "examples.npz", data | changes)
    return files


def texts(figure):
    return [text.get_text() for text in figure.findobj(plt.Text) if text.get_text()]
