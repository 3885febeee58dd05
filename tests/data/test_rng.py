import random

import numpy as np
import pytest
import torch

from cae.data.rng import permutation, seed_of, seeded, uniforms


def test_uniforms_are_uniform_and_uncorrelated():
    u = uniforms(4, 0, "view", np.arange(50_000))
    assert u.min() >= 0 and u.max() < 1
    assert u.mean(0) == pytest.approx(0.5, abs=0.01)
    assert u.var(0) == pytest.approx(1 / 12, abs=0.002)
    assert np.abs(np.corrcoef(u.T) - np.eye(4)).max() < 0.02
    assert abs(np.corrcoef(u[1:, 0], u[:-1, 0])[0, 1]) < 0.02  # neighbouring images
    counts = np.histogram(u, bins=64, range=(0, 1))[0]
    assert ((counts - counts.mean()) ** 2 / counts.mean()).sum() < 120  # chi-squared with 63 degrees of freedom


def test_a_row_is_the_same_in_any_batch():
    batch = uniforms(5, 3, "mask", np.array([9, 4]))
    np.testing.assert_array_equal(batch[1], uniforms(5, 3, "mask", 4))
    np.testing.assert_array_equal(batch[1][:2], uniforms(2, 3, "mask", 4))


KEYS = [
    (0, "mask", 2),
    (1, "mask", 2),
    (0, "view", 2),
    (0, "mask", 3),
    (0, "masks", 2),
    (0, "m", 2),
    (0, "", 2),
    (0, "é", 2),
]


@pytest.mark.parametrize("key", KEYS)
def test_keys_give_different_streams(key):
    others = [k for k in KEYS if k != key]
    for other in others:
        assert abs(uniforms(8, *key) - uniforms(8, *other)).max() > 0.05


@pytest.mark.parametrize(
    "stream,draws",
    [
        ("view", [0.9386117982609206, 0.8911516016292944]),
        ("mask", [0.4513154864607496, 0.6924667485776114]),
        ("order", [0.8869684847384613, 0.5030931104062865]),
        ("jitter", [0.6705071483699959, 0.05445895836357906]),
        ("augment", [0.13939797887846594, 0.806634730791162]),
        ("labels", [0.4758851479794005, 0.9494659743731786]),
        ("step", [0.5307207105497782, 0.5161240285540698]),
        ("any other text", [0.34458318968519286, 0.4537443526193391]),
    ],
)
def test_streams_stay_what_they_were(stream, draws):
    """By these numbers token caches, masks and subsets of labels were drawn."""
    assert uniforms(2, 3, stream, 5, 9).tolist() == draws


def test_permutation_and_seed_stay_what_they_were():
    assert permutation(6, 3, "order", 5).tolist() == [0, 4, 3, 5, 2, 1]
    assert seed_of(3, "step", 1, 5) == 13730401162653825758


def test_permutation_is_one():
    order = permutation(1000, 0, "order")
    assert sorted(order) == list(range(1000)) and (order != np.arange(1000)).any()
    np.testing.assert_array_equal(order, permutation(1000, 0, "order"))


def test_seeds_of_neighbouring_keys_differ_in_both_halves():
    seeds = [seed_of(seed, "step", rank, n) for seed in range(4) for rank in range(4) for n in range(64)]
    for half in ([seed >> 32 for seed in seeds], [seed % 2**32 for seed in seeds]):
        assert len(set(half)) == len(half) and max(half) < 2**32
        assert np.mean(half) == pytest.approx(2**31, rel=0.05)
    assert seed_of(3, "step", 1, 5) == seed_of(3, "step", 1, 5)


def test_libraries_draw_by_the_key_alone_and_from_streams_of_their_own():
    def drawn(key):
        with seeded(*key):
            return [torch.randint(2**31, (50,)).tolist(), np.random.randint(2**31, size=50).tolist(),
                    [random.randrange(2**31) for _ in range(50)]]  # fmt: skip

    states = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    first = drawn((0, "augment", 1))
    assert torch.equal(states[0], torch.get_rng_state()) and states[1] == np.random.get_state()[1].tolist()
    assert states[2] == random.getstate()
    assert first == drawn((0, "augment", 1))
    streams = [stream for key in ((0, "augment", 1), (1, "augment", 1), (0, "augment", 2)) for stream in drawn(key)]
    assert all(not set(a) & set(b) for i, a in enumerate(streams) for b in streams[:i])
