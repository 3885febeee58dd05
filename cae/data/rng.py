"""Counter-based random numbers: a uniform is a pure function of its key.

Crops and masks must not depend on worker counts, batch composition or restarts, and must be drawn for a whole
batch at once. A keyed hash gives both; a stateful generator gives neither.
"""

import random
from contextlib import contextmanager

import numpy as np

VIEW, MASK, ORDER, JITTER, AUGMENT, LABELS = range(1, 7)  # first key after the seed: keeps the uses of one seed apart


def _mix(x: np.ndarray) -> np.ndarray:
    """The output function of SplitMix64 (Steele, Lea & Flood, OOPSLA 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def uniforms(n: int, seed: int, *key) -> np.ndarray:
    """Uniforms in [0, 1), float64 [..., n]; each key is an integer or an integer array, broadcast together."""
    golden = np.uint64(0x9E3779B97F4A7C15)
    with np.errstate(over="ignore"):
        state = _mix(np.asarray(seed, np.uint64) + golden)
        for part in key:
            state = _mix((state ^ np.asarray(part).astype(np.uint64)) + golden)
        counters = np.arange(1, n + 1, dtype=np.uint64) * golden
        bits = _mix(np.asarray(state)[..., None] + counters)
    return (bits >> np.uint64(11)) * 2.0**-53


def permutation(n: int, seed: int, *key) -> np.ndarray:
    """A permutation of range(n), int64 [n], as a pure function of its key."""
    return np.argsort(uniforms(n, seed, *key), kind="stable")


@contextmanager
def seeded(seed: int, *key):
    """Inside, the generators of Python, NumPy and PyTorch start from a pure function of the key: for libraries'
    augmentations, which draw from them. Afterwards they are as they were."""
    import torch  # here, since crops and masks are drawn without it

    value = int(uniforms(1, seed, *key)[0] * 2**32)
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(value)
    np.random.seed(value)
    torch.default_generator.manual_seed(value)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        torch.set_rng_state(before[2])
