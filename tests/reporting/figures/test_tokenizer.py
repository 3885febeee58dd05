import numpy as np

from cae.reporting.figures import tokenizer
from tests.reporting.figures.conftest import pictures, save, texts


def inputs(folder):
    data = {"images": pictures(3), "reconstructions": pictures(3), "counts": np.array([5, 0, 40, 5]), "used": 0.75,
            "perplexity": 1.9, "mse": 0.0123, "psnr": 19.1}  # fmt: skip
    return save(folder / "report.npz", data)


def test_tokenizer_states_usage_and_error(tmp_path):
    words = " ".join(texts(tokenizer.draw(*inputs(tmp_path))))
    assert "75 % of 4 tokens are used, perplexity 2" in words and "MSE 0.0123, PSNR 19.1 dB" in words
