"""Where a job computes, how precisely, and what the processes of one run tell each other."""

import atexit
import os
import platform
import signal
import socket
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import torch
from torch import Tensor, distributed, nn

from cae.errors import UserError
from cae.params import Precision

PRECISIONS = {"float32": "32-true", "bfloat16": "bf16-mixed"}  # our names of them, and Fabric's


def pick_device(threads: int, gpus: int) -> str:
    """ "cuda" if a GPU is asked for and there, else "cpu" with `threads` threads: for work on a single device."""
    torch.set_num_threads(threads)
    return "cuda" if gpus and torch.cuda.is_available() else "cpu"


def start(threads: int, gpus: int, precision: Precision = "auto"):
    """A lightning_fabric.Fabric on `gpus` GPUs of this node, or on its CPU with `threads` threads.

    Started as one of several by torchrun or srun, on one node or on many, this process joins the others. Else Fabric starts
    a process for each further GPU.
    """
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments import LightningEnvironment, SLURMEnvironment, TorchElasticEnvironment

    if gpus and not torch.cuda.is_available():
        print("no GPU here: running on the CPU", flush=True)
        gpus = 0
    device, here, nodes = "cuda" if gpus else "cpu", gpus or 1, 1
    environment = LightningEnvironment()  # a Slurm job without srun's tasks, too, is a single process
    if TorchElasticEnvironment.detect():
        environment, here = TorchElasticEnvironment(), int(os.environ["LOCAL_WORLD_SIZE"])
    elif int(os.environ.get("SLURM_STEP_NUM_TASKS", 1)) > 1:
        environment, here = SLURMEnvironment(), int(os.environ["SLURM_NTASKS_PER_NODE"])
    if environment.creates_processes_externally:
        if gpus not in (0, here):
            raise UserError(f"{here} processes were started on a node, to share {gpus} GPUs; start one for each")
        nodes = environment.world_size() // here
    fabric = Fabric(
        accelerator=device,
        devices=here,
        num_nodes=nodes,
        precision=PRECISIONS[arithmetic(device, precision)],
        plugins=environment,
    )
    fabric.launch()
    for process in getattr(fabric.strategy.launcher, "procs", []):
        atexit.register(_end, process)
    torch.set_num_threads(max(1, threads // here))
    return fabric


def _end(process: subprocess.Popen) -> None:
    """End a process that Fabric started: one that waits for this one's part of a sum on a GPU would wait for half an hour."""
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()


def first_alone(fabric, work: Callable[[], None]) -> None:
    """Let the first process do `work` while the others wait for its end; if it fails, it raises and they end without a word."""
    error = None
    if fabric.is_global_zero:
        try:
            work()
        except Exception as raised:
            error = raised
    if fabric.broadcast(error is not None):
        raise error or SystemExit(0)  # another status would have a launcher kill the first while it tells why


def speaker() -> str | None:
    """Return how this process introduces its last message: "" if it is alone or the first of a run, "process 1 on <host>: " of
    another; None if another process has spoken, whose end is the reason for this one's.

    They note who speaks in the store by which they found each other. The first process keeps it: none is left after that. From
    now on signals are ignored, which a launcher sends to those that are left.
    """
    if not distributed.is_initialized():
        return ""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    me = str(distributed.get_rank())
    try:
        speaks = distributed.distributed_c10d._get_default_store().compare_set("speaks", "", me).decode()
    except distributed.DistError:
        return None
    return None if speaks != me else "" if me == "0" else f"process {me} on {socket.gethostname()}: "


def synchronised(fabric, model: nn.Module) -> nn.Module:
    """The model, its BatchNorm over the images of all processes; UserError where they are not on GPUs, for PyTorch has none."""
    if fabric.world_size == 1:
        return model
    if fabric.device.type == "cpu" and any(
        isinstance(part, nn.modules.batchnorm._BatchNorm) for part in model.modules()
    ):
        raise UserError("this model has BatchNorm, which several processes share on GPUs alone; start one process")
    return nn.SyncBatchNorm.convert_sync_batchnorm(model)


def precision_of(fabric) -> str:
    """ "float32" or "bfloat16", that `start` chose."""
    return next(ours for ours, name in PRECISIONS.items() if name == fabric.strategy.precision.precision)


def arithmetic(device: str, precision: Precision = "auto") -> str:
    """ "float32" or "bfloat16"; where `precision` is "auto", the latter if the device computes with it natively.

    Emulated, bfloat16 is slower than float32 by far. What a processor can do is asked, not timed: a measurement may come
    out differently for two jobs of one run.
    """
    if precision != "auto":
        return precision
    if device == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        can = torch.cpu.get_capabilities()
        native = can.get("amx_bf16") or can.get("avx512_bf16")
    return "bfloat16" if native else "float32"


def machine(device: str) -> str:
    """What computes, in its maker's words: the GPU's name or the processor's."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def autocast(device: str, precision: Precision = "auto") -> AbstractContextManager:
    """Products in `arithmetic(device, precision)`; parameters, norms and losses stay in float32."""
    return torch.autocast(device, torch.bfloat16, enabled=arithmetic(device, precision) == "bfloat16")


def all_gather(features: Tensor) -> tuple[Tensor, int]:
    """Features [B, D] of all devices, in order [devices * B, D], without gradient; and this device's place."""
    if not distributed.is_initialized():
        return features, 0
    parts = [torch.empty_like(features) for _ in range(distributed.get_world_size())]
    distributed.all_gather(parts, features.contiguous())
    return torch.cat(parts), distributed.get_rank()
