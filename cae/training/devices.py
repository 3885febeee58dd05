"""Where work runs, and what the processes of one run tell each other."""

import torch
from torch import Tensor, distributed


def pick_device(threads: int, gpus: int) -> str:
    """ "cuda" if a GPU is asked for and there, else "cpu" with `threads` threads: for work on a single device."""
    torch.set_num_threads(threads)
    return "cuda" if gpus and torch.cuda.is_available() else "cpu"


def all_gather(features: Tensor) -> tuple[Tensor, int]:
    """Features [B, D] of all devices, in order [devices * B, D], without gradient; and this device's place."""
    if not distributed.is_initialized():
        return features, 0
    parts = [torch.empty_like(features) for _ in range(distributed.get_world_size())]
    distributed.all_gather(parts, features.contiguous())
    return torch.cat(parts), distributed.get_rank()
