"""Speed of what is trained downstream of ViT-S, side by side in one run: `python benchmarks/downstream.py [--threads N] [--gpu]`.

As speed.py: read the ratios. A training step at the paper's input sizes, against a forward and backward pass of the encoder
alone on the same images: of fine-tuning without and with relative positions, UperNet, Mask and Cascade Mask R-CNN with
torchvision's and the public code's heads; and of detection the share of COCO's evaluator in a test.
"""

import argparse
import time

import numpy as np
import torch
from speed import PAPER, pixels, seconds
from torch import nn

from cae.data.detection import quiet
from cae.models.backbone import trainable
from cae.models.classifier import classifier
from cae.models.detector import Detector
from cae.models.segmenter import Segmenter
from cae.models.vit import create_encoder, normalise, timm_model

SMALL = PAPER.pretraining("cae-s-300")
HEIGHT, WIDTH = 480, 640  # of COCO's images, as they are


def encoder(**options):
    """A trainable ViT-S, with what makes it again."""
    vit = create_encoder(SMALL)
    config = dict(zip(("architecture", "arguments"), timm_model(SMALL)))
    return trainable(vit, config, relative_positions=False, drop_path=0.1, num_classes=0, **options)[0]


def step(model: nn.Module, loss_of, device: str):
    """A function that makes one pass, forward and backward, on random data."""
    model.to(device)

    def run():
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            loss_of(model).backward()
        model.zero_grad()

    return run


def fine_tuning(batch: int, rounds: int, device: str) -> None:
    images, labels = normalise(pixels(batch, 224, device)), torch.randint(0, 1000, (batch,), device=device)
    config = dict(zip(("architecture", "arguments"), timm_model(SMALL)))
    models = [classifier(create_encoder(SMALL), config, 1000, relative, 0.1)[0] for relative in (False, True)]
    steps = [step(model, lambda m: nn.functional.cross_entropy(m(images), labels), device) for model in models]
    plain, relative = seconds(steps, rounds, device)
    print(
        f"fine-tuning: {batch / plain:.1f} images/s, with relative positions {relative / plain:.2f} x a step",
        flush=True,
    )


def segmentation(batch: int, rounds: int, device: str) -> None:
    crop, params = PAPER.ade20k.crop, PAPER.segmenting("cae-s-300")[1e-4]
    vit, alone = encoder(), encoder()
    for model in (vit, alone):
        model.set_input_size((crop, crop))
    given = {"pixels": pixels(batch, crop, device), "labels": torch.randint(0, 150, (batch, crop, crop), device=device)}
    steps = [
        step(alone, lambda m: m.forward_features(normalise(given["pixels"])).mean(), device),
        step(Segmenter(vit, params.channels, 150), lambda m: m(given)["loss"], device),
    ]
    base, whole = seconds(steps, rounds, device)
    print(f"UperNet at {crop}: {batch / whole:.2f} images/s, {whole / base:.2f} x the encoder's step", flush=True)


def detection(batch: int, rounds: int, device: str) -> None:
    boxes = torch.tensor([[50.0, 60, 250, 300], [300, 100, 600, 400], [10, 10, 60, 90]], device=device)
    masks = torch.ones(3, 640, 853, dtype=torch.uint8, device=device)
    target = {"boxes": boxes, "labels": torch.tensor([1, 2, 3], device=device), "masks": masks}
    images = [torch.randint(0, 256, (3, 640, 853), dtype=torch.uint8, device=device) for _ in range(batch)]
    given = {"images": images, "targets": [target] * batch}
    params = PAPER.detecting("cae-s-300").model_copy(update={"short_sides": [640]})
    padded = nn.functional.interpolate(normalise(torch.stack(images).permute(0, 2, 3, 1)), size=(640, 864))
    steps = {"encoder": step(encoder(dynamic_img_size=True), lambda m: m.forward_features(padded).mean(), device)}
    for cascade in (False, True):
        for heads in ("torchvision", "public"):
            model = Detector(encoder(dynamic_img_size=True), params.model_copy(update={"heads": heads}), 80, cascade)
            name = f"{'Cascade' if cascade else 'Mask'} R-CNN, {heads} heads"
            steps[name] = step(model, lambda m: m(given)["loss"], device)
    base, *times = seconds(list(steps.values()), rounds, device)
    for name, spent in zip(list(steps)[1:], times):
        print(f"{name}, 640 x 853: {batch / spent:.2f} images/s, {spent / base:.2f} x the encoder's step", flush=True)
    with torch.inference_mode():
        began = time.perf_counter()
        model.eval()({"images": images})
        detecting = (time.perf_counter() - began) / batch
    spent = evaluating(50) / 50
    print(
        f"COCO's evaluator: {spent:.3f} s an image of 100 detections, {100 * spent / (spent + detecting):.0f} % of a test"
    )


def evaluating(images: int) -> float:
    """Seconds that the evaluator takes for boxes and masks, 100 detections of 80 classes and 7 objects an image."""
    from pycocotools import mask as rle
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    rng = np.random.default_rng(0)

    def thing(number, image):
        left, top = rng.integers(0, WIDTH - 120), rng.integers(0, HEIGHT - 120)
        mask = np.zeros((HEIGHT, WIDTH), np.uint8, order="F")
        mask[top : top + 100, left : left + 100] = 1
        return {"id": number, "image_id": image, "category_id": int(rng.integers(80)), "bbox": [int(left), int(top), 100, 100],
                "area": 10000, "iscrowd": 0, "segmentation": rle.encode(mask), "score": float(rng.random())}  # fmt: skip

    truth = COCO()
    truth.dataset = {
        "images": [{"id": i, "height": HEIGHT, "width": WIDTH} for i in range(images)],
        "categories": [{"id": i, "name": str(i)} for i in range(80)],
        "annotations": [thing(1 + 7 * i + k, i) for i in range(images) for k in range(7)],
    }
    found = [thing(0, i) for i in range(images) for _ in range(100)]
    with quiet():
        truth.createIndex()
        began = time.perf_counter()
        for kind in ("bbox", "segm"):
            evaluator = COCOeval(truth, truth.loadRes([dict(each) for each in found]), kind)
            evaluator.evaluate()
            evaluator.accumulate()
            evaluator.summarize()
    return time.perf_counter() - began


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--gpu", action="store_true")
    parser.add_argument("--batch", type=int, default=2, help="images a step, at least 2; use 8 or more on a GPU")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = "cuda" if arguments.gpu else "cpu"
    print(f"{device}, {arguments.threads} threads, torch {torch.__version__}")
    for measure in (fine_tuning, segmentation, detection):
        measure(arguments.batch, arguments.rounds, device)


if __name__ == "__main__":
    main()
