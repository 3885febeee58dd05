"""Speed of pretraining, side by side in one run: `python benchmarks/speed.py [--threads N] [--gpu]`.

Machines differ and are noisy, so read the ratios. Each pair is timed in turns, the median of several rounds is shown.
1. A training step of CAE-S and CAE-B with cached tokens, and with an encoder of DALL-E's size run on every step.
2. The loader: views of 500 x 375 JPEG files at 224 pixels, and masks, in images/s of one core.
3. Tokenising: images/s of the DALL-E-sized encoder and of BEiT's d-VAE.
Weights are random: they do not change the time.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import skimage
import torch
from PIL import Image

from cae.data.batches import MaskedViews, Views
from cae.data.datasets import Images, index
from cae.data.masks import block_masks, split_ids
from cae.models.cae import CAE
from cae.params import load
from cae.tokenizers.dalle import DALLEEncoder
from cae.tokenizers.dvae import DiscreteVAE
from cae.training.cpu import use_onednn
from cae.training.optim import adamw

PAPER = load(Path(__file__).parents[1] / "params" / "paper.yaml")


def seconds(functions: list, rounds: int, device: str) -> list[float]:
    """Median seconds of each function, called in turns after one warm-up round."""
    times = [[] for _ in functions]
    for turn in range(rounds + 1):
        for function, spent in zip(functions, times):
            start = time.perf_counter()
            function()
            if device == "cuda":
                torch.cuda.synchronize()
            if turn:
                spent.append(time.perf_counter() - start)
    return [statistics.median(spent) for spent in times]


def training(name: str, batch: int, rounds: int, device: str) -> None:
    params = PAPER.pretraining(name)
    model, tokenizer = CAE(params, 8192).to(device), DALLEEncoder().to(device).requires_grad_(False)
    if device == "cpu":
        use_onednn(model)  # as the training loop does
    optimizer = adamw(model, lr=1e-4, betas=params.betas, weight_decay=params.weight_decay)
    visible, masked = split_ids(block_masks(np.arange(batch), seed=0, epoch=0, grid=14, **params.mask.model_dump()))
    data = {
        "pixels": torch.randint(0, 256, (batch, 224, 224, 3), dtype=torch.uint8),
        "tokens": torch.randint(0, 8192, (batch, 196)),
        "visible": torch.from_numpy(visible),
        "masked": torch.from_numpy(masked),
    }
    data = {key: value.to(device) for key, value in data.items()}
    small = torch.randint(0, 256, (batch, 112, 112, 3), dtype=torch.uint8, device=device)

    def step(tokens):
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            model({**data, "tokens": tokens})["loss"].backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), params.clip)
        optimizer.step()
        optimizer.zero_grad()

    def on_the_fly():
        with torch.inference_mode():
            tokens = tokenizer.tokens(small).flatten(1)
        step(tokens.clone())

    cached, fly = seconds([lambda: step(data["tokens"]), on_the_fly], rounds, device)
    print(
        f"{name}: {1 / cached:.2f} steps/s with cached tokens, {1 / fly:.2f} with the tokenizer every step"
        f" (batch {batch}): {batch / cached:.1f} and {batch / fly:.1f} images/s, ratio {fly / cached:.2f}",
        flush=True,
    )


def loading(count: int) -> None:
    folder = Path(tempfile.mkdtemp())
    photo = Image.open(Path(skimage.__file__).parent / "data" / "astronaut.png").convert("RGB").resize((500, 375))
    for split in ("train", "val"):
        (folder / "in" / split / "photo").mkdir(parents=True)
        for i in range(count):
            photo.save(folder / "in" / split / "photo" / f"{i}.jpg", quality=90)
    index("imagenet", str(folder / "in"), folder / "in.json")
    images = Images(folder / "in.json", 0)
    views = Views(images, PAPER.view, PAPER.view.views, PAPER.image.size, 0)
    batches = MaskedViews(views, PAPER.mask, PAPER.image.grid, None)
    indices = np.arange(count)

    def masks():
        block_masks(np.arange(256), seed=0, epoch=0, grid=14, **PAPER.mask.model_dump())

    whole, decode, mask = seconds([lambda: batches[0, indices], lambda: [images[i] for i in indices], masks], 5, "cpu")
    print(
        f"views and masks: {count / whole:.0f} images/s a core; decoding alone {count / decode:.0f}; masks alone {256 / mask:.0f}"
    )


def tokenising(batch: int, rounds: int, device: str) -> None:
    models = [DALLEEncoder(), DiscreteVAE(PAPER.tokenizers["dvae-imagenet"], PAPER.image.grid)]
    models = [model.to(device).requires_grad_(False) for model in models]
    pixels = torch.randint(0, 256, (batch, 112, 112, 3), dtype=torch.uint8, device=device)
    dalle, dvae = seconds([lambda model=model: model.tokens(pixels) for model in models], rounds, device)
    print(f"tokenising: {batch / dalle:.1f} images/s (DALL-E's size), {batch / dvae:.1f} images/s (d-VAE, BEiT's size)")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--gpu", action="store_true")
    parser.add_argument("--batch", type=int, default=8, help="images a step; use 128 or more on a GPU")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = "cuda" if arguments.gpu else "cpu"
    print(f"{device}, {arguments.threads} threads, torch {torch.__version__}")
    for name in ("cae-s-300", "cae-b-300"):
        training(name, arguments.batch, arguments.rounds, device)
    loading(64)
    tokenising(arguments.batch, arguments.rounds, device)


if __name__ == "__main__":
    main()
