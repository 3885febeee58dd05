"""Counter-based random numbers: a uniform is a pure function of its key.

Crops and masks must not depend on worker counts, batch composition or restarts, and must be drawn for a whole
batch at once. A keyed hash gives both; a stateful generator gives neither.
"""

import hashlib
import random
from contextlib import contextmanager
from functools import cache

import numpy as np

# Streams that had numbers before they had names keep their numbers, and so their draws. A new stream needs none.
NUMBERS = {"view": 1, "mask": 2, "order": 3, "jitter": 4, "augment": 5, "labels": 6, "step": 7}


@cache
def _number(stream: str) -> int:
    """Return the first key after the seed: it keeps the uses of one seed apart."""
    return NUMBERS.get(stream) or int.from_bytes(hashlib.sha256(stream.encode()).digest()[:8], "little")


def _mix(x: np.ndarray) -> np.ndarray:
    """The output function of SplitMix64 (Steele, Lea & Flood, OOPSLA 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def uniforms(n: int, seed: int, stream: str, *key) -> np.ndarray:
    """Draw uniforms in [0, 1), float64 [..., n].

    `stream` names what they are for: any text, the same wherever the same draws are meant. Each key is an integer or an array
    of integers, broadcast together.
    """
    golden = np.uint64(0x9E3779B97F4A7C15)
    with np.errstate(over="ignore"):
        state = _mix(np.asarray(seed, np.uint64) + golden)
        for part in (np.uint64(_number(stream)), *key):
            state = _mix((state ^ np.asarray(part).astype(np.uint64)) + golden)
        counters = np.arange(1, n + 1, dtype=np.uint64) * golden
        bits = _mix(np.asarray(state)[..., None] + counters)
    return (bits >> np.uint64(11)) * 2.0**-53


def permutation(n: int, seed: int, stream: str, *key) -> np.ndarray:
    """Permute range(n), int64 [n], by the key alone."""
    return np.argsort(uniforms(n, seed, stream, *key), kind="stable")


def seed_of(seed: int, stream: str, *key) -> int:
    """Return a seed of 64 bits, a pure function of the key: PyTorch's CUDA generators take all of them, its CPU's the low 32."""
    high, low = (uniforms(2, seed, stream, *key) * 2**32).astype(int).tolist()
    return high << 32 | low


@contextmanager
def seeded(seed: int, stream: str, *key):
    """Seed the generators of PyTorch, NumPy and Python for the block, by the key alone, and set them back after it.

    For libraries' augmentations, which draw from them. Each has its own seed: of one seed PyTorch and NumPy make the same
    numbers.
    """
    import torch  # here, since crops and masks are drawn without it

    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    of_torch, of_numpy, of_python = (uniforms(3, seed, stream, *key) * 2**32).astype(int).tolist()
    torch.default_generator.manual_seed(of_torch)
    np.random.seed(of_numpy)
    random.seed(of_python)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        torch.set_rng_state(before[2])
