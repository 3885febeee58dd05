"""How near to a GPU's limit the steps are: `PYTHONPATH=. python benchmarks/gpu.py`, of a plain checkout, within eight minutes.

Each line has a goal, what was measured, and whether that meets it. Utilisation is of the bfloat16 rate that a large matrix
product reaches on the same card in the same run, and counts what forward and backward pass must multiply, nothing twice.
Weights, pixels and tokens are random: they do not change the time. Of DALL-E's tokens they change how many are equal: random
logits lie closer together, or further apart, than learned ones may.

Needs torch, torchvision, timm, numpy, pillow, pydantic and pyyaml; without DALL-E (and attrs) or
segmentation-models-pytorch their lines are left out, and said to be. `--tiny --device cpu` shows in seconds that all of it runs.
"""

import argparse
import copy
import importlib
import io
import json
import statistics
import time
import warnings
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from cae.data import colours
from cae.data.masks import draw_masks, split_ids
from cae.models.backbone import trainable
from cae.models.flops import tokenizer
from cae.models.vit import create_encoder, timm_model
from cae.params import Image as Sizes
from cae.params import load
from cae.training.optim import adamw

PAPER = load(Path(__file__).parents[1] / "params" / "paper.yaml")
METHODS = {  # images a step
    "beit-b-300": 256, "mae-b-300": 512, "moco-v3-b-300": 128, "dino-b-400": 32, "deit-b-300": 128,
}  # fmt: skip
SECONDS = 420  # after which no further measurement begins


class Bench:
    def __init__(self, device: str, tiny: bool):
        self.device, self.tiny, self.lines = device, tiny, []
        self.windows, self.steps = (1, 1) if tiny else (3, 5)
        self.rate = 0.0  # of the matrix product, in FLOP/s
        self.speeds: dict[str, float] = {}  # images/s of a method's step
        self.rates: dict[str, dict] = {}  # by rule of the workflow and by name, as `cae cost --rates` reads them

    def tell(
        self, what: str, measured: float | None, unit: str = "", goal: float | None = None, more: str = ""
    ) -> None:
        if measured is None:
            verdict = "not measured"
        else:
            verdict = "" if goal is None or self.tiny else "met" if measured >= goal else "missed"
        self.lines.append(
            {"what": what, "goal": goal, "measured": measured, "unit": unit, "verdict": verdict, "more": more}
        )
        number, least = "-" if measured is None else f"{measured:.4g} {unit}", "" if goal is None else f">= {goal:g}"
        print(f"{what:52} {least:>9}  {number:20} {verdict:13} {more}", flush=True)

    def seconds(self, function) -> float:
        """Of a call: the median of windows of several, the device waited for at their ends alone."""
        spent = []
        for window in range(self.windows + 1):  # the first warms up
            began = time.perf_counter()
            for _ in range(self.steps):
                function()
            self.wait()
            if window:
                spent.append((time.perf_counter() - began) / self.steps)
        return statistics.median(spent)

    def wait(self) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()

    def synchronisations(self, function) -> int | None:
        """How often a call waits for the device; only CUDA tells."""
        if self.device != "cuda":
            return None
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                function()
            finally:
                torch.cuda.set_sync_debug_mode("default")
        return sum("called a synchronizing" in str(each.message) for each in caught)

    def autocast(self):
        return torch.autocast(self.device, torch.bfloat16, enabled=self.device == "cuda")

    def rated(self, rule: str, name: str, speed: float, flops: float) -> None:
        """`flops`: of an image, as it was measured."""
        self.rates.setdefault(rule, {})[name] = {"rate": speed, "flops": flops}

    def measure(self, name: str, step, flops: float, images: int, goal: float | None = None) -> float:
        """Tell of a step: utilisation, time, memory; returns images/s."""
        if self.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        spent = self.seconds(step)
        memory = f"{torch.cuda.max_memory_allocated() / 1e9:.1f} GB" if self.device == "cuda" else "memory not measured"
        more = f"{images / spent:.1f} images/s, {1e3 * spent:.1f} ms of {images}, {memory}, {flops / 1e9:.1f} GFLOP an image"
        self.tell(f"{name}: utilisation", 100 * flops * images / spent / self.rate, "%", goal, more)
        self.tell(f"{name}: synchronisations in a step", self.synchronisations(step))
        return images / spent


def matrix_product(bench: Bench) -> None:
    n = 256 if bench.tiny else 8192
    a, b = (torch.randn(n, n, device=bench.device, dtype=torch.bfloat16) for _ in range(2))
    bench.rate = 2 * n**3 / bench.seconds(lambda: a @ b)
    bench.tell(f"bfloat16 matrix product of {n}", bench.rate / 1e12, "TFLOP/s")


def small(params):
    """A model's params at a size of seconds on a CPU."""
    change = {"image": Sizes(size=32, patch=8), "width": 24, "depth": 2, "heads": 2, "regressor_depth": 1, "decoder_depth": 1,
              "decoder_width": 16, "decoder_heads": 2, "hidden_width": 16, "output_width": 8, "bottleneck": 8,
              "outputs": 32, "local_size": 16, "local_crops": 2}  # fmt: skip
    change = {key: value for key, value in change.items() if key in type(params).model_fields}
    if hasattr(params, "mask"):
        change["mask"] = params.mask.model_copy(update={"count": 8, "min_block": 2})
    return params.model_copy(update=change)


def build(params) -> nn.Module:
    method = importlib.import_module(f"cae.methods.{params.method}").build
    outputs = params.choices(8192, 1000)
    return method(params, outputs) if outputs else method(params)


def pixels(batch: int, size: int) -> torch.Tensor:
    """Smooth ones, uint8 [batch, size, size, 3]."""
    coarse = torch.rand(batch, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    image = nn.functional.interpolate(coarse, size=(size, size), mode="bicubic").clamp(0, 1)
    return (255 * image).byte().permute(0, 2, 3, 1).contiguous()


def batch_of(params, n: int) -> dict:
    """What the loader would give a method, on the CPU."""
    p, grid = params, params.image.grid
    batch = {"labels": torch.arange(n) % 1000, "epoch": torch.tensor(0)}
    if hasattr(p, "mask"):
        visible, masked = split_ids(draw_masks(p.mask, np.arange(n), seed=0, epoch=0, grid=grid))
        return batch | {"pixels": pixels(n, p.image.size), "visible": torch.from_numpy(visible),
                        "masked": torch.from_numpy(masked), "tokens": torch.randint(0, 8192, (n, grid**2))}  # fmt: skip
    crops = p.crops or 1
    sizes = [p.image.size if i < 2 else p.local_size for i in range(crops)]
    batch["views"] = [pixels(n, size) for size in sizes]
    if not p.learns_labels:
        draws = [colours.draw(0, i, np.arange(n), blur=(1.0, 0.1, 0.5)[min(i, 2)], solarise=0.2) for i in range(crops)]
        batch["colours"] = [torch.from_numpy(each) for each in draws]
    return batch


def to(device: str, part):
    if isinstance(part, dict):
        return {name: to(device, value) for name, value in part.items()}
    if isinstance(part, list):
        return [to(device, value) for value in part]
    return part.to(device) if isinstance(part, torch.Tensor) else part


def flops_of(model: nn.Module, batch: dict) -> int:
    """Of a forward and a backward pass over a batch of one image; attention as two plain products, which are counted."""
    model.eval()
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        model(batch)["loss"].backward()
    model.zero_grad()
    return counter.get_total_flops()


def stepper(bench: Bench, model: nn.Module, batch: dict, clip: float | None = 3.0):
    """A function that makes one step as the training loop does."""
    model.to(bench.device).train()
    batch = to(bench.device, batch)
    optimizer = adamw(model, lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05)
    before, after = (getattr(model, name, lambda progress: None) for name in ("before_step", "after_step"))

    def step():
        with bench.autocast():
            loss = model(batch)["loss"]
        loss.backward()
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        before(0.5)
        optimizer.step()
        optimizer.zero_grad()
        after(0.5)

    return step


def pretraining(bench: Bench, name: str, images: int, goal: float | None = None) -> None:
    params = small(PAPER.pretraining(name)) if bench.tiny else PAPER.pretraining(name)
    images = 4 if bench.tiny else images
    model = build(params).to(bench.device)
    flops = flops_of(model, to(bench.device, batch_of(params, 1)))
    step = stepper(bench, model, batch_of(params, images), params.clip)
    bench.speeds[name] = bench.measure(name, step, flops, images, goal)
    bench.rated("pretrain_model", name, bench.speeds[name], flops)


def augmenting(bench: Bench, name: str) -> None:
    """Colours changed on the device against the step that consumes them; and what of a view is left to the loader."""
    params = small(PAPER.pretraining(name)) if bench.tiny else PAPER.pretraining(name)
    images, large = 4 if bench.tiny else METHODS[name], 2
    batch = to(bench.device, batch_of(params, images))
    groups = [slice(large), slice(large, None)][: 1 + (len(batch["views"]) > large)]
    spent = bench.seconds(lambda: [colours.recoloured(batch, group) for group in groups])
    speed = bench.speeds.get(name)
    bench.tell(f"{name}: colours on the device", speed and images / spent / speed, "x the step's images/s", 10,
               f"{images / spent:.0f} images/s")  # fmt: skip
    file = io.BytesIO()
    Image.fromarray(pixels(1, 512)[0].numpy()).resize((500, 375)).save(file, "JPEG", quality=90)

    class Photo:
        def pixels(self, i):
            return np.asarray(Image.open(io.BytesIO(file.getvalue())).convert("RGB"))

    few = 2 if bench.tiny else 32
    loader = importlib.import_module(f"cae.methods.{params.method}").build.batches(Photo(), params)
    began = time.perf_counter()
    loader[0, np.arange(few)]
    a_core = few / (time.perf_counter() - began)
    bench.tell(
        f"{name}: cores of the loader for its step", speed and speed / a_core, "", more=f"{a_core:.0f} images/s a core"
    )


def float16(encoder: nn.Module) -> nn.Module:
    """DALL-E's encoder with the package's arithmetic on a GPU, its weights cast once, channels last."""
    encoder = copy.deepcopy(encoder)
    for path, conv in list(encoder.named_modules()):
        if type(conv).__name__ == "Conv2d":
            out, inputs, side, _ = conv.w.shape
            plain = nn.utils.skip_init(nn.Conv2d, inputs, out, side, padding=side // 2)
            plain.weight, plain.bias = conv.w, conv.b
            parent, _, name = path.rpartition(".")
            setattr(encoder.get_submodule(parent), name, plain)
    *_, last = (module for module in encoder.modules() if isinstance(module, nn.Conv2d))
    encoder.half().to(memory_format=torch.channels_last)
    last.float().register_forward_pre_hook(lambda _, inputs: (inputs[0].float(),))
    encoder.blocks.register_forward_pre_hook(lambda _, inputs: (inputs[0].half(),))
    return encoder.requires_grad_(False)


def tokenising(bench: Bench) -> None:
    from dall_e import Encoder, map_pixels

    from cae.tokenizers.dalle import DALLEEncoder

    torch.manual_seed(0)
    images = pixels(2 if bench.tiny else 128, 16 if bench.tiny else 112).to(bench.device)
    ours, package = (kind().to(bench.device).requires_grad_(False) for kind in (DALLEEncoder, Encoder))

    def by(encoder):
        return lambda: encoder(map_pixels(images.permute(0, 3, 1, 2) / 255)).argmax(1)

    def exactly(function):
        """In float32 to the last digit, as the token cache is filled."""

        def run():
            torch.backends.cudnn.allow_tf32 = False
            try:
                return function()
            finally:
                torch.backends.cudnn.allow_tf32 = True

        return run

    with torch.inference_mode():
        # As many tokens as there are, not the few that random weights prefer.
        logits = torch.cat([ours(map_pixels(part.permute(0, 3, 1, 2) / 255)) for part in images.split(32)])
        ours.blocks.output.conv.b -= logits.mean((0, 2, 3))
        package.load_state_dict(ours.state_dict())
        del logits
        paths = {
            "as the cache is filled (float32)": exactly(lambda: ours.tokens(images)),
            "with TF32": lambda: ours.tokens(images),
            "in float16, channels last": by(float16(ours)),
        }
        theirs, spent, exact = by(package)(), bench.seconds(by(package)), exactly(lambda: ours.tokens(images))()

        def equal(tokens, others):
            return 100 * (tokens == others).float().mean().item()

        more = f"{equal(theirs, exact):.2f} % of its tokens are float32's"
        bench.tell("DALL-E's encoder, its package's path", len(images) / spent, "images/s", more=more)
        flops = tokenizer(PAPER.tokenizers["dalle"], images.shape[1] // 8).flops
        for name, path in paths.items():
            tokens, took = path(), bench.seconds(path)
            if "cache" in name:
                bench.rated("tokenize", "dalle", len(images) / took, flops)
            bench.tell(f"DALL-E, {name}", spent / took, "x the package", 2, f"{len(images) / took:.0f} images/s")
            more = f"{equal(tokens, theirs):.2f} % the package's"
            bench.tell("  tokens that are float32's", equal(tokens, exact), "%", 99.9, more)


def encoder_of(params, **options):
    config = dict(zip(("architecture", "arguments"), timm_model(params)))
    return trainable(create_encoder(params), config, drop_path=0.1, num_classes=0, **options)[0]


def segmenting(bench: Bench) -> None:
    from cae.models.segmenter import Segmenter

    params = PAPER.pretraining("cae-b-300")
    params = small(params) if bench.tiny else params
    recipe = next(iter(PAPER.segmenting("cae-b-300").values()))
    size, images = (64, 2) if bench.tiny else (recipe.crop, 8)
    encoder = encoder_of(params, relative_positions=recipe.relative_positions)
    encoder.set_input_size((size, size))
    model = Segmenter(encoder, 16 if bench.tiny else recipe.channels, 150).to(bench.device)
    batch = {"pixels": pixels(images, size), "labels": torch.randint(0, 150, (images, size, size))}
    flops = flops_of(model, to(bench.device, {name: value[:1] for name, value in batch.items()}))
    both_layouts(bench, "segment", f"UperNet at {size}", model, stepper(bench, model, batch, None), flops, images)


def both_layouts(bench: Bench, rule: str, name: str, model: nn.Module, step, flops: float, images: int) -> None:
    """A step as it is, and with convolutions' weights channels last: slower on a CPU, on a GPU perhaps not."""
    plain = bench.measure(name, step, flops, images, 30)
    bench.rated(rule, "cae-b-300", plain, flops)
    model.to(memory_format=torch.channels_last)
    bench.tell(f"{name}: with channels last", images / bench.seconds(step) / plain, "x as fast")


def detecting(bench: Bench) -> None:
    from cae.models.detector import Detector

    params = PAPER.pretraining("cae-b-300")
    params = small(params) if bench.tiny else params
    recipe = PAPER.detecting("cae-b-300")
    height, width, images = (64, 96, 2) if bench.tiny else (800, 1216, 4)
    if bench.tiny:
        recipe = recipe.model_copy(update={"channels": 8, "head_width": 16, "proposals": 20, "regions": 16})
    model = Detector(encoder_of(params, relative_positions=False, dynamic_img_size=True), recipe, 80, cascade=False)
    rng = torch.Generator().manual_seed(0)
    corners = torch.rand(10, 2, generator=rng) * 0.6
    sides = 0.1 + torch.rand(10, 2, generator=rng) * 0.3
    boxes = torch.cat([corners, corners + sides], 1) * torch.tensor([width, height, width, height])
    target = {
        "boxes": boxes,
        "labels": 1 + torch.randint(0, 80, (10,)),
        "masks": torch.ones(10, height, width, dtype=torch.uint8),
    }
    batch = {"images": list(pixels(images, max(height, width))[:, :height, :width].permute(0, 3, 1, 2).contiguous()),
             "targets": [target] * images}  # fmt: skip
    step = stepper(bench, model, batch, None)
    # How many regions there are hangs on what is found: counted as it runs. Of a CPU's attention only the plain one counts.
    with (
        FlopCounterMode(display=False) as counter,
        sdpa_kernel(SDPBackend.MATH) if bench.device == "cpu" else nullcontext(),
    ):
        step()
    flops = counter.get_total_flops() / images
    both_layouts(bench, "detect", f"Mask R-CNN at {height} x {width}", model, step, flops, images)


def main(arguments: list[str] | None = None) -> list[dict]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--tiny", action="store_true", help="sizes of seconds on a CPU; utilisation then means nothing")
    parser.add_argument("--json", type=Path, help="a file for the lines, and for `cae cost --rates`")
    options = parser.parse_args(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("no GPU here; `--tiny --device cpu` shows that all of it runs")
    bench, began = Bench(options.device, options.tiny), time.perf_counter()
    card = torch.cuda.get_device_name() if options.device == "cuda" else "CPU"
    print(f"{card}, torch {torch.__version__}")
    parts = [
        ("matrix product", lambda: matrix_product(bench)),
        ("cae-b-300", lambda: pretraining(bench, "cae-b-300", 256, goal=45)),
        ("cae-l-1600", lambda: pretraining(bench, "cae-l-1600", 128, goal=55)),
        ("tokenising", lambda: tokenising(bench)),
        ("UperNet", lambda: segmenting(bench)),
        ("Mask R-CNN", lambda: detecting(bench)),
        *((name, lambda name=name, n=n: pretraining(bench, name, n)) for name, n in METHODS.items()),
        *(
            (f"{name}: augmentations", lambda name=name: augmenting(bench, name))
            for name in ("moco-v3-b-300", "dino-b-400")
        ),
    ]
    for name, part in parts:
        if time.perf_counter() - began > SECONDS:
            bench.tell(name, None, more="no time left")
            continue
        try:
            part()
        except Exception as error:  # of one line: the others are told all the same
            bench.tell(name, None, more=f"{type(error).__name__}: {str(error).partition(chr(10))[0]}")
        if options.device == "cuda":
            torch.cuda.empty_cache()
    print(f"{time.perf_counter() - began:.0f} s")
    if options.json:
        found = {"device": card, "torch": torch.__version__, "images_per_second": bench.rates, "lines": bench.lines}
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    return bench.lines


if __name__ == "__main__":
    main()
