"""What the machine has that runs Snakemake."""

import os
from pathlib import Path


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0))


def has_gpu() -> bool:
    """Tell whether this machine has a GPU, by its devices: to ask PyTorch takes seconds."""
    return any(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/kfd").exists() or Path("/dev/dxg").exists()


def threads_side_by_side(asked: int, cores: int) -> int:
    """Return how many threads a job gets, `asked` at most, so that jobs of a kind fill all cores, two of them at least.

    Two jobs of a thread each do more than one of two: threads wait for each other, and programs start and read on one.
    """
    return max(1, cores // max(2, -(-cores // asked)))
