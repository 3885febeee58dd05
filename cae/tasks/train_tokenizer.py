"""Train a d-VAE on the training images' views, and report how it uses its codebook."""

import json
from pathlib import Path

import numpy as np
import torch

from cae.data.batches import Pixels, Views, loader, micro_batches, workers
from cae.data.datasets import Images
from cae.data.schedule import Schedule
from cae.data.views import LANCZOS
from cae.files import atomic, text_hash
from cae.options import Data, OutputFolder, fields_of, params_of
from cae.params import DVAE, Image, Job, View
from cae.tokenizers import store
from cae.training.devices import start
from cae.training.loop import train
from cae.training.optim import Optimisation, adamw, warmup_cosine
from cae.training.run import Runtime, Settings

WARMUP = 0.05  # of all steps
REPORT_IMAGES, REPORT_PICTURES = 2000, 16  # validation images that the report counts tokens of, and shows


class TokenizerJob(Job):
    tokenizer: DVAE
    image: Image
    view: View


def main(*, data: Data, params: params_of(TokenizerJob), runtime: fields_of(Runtime), output: OutputFolder) -> None:
    """Train a tokenizer on a data set's views.

    Writes the tokenizer, its losses and `report.npz`, what it makes of validation images.
    """
    p = params.tokenizer
    fabric = start(runtime.threads, runtime.gpus, params.precision)
    images = Images(data, 0)
    schedule = Schedule(len(images), p.batch_size, p.batch_size // fabric.world_size, p.epochs, fabric.world_size)
    torch.manual_seed(params.seed)
    tokenizer = store.build(p, params.image.grid)
    pixels = Pixels(Views(images, params.view, params.view.views, p.input_size, params.seed, LANCZOS))
    processes = workers(runtime.threads, runtime.gpus, fabric.device.type)
    warmup = round(WARMUP * schedule.steps)
    optimizer = adamw(tokenizer, lr=p.lr, betas=(0.9, 0.999), weight_decay=1e-4)
    params_hash = text_hash(params.model_dump_json() + images.fingerprint)
    run = train(
        fabric, tokenizer,
        lambda step: loader(pixels, micro_batches(schedule, params.seed, step, fabric.global_rank), processes),
        schedule, Settings(runtime, params.seed, params_hash, f"tokenizer {output.name}"),
        Optimisation(optimizer, lambda step: warmup_cosine(
            step, steps=schedule.steps, warmup=warmup, lr=p.lr, min_lr=p.lr / 100
        )),
    )  # fmt: skip
    if fabric.is_global_zero:
        _report(tokenizer.eval(), Images(data, 1), params, output / "report.npz")
        store.save(output, tokenizer, p, params.image.grid)
        run.copy_metrics(output)


@torch.no_grad()
def _report(tokenizer, images: Images, params: TokenizerJob, path: Path) -> None:
    """Codebook usage over validation views, and originals beside reconstructions."""
    p = params.tokenizer
    device = next(tokenizer.parameters()).device
    views = Views(images, params.view, 1, p.input_size, params.seed, LANCZOS)
    counts, squared, shown = np.zeros(p.vocabulary, np.int64), [], []
    sample = np.linspace(0, len(images) - 1, min(len(images), REPORT_IMAGES)).astype(int)
    for indices in np.array_split(sample, -(-len(sample) // 128)):
        pixels = torch.from_numpy(views(indices, 0)).to(device)
        tokens = tokenizer.tokens(pixels)
        decoded = ((tokenizer.decode(tokens).permute(0, 2, 3, 1) + 1) * 127.5).clamp(0, 255)
        counts += torch.bincount(tokens.flatten().cpu(), minlength=p.vocabulary).numpy()
        squared += ((decoded - pixels) / 255).square().mean((1, 2, 3)).tolist()
        shown.append((pixels.cpu().numpy(), decoded.round().byte().cpu().numpy()))
    share = counts / counts.sum()
    perplexity = float(np.exp(-(share[share > 0] * np.log(share[share > 0])).sum()))
    mse = float(np.mean(squared))
    psnr = -10 * np.log10(mse)
    originals, reconstructions = (
        np.concatenate(part)[:: max(1, len(sample) // REPORT_PICTURES)][:REPORT_PICTURES] for part in zip(*shown)
    )
    used = float((counts > 0).mean())
    print(json.dumps({"used": used, "perplexity": perplexity, "mse": mse, "psnr": psnr}))
    with atomic(path) as temporary:
        np.savez(temporary, images=originals, reconstructions=reconstructions, counts=counts, used=used,
                 perplexity=perplexity, mse=mse, psnr=psnr)  # fmt: skip
