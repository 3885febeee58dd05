import numpy as np

from cae.reporting.figures import figure4
from tests.reporting.figures.conftest import pictures, save

KEYS = ("images", "with_alignment", "without_alignment")


def inputs(folder):
    return save(
        folder / "figure4.npz", dict.fromkeys(KEYS, pictures(2)) | {"mse": np.array([[0.011, 0.012], [0.21, 0.22]])}
    )


def test_figure4_has_each_error_under_its_picture(tmp_path):
    axes = np.reshape(figure4.draw(*inputs(tmp_path)).axes, (3, 2))
    assert [[ax.get_xlabel() for ax in row] for row in axes] == [
        ["", ""], ["MSE 0.011", "MSE 0.012"], ["MSE 0.210", "MSE 0.220"]]  # fmt: skip
