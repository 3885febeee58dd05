import numpy as np
import pytest

from cae.data.rng import permutation, uniforms


def test_uniforms_are_uniform_and_uncorrelated():
    u = uniforms(4, 0, 1, np.arange(50_000))
    assert u.min() >= 0 and u.max() < 1
    assert u.mean(0) == pytest.approx(0.5, abs=0.01)
    assert u.var(0) == pytest.approx(1 / 12, abs=0.002)
    assert np.abs(np.corrcoef(u.T) - np.eye(4)).max() < 0.02
    assert abs(np.corrcoef(u[1:, 0], u[:-1, 0])[0, 1]) < 0.02  # neighbouring images
    counts = np.histogram(u, bins=64, range=(0, 1))[0]
    assert ((counts - counts.mean()) ** 2 / counts.mean()).sum() < 120  # chi-squared with 63 degrees of freedom


def test_a_row_is_the_same_in_any_batch():
    batch = uniforms(5, 3, 2, np.array([9, 4]))
    np.testing.assert_array_equal(batch[1], uniforms(5, 3, 2, 4))
    np.testing.assert_array_equal(batch[1][:2], uniforms(2, 3, 2, 4))


@pytest.mark.parametrize("key", [(0, 1, 2), (1, 0, 2), (0, 2, 1), (0, 1, 3)])
def test_keys_give_different_streams(key):
    others = [k for k in [(0, 1, 2), (1, 0, 2), (0, 2, 1), (0, 1, 3)] if k != key]
    for other in others:
        assert abs(uniforms(8, *key) - uniforms(8, *other)).max() > 0.05


def test_permutation_is_one():
    order = permutation(1000, 0, 1)
    assert sorted(order) == list(range(1000)) and (order != np.arange(1000)).any()
    np.testing.assert_array_equal(order, permutation(1000, 0, 1))
