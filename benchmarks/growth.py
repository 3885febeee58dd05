"""How cost grows: `python benchmarks/growth.py step|planning|cache|loading [--output docs]` measures and draws one figure each.

step      A training step of CAE-S at 224 pixels, patches of 16, batch 4, one of these changed at a time: processor seconds and
          peak memory, on one core, in float32.
planning  `snakemake -n` of demo-all with further models as rows of Table 1, each with its three evaluations.
cache     The token cache from a thousand images to ImageNet's 1.28 million, all their views, as a sparse file: opening it and
          reading micro-batches of 256 random images.
loading   The manifest of as many images, read, and 32 loader processes that ask for each image once; images themselves are
          made up, so that a disk and a decoder are not in it.

Each point is a process of its own, so that peaks of memory do not mix; this one stays small, for a new process starts with the
peak of the one that made it. Docs: docs/growth.md.
"""

import argparse
import json
import multiprocessing
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
BASE = {"size": 224, "patch": 16, "width": 384, "batch": 4}
STEPS = {
    "size": (96, 160, 224, 320, 384),
    "patch": (32, 28, 16, 14, 8),
    "width": (192, 384, 576, 768),
    "batch": (1, 2, 4, 8, 16),
}
MODELS = (0, 30, 100, 300, 1000)
IMAGES = (1_000, 10_000, 100_000, 1_281_167)


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def step(size: int, patch: int, width: int, batch: int) -> dict[str, float]:
    """Median processor seconds of three steps after one, on random data; peak memory of the process."""
    import torch

    from cae.data.masks import draw_masks, split_ids
    from cae.params import Image, load
    from cae.tasks.pretrain import build
    from cae.training.optim import adamw

    torch.set_num_threads(1)
    image = Image(size=size, patch=patch)
    params = load(ROOT / "params/paper.yaml").pretraining("cae-s-300")
    mask = params.mask.model_copy(update={"count": image.grid**2 // 2})
    params = params.model_copy(update={"image": image, "mask": mask, "width": width, "heads": width // 64})
    model = build(params, 8192)
    optimizer = adamw(model, lr=1e-4, betas=params.betas, weight_decay=params.weight_decay)
    masks = draw_masks(mask, range(batch), seed=0, epoch=0, grid=image.grid)
    data = dict(zip(("visible", "masked"), map(torch.from_numpy, split_ids(masks))))
    data["pixels"] = torch.randint(0, 256, (batch, size, size, 3), dtype=torch.uint8)
    data["tokens"] = torch.randint(0, 8192, (batch, image.grid**2))
    seconds = []
    for _ in range(4):
        start = time.process_time()
        model(data)["loss"].backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 3.0)
        optimizer.step()
        optimizer.zero_grad()
        seconds.append(time.process_time() - start)
    return {"seconds": statistics.median(seconds[1:]), "MB": peak_mb()}


def planning(models: int) -> dict[str, float]:
    """Processor seconds and peak memory of a dry run with so many models beside those of all tables; how many jobs it plans."""
    import yaml

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("cae", "workflow", "params", "profiles"):
            shutil.copytree(ROOT / part, folder / part)
        shutil.copy(ROOT / "Snakefile", folder)
        names = [f"cae-b-300-{i:04}" for i in range(models)]
        tables = yaml.safe_load((folder / "params/tables.yaml").read_text())
        tables["table1"]["rows"] += [{"method": "CAE", "model": name} for name in names]
        (folder / "params/tables.yaml").write_text(yaml.safe_dump(tables, sort_keys=False))
        entry = {"method": "cae", "size": "base", "warmup_epochs": 1}
        many = {"base": "demo-all.yaml", "models": {name: {**entry, "epochs": 2 + i} for i, name in enumerate(names)}}
        (folder / "params/many.yaml").write_text(yaml.safe_dump(many))
        command = [sys.executable, "-m", "snakemake", "-n", "--quiet", "rules", "--configfile", "params/many.yaml"]
        done = subprocess.run(
            command, cwd=folder, env={**os.environ, "PYTHONPATH": name}, check=True, stdout=subprocess.PIPE, text=True
        )
    jobs = next(line.split()[1] for line in done.stdout.splitlines() if line.startswith("total"))
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {"seconds": used.ru_utime + used.ru_stime, "MB": used.ru_maxrss / 1024, "jobs": int(jobs)}


def cache(images: int) -> dict[str, float]:
    """Processor milliseconds to open the cache and, median, to read a micro-batch; memory that a hundred add to the process."""
    import numpy as np

    from cae.files import write_json
    from cae.params import load
    from cae.tokenizers.cache import DTYPE, open_cache

    shape = (images, load(ROOT / "params/paper.yaml").view.views, 14, 14)
    with tempfile.TemporaryDirectory() as name:
        parts = [len(part) for part in np.array_split(np.empty((images, 0)), 64)]
        for k, part in enumerate(parts):
            np.lib.format.open_memmap(Path(name, f"{k}.npy"), "w+", DTYPE, (part, *shape[1:]))
        write_json(Path(name, "shards.json"), [f"{k}.npy" for k in range(len(parts))])
        write_json(Path(name, "manifest.json"), {"shape": list(shape)})
        rng, before, read = np.random.default_rng(0), peak_mb(), []
        start = time.process_time()
        tokens = open_cache(Path(name), shape, {})
        opened = time.process_time() - start
        for view in range(100):
            indices = rng.permutation(images)[:256]
            start = time.process_time()
            tokens[indices, view % shape[1]].reshape(256, -1).astype(np.int64)
            read.append(time.process_time() - start)
        return {"open_ms": 1000 * opened, "read_ms": 1000 * statistics.median(read), "MB": peak_mb() - before,
                "GB": 2 * np.prod(shape) / 1e9}  # fmt: skip


def loading(images: int) -> dict[str, float]:
    """Processor seconds until the first micro-batch is asked for, memory of that process, and what 32 loader processes have to
    themselves after an epoch."""
    import numpy as np

    from cae.data import datasets
    from cae.data.batches import Pixels, Views, loader
    from cae.params import load

    crop = load(ROOT / "params/paper.yaml").view
    blank = np.zeros((32, 32, 3), np.uint8)
    datasets.read_pixels = lambda path: blank
    with tempfile.TemporaryDirectory() as name:
        split = {"images": [f"train/n{i % 1000:08}/n{i % 1000:08}_{i}.JPEG" for i in range(images)],
                 "labels": [i % 1000 for i in range(images)]}  # fmt: skip
        about = {
            "root": name,
            "layout": "imagenet",
            "fingerprint": "",
            "classes": [],
            "splits": {"train": split, "val": split},
        }
        manifest = Path(name, "imagenet.json")
        manifest.write_text(json.dumps(about))
        del split, about
        start, before = time.process_time(), peak_mb()
        views = Views(datasets.Images(manifest, 0), crop, crop.views, 16, 0, keep=False)
        order = np.random.default_rng(0).permutation(images)
        keys = [(0, part) for part in np.array_split(order, -(-images // 256))]
        started = time.process_time() - start
        batches = iter(loader(Pixels(views), keys, 32))
        for _ in keys:
            next(batches)
        workers = multiprocessing.active_children()
        private = sum(private_mb(worker.pid) for worker in workers)
        return {"start_s": started, "MB": peak_mb() - before, "workers_MB": private}


def private_mb(process: int) -> float:
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty")) / 1024


KINDS = {"step": step, "planning": planning, "cache": cache, "loading": loading}


def measured(name: str, **point) -> dict[str, float]:
    """What the function of this name gives for a point, in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, name, "--point", json.dumps(point)], check=True, stdout=subprocess.PIPE
    )
    found = json.loads(done.stdout)
    print(name, point, {key: round(value, 3) for key, value in found.items()}, flush=True)
    return found


def curves(name: str) -> list[tuple[str, str, list, list[float]]]:
    """Of each axes: what stands below and above it, points, values."""
    if name == "step":
        known = {tuple(BASE.values()): measured("step", **BASE)}
        for key, values in STEPS.items():
            for value in values:
                point = {**BASE, key: value}
                if tuple(point.values()) not in known:
                    known[tuple(point.values())] = measured("step", **point)
        below = {"size": "image size", "patch": "patches of an image", "width": "width", "batch": "batch"}
        shown = {key: [known[tuple({**BASE, key: v}.values())] for v in values] for key, values in STEPS.items()}
        points = STEPS | {"patch": [(224 // side) ** 2 for side in STEPS["patch"]]}
        rows = {"seconds": ("seconds", 1), "MB": ("peak memory, GB", 1 / 1024)}
        return [
            (below[key], above, points[key], [scale * one[what] for one in shown[key]])
            for what, (above, scale) in rows.items() for key in STEPS
        ]  # fmt: skip
    if name == "planning":
        found = [measured("planning", models=n) for n in MODELS]
        rows = {"jobs": "jobs", "seconds": "seconds", "MB": "peak memory, MB"}
        return [
            ("models beside those of the tables", above, MODELS, [one[what] for one in found])
            for what, above in rows.items()
        ]
    found = [measured(name, images=n) for n in IMAGES]
    if name == "loading":
        rows = {"start_s": "start, seconds", "MB": "memory, MB", "workers_MB": "32 workers’ own, MB"}
        return [("images", above, IMAGES, [one[what] for one in found]) for what, above in rows.items()]
    rows = {"GB": "the cache, GB", "open_ms": "opening it, ms", "read_ms": "a micro-batch, ms", "MB": "memory, MB"}
    return [("images", above, IMAGES, [one[what] for one in found]) for what, above in rows.items()]


def draw(name: str, output: Path) -> None:
    shown = curves(name)
    import matplotlib.pyplot as plt

    from cae.reporting.figures.style import METADATA, STYLE, WIDTH

    columns = min(4, len(shown))
    rows = len(shown) // columns
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(rows, columns, figsize=(WIDTH, 1.7 * rows), squeeze=False)
        for ax, (below, above, points, values) in zip(axes.flat, shown, strict=True):
            ax.plot(points, values, marker="o", markersize=3)
            ax.set(xlabel=below, ylim=(0, 1.1 * max(values)))
            ax.set_title(above, loc="left")
            if points == IMAGES:
                ax.set_xscale("log")
        figure.savefig(output / f"growth-{name}.png", metadata=METADATA[".png"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=list(KINDS))
    parser.add_argument("--output", type=Path, default=ROOT / "docs")
    parser.add_argument("--point", type=json.loads, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.point is None:
        draw(arguments.name, arguments.output)
    else:
        print(json.dumps(KINDS[arguments.name](**arguments.point)))


if __name__ == "__main__":
    main()
