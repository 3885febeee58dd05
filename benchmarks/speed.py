"""Speed of pretraining, side by side in one run: `python benchmarks/speed.py [--threads N] [--gpu]`.

Machines differ and are noisy, so read the ratios. What is compared is timed in turns, the median of several rounds is shown.
1. A training step of CAE-S and CAE-B against the public code's (plain_cae.py), the tokens given to both, and its tokenizer
   run every step as it does: in float32, and in bfloat16 where the processor has it natively or --bfloat16 asks for it;
   compiled too with --compile. With the peak memory of each, measured in a process of its own.
2. A training step of every method at ViT-S, against CAE's.
3. Block masks, by size of the batch, against a plain loop over patches.
4. Tokenising: images/s of the encoders of DALL-E and VQGAN, and of BEiT's d-VAE.
Weights are random: they do not change the time. The loader is timed by loader.py.
"""

import argparse
import math
import multiprocessing
import random
import re
import statistics
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from plain_cae import PlainCAE

from cae.data.masks import draw_masks, split_ids
from cae.params import load
from cae.tasks.pretrain import build
from cae.tokenizers.dalle import DALLEEncoder
from cae.tokenizers.dvae import DiscreteVAE
from cae.tokenizers.vqgan import VQGANEncoder
from cae.training.devices import arithmetic, autocast
from cae.training.optim import adamw

PAPER = load(Path(__file__).parents[1] / "params" / "paper.yaml")
MASK = PAPER.shared_mask


def seconds(functions: list, rounds: int, device: str, clock=time.perf_counter) -> list[float]:
    """Median seconds of each function by `clock`, called in turns after one warm-up round."""
    times = [[] for _ in functions]
    for turn in range(rounds + 1):
        for function, spent in zip(functions, times):
            start = clock()
            function()
            if device == "cuda":
                torch.cuda.synchronize()
            if turn:
                spent.append(clock() - start)
    return [statistics.median(spent) for spent in times]


def pixels(batch: int, size: int, device: str) -> torch.Tensor:
    return torch.randint(0, 256, (batch, size, size, 3), dtype=torch.uint8, device=device)


def random_batch(params, batch: int, device: str) -> dict:
    mask = getattr(params, "mask", MASK)  # contrastive methods have none
    masks = draw_masks(mask, np.arange(batch), seed=0, epoch=0, grid=14)
    visible, masked = (torch.from_numpy(ids).to(device) for ids in split_ids(masks))
    small = getattr(params, "local_crops", 0)
    views = (params.crops or 1) - small
    return {
        "pixels": pixels(batch, 224, device), "visible": visible, "masked": masked,
        "tokens": torch.randint(0, 8192, (batch, 196), device=device),
        "labels": torch.randint(0, 1000, (batch,), device=device), "epoch": torch.tensor(0, device=device),
        "views": [pixels(batch, 224, device) for _ in range(views)] + [pixels(batch, 96, device) for _ in range(small)],
    }  # fmt: skip


def stepper(params, batch: int, device: str, precision: str = "auto", compiled: bool = False):
    """A function that makes one training step of a model on random data, as the training loop does."""
    model = build(params, params.choices(8192, 1000)).to(device)
    optimizer = adamw(model, lr=1e-4, betas=params.betas, weight_decay=params.weight_decay)
    data, network = random_batch(params, batch, device), torch.compile(model, dynamic=False) if compiled else model

    def step():
        with autocast(device, precision):
            loss = network(data)["loss"]
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), params.clip or 3.0)
        if hasattr(model, "before_step"):
            model.before_step(0.5)
        optimizer.step()
        optimizer.zero_grad()
        if hasattr(model, "after_step"):
            model.after_step(0.5)

    return step


def plain_stepper(params, batch: int, device: str, tokenizer: bool):
    """The same in the public code's way; `tokenizer`: with an encoder of DALL-E's size run on every step."""
    model = PlainCAE(build(params, 8192)).to(device)
    trained = [p for p in model.model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4, betas=params.betas, weight_decay=params.weight_decay)
    data, small = random_batch(params, batch, device), pixels(batch, 112, device)
    mask = torch.zeros(batch, 196, dtype=torch.bool, device=device).scatter(1, data["masked"], True)
    dalle = DALLEEncoder().to(device).requires_grad_(False) if tokenizer else None

    def step():
        with torch.no_grad():
            tokens = dalle.tokens(small).flatten(1) if dalle else data["tokens"]
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            loss = model(data["pixels"], mask, tokens)["loss"]
        if not math.isfinite(loss.item()):
            raise SystemExit("the loss is not finite")
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 3.0)
        optimizer.step()

    return step


def against_the_public_code(name: str, batch: int, rounds: int, device: str, precisions: list[str], compiled: bool):
    params = PAPER.pretraining(name)
    makers = {
        "public, tokenizer every step": partial(plain_stepper, params, batch, device, True),
        "public, tokens given": partial(plain_stepper, params, batch, device, False),
    }
    for precision in precisions:
        makers[f"ours, {precision}"] = partial(stepper, params, batch, device, precision)
        if compiled:
            makers[f"ours, {precision}, compiled"] = partial(stepper, params, batch, device, precision, True)
    times = seconds([make() for make in makers.values()], rounds, device)
    print(
        f"{name}, batch {batch}: images/s; times the public step as it is run, times it with tokens given; peak memory"
    )
    for (kind, make), spent in zip(makers.items(), times):
        memory = peak_memory(make, device) / 2**30
        ratios = " ".join(f"{slow / spent:5.2f} x" for slow in times[:2])
        print(f"  {kind:32} {batch / spent:7.2f}  {ratios}  {memory:5.2f} GiB", flush=True)


def peak_memory(make, device: str) -> int:
    """Bytes at most, of two steps in a process of its own; on a GPU of PyTorch's allocations there."""
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before, step = torch.cuda.memory_allocated(), make()
        step(), step()
        return torch.cuda.max_memory_allocated() - before
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(two_steps, (make, torch.get_num_threads()))


def two_steps(make, threads: int) -> int:
    torch.set_num_threads(threads)
    step = make()
    step(), step()
    status = Path("/proc/self/status").read_text()  # a process's ru_maxrss begins with that of the one that started it
    return 1024 * int(re.search(r"VmHWM:\s*(\d+)", status)[1])


def methods(batch: int, rounds: int, device: str) -> None:
    """Every method at ViT-S: images/s, and the time of a step in CAE's."""
    names = (
        "cae-s-300", "beit-s-300", "mae-b-300", "simmim-b-800", "data2vec-b-800", "moco-v3-s-300", "dino-b-400", "deit-s-300",
    )  # fmt: skip
    small = {"width": 384, "depth": 12, "heads": 12}
    steps = [stepper(PAPER.pretraining(name).model_copy(update=small), batch, device) for name in names]
    times = seconds(steps, rounds, device)
    for name, spent in zip(names, times):
        print(f"{PAPER.pretraining(name).method}: {batch / spent:.1f} images/s, {spent / times[0]:.2f} x CAE's step")


def masking() -> None:
    """Microseconds of a mask."""

    def plain() -> None:
        """A mask as BEiT's public code draws it: one image, one attempt, one patch at a time."""
        mask, left = [[False] * 14 for _ in range(14)], MASK.count
        while left:
            area = random.uniform(min(MASK.min_block, left), max(MASK.min_block, left))
            aspect = math.exp(random.uniform(-1, 1) * math.log(MASK.min_aspect))
            h, w = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if h >= 14 or w >= 14:
                continue
            top, start = random.randint(0, 14 - h), random.randint(0, 14 - w)
            new = [(y, x) for y in range(top, top + h) for x in range(start, start + w) if not mask[y][x]]
            if len(new) <= left:
                left -= len(new)
                for y, x in new:
                    mask[y][x] = True

    def drawn(size: int) -> None:
        for start in range(0, 2048, size):
            draw_masks(MASK, np.arange(start, start + size), seed=0, epoch=0, grid=14)

    sizes = (1, 8, 32, 64, 256, 2048)
    works = [lambda: [plain() for _ in range(2048)], *(lambda size=size: drawn(size) for size in sizes)]
    loop, *times = (1e6 / 2048 * spent for spent in seconds(works, 5, "cpu"))
    by_size = ", ".join(f"{spent:.0f} us in batches of {size}" for size, spent in zip(sizes, times))
    print(f"a block mask: {by_size}; {loop:.0f} us by a plain loop")


def tokenising(batch: int, rounds: int, device: str) -> None:
    models = {"DALL-E": DALLEEncoder(), "VQGAN": VQGANEncoder(),
              "d-VAE": DiscreteVAE(PAPER.tokenizers["dvae-imagenet"], PAPER.image.grid)}  # fmt: skip
    models = {name: model.to(device).requires_grad_(False) for name, model in models.items()}
    images = pixels(batch, 112, device)
    times = seconds([lambda model=model: model.tokens(images) for model in models.values()], rounds, device)
    print("tokenising: " + ", ".join(f"{batch / spent:.1f} images/s ({name})" for name, spent in zip(models, times)))


def processor(device: str) -> str:
    if device == "cuda":
        return torch.cuda.get_device_name()
    return f"{torch.cpu.get_capabilities()['cpu_name']}, {torch.backends.cpu.get_cpu_capability()}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--gpu", action="store_true")
    parser.add_argument("--batch", type=int, default=8, help="images a step; use 128 or more on a GPU")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--bfloat16", action="store_true", help="time it even where it is emulated")
    parser.add_argument("--compile", action="store_true", help="time compiled steps too: minutes more")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device, rounds = "cuda" if arguments.gpu else "cpu", arguments.rounds
    print(f"{processor(device)}, {arguments.threads} threads, torch {torch.__version__}")
    wanted = arguments.bfloat16 or arithmetic(device) == "bfloat16"
    precisions = ["float32", "bfloat16"] if wanted else ["float32"]
    for name in ("cae-s-300", "cae-b-300"):
        against_the_public_code(name, arguments.batch, rounds, device, precisions, arguments.compile)
    methods(arguments.batch, rounds, device)
    masking()
    tokenising(arguments.batch, rounds, device)


if __name__ == "__main__":
    main()
