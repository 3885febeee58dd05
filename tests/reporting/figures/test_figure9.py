import numpy as np

from cae.reporting.figures import figure9
from tests.reporting.figures import test_figure6
from tests.reporting.figures.conftest import texts


def inputs(folder):
    return test_figure6.inputs(
        folder, outside_original=np.array([[0.31, 0.01], [0.3, 0.01]]), outside_original_area=0.32
    )


def test_figure9_also_says_how_much_lies_outside_of_the_original_images_centre(tmp_path):
    assert any("of original's 0.310 ± 0.010 (0.320)" in text for text in texts(figure9.draw(*inputs(tmp_path))))
