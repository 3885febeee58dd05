"""Speed of the loader on one core, side by side in one run: `python benchmarks/loader.py`.

Processor time, so that neighbours count little; read the ratios. JPEG files of ImageNet's usual size, 500 x 375, cut from
the photographs that ship with scikit-learn and scikit-image. Views of 224 pixels with block masks, as pretraining gets them
(uint8; normalised on the device), against torchvision's ImageFolder with RandomResizedCrop and RandomHorizontalFlip:
1. bicubic, to a normalised float tensor: what public pretraining codes do;
2. bicubic, to a uint8 tensor;
3. bilinear (RandomResizedCrop's default), to a uint8 tensor: the least that torchvision can do.
Then what of ours is decoding, and other methods' augmentations.
"""

import tempfile
import time
from pathlib import Path

import numpy as np
import skimage
import sklearn
import torch
from PIL import Image
from speed import PAPER, seconds
from torchvision import transforms as T
from torchvision.datasets import ImageFolder

from cae.data.batches import MaskedViews
from cae.data.datasets import Images
from cae.data.manifests import index
from cae.data.pixels import MEAN, STD
from cae.methods.deit import DeiT
from cae.methods.dino import DINO
from cae.methods.moco_v3 import MoCoV3

COUNT, BATCH = 64, 32
PHOTOGRAPHS = [
    *(
        Path(skimage.__file__).parent / "data" / name
        for name in ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")
    ),
    *(Path(sklearn.__file__).parent / "datasets/images").glob("*.jpg"),
]


def photographs(folder: Path) -> None:
    """`COUNT` files in ImageNet's layout, each another part of a photograph, in two classes."""
    photos, rng = [Image.open(path).convert("RGB") for path in sorted(PHOTOGRAPHS)], np.random.default_rng(0)
    for i in range(COUNT):
        photo = photos[i % len(photos)]
        width = int(min(photo.width, photo.height * 4 / 3) * rng.uniform(0.6, 1))
        left, top = rng.integers(photo.width - width + 1), rng.integers(photo.height - width * 3 // 4 + 1)
        part = photo.crop((left, top, left + width, top + width * 3 // 4)).resize((500, 375))
        for split in ("train", "val"):
            path = folder / split / f"class{i % 2}/{i:02}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            part.save(path, quality=90)


def torchvisions(folder: Path, interpolation: T.InterpolationMode, *last) -> ImageFolder:
    crop = T.RandomResizedCrop(224, interpolation=interpolation)
    return ImageFolder(folder / "train", T.Compose([crop, T.RandomHorizontalFlip(), *last]))


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photographs(folder)
        index("imagenet", name, folder / "manifest.json")
        images = Images(folder / "manifest.json", 0)
        ours = MaskedViews(images, PAPER.pretraining("cae-b-300"))
        ours.views.kept = None  # rendered anew each time
        bicubic, bilinear = T.InterpolationMode.BICUBIC, T.InterpolationMode.BILINEAR
        theirs = {
            "bicubic, normalised": torchvisions(folder, bicubic, T.ToTensor(), T.Normalize(MEAN, STD)),
            "bicubic, uint8": torchvisions(folder, bicubic, T.PILToTensor()),
            "bilinear, uint8": torchvisions(folder, bilinear, T.PILToTensor()),
        }

        def load_ours() -> None:
            for batch in np.arange(COUNT).reshape(-1, BATCH):
                ours[0, batch]

        def load(dataset) -> None:
            for start in range(0, COUNT, BATCH):
                torch.stack([dataset[i][0] for i in range(start, start + BATCH)])

        works = [load_ours, *(lambda data=data: load(data) for data in theirs.values())]
        works.append(lambda: [images.pixels(i) for i in range(COUNT)])
        mine, *others, decoding = (spent / COUNT for spent in seconds(works, 7, "cpu", time.process_time))
        print(f"views and masks: {1 / mine:.0f} images/s; decoding is {decoding / mine:.0%} of it")
        for name, spent in zip(theirs, others):
            print(f"torchvision's ImageFolder, {name}: {1 / spent:.0f} images/s; ours {spent / mine:.2f} times as fast")

        methods = {"moco-v3-b-300": MoCoV3, "dino-b-400": DINO, "deit-b-300": DeiT}
        augmented = [method.batches(images, PAPER.pretraining(name)) for name, method in methods.items()]
        times = seconds([lambda data=data: data[0, np.arange(16)] for data in augmented], 3, "cpu", time.process_time)
        print("; ".join(f"augmented for {name}: {16 / spent:.0f} images/s" for name, spent in zip(methods, times)))


if __name__ == "__main__":
    main()
