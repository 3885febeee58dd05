"""The embedded demo data: handwritten digits on crops of real photographs, written in public data sets' layouts.

Nothing is downloaded: the digits ship with scikit-learn, the photographs with scikit-learn and scikit-image. A scene
holds a digit, enlarged, tinted and rotated, which gives it its class; in COCO's layout, where objects are found one by one,
sometimes a smaller one beside it. Digits are light and photographs dark, so that a small encoder spends its few minutes on
shapes. Digits and photographs are split between training and validation by source, so that no original serves both.

Layouts: ImageNet (folders of JPEG by class), ADE20K (JPEG with PNG pixel classes, 0 = not labelled), COCO (JPEG with
instances in JSON), Food-101 and DomainNet (lists of JPEG). Of DomainNet there are clipart, flat colours with an outline,
and sketch, outlines on paper.
"""

import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from cae.errors import UserError

CANVAS = 56, 56  # height and width of scenes, in pixels
COCO_SIDES = (44, 72)  # range of COCO's: its images are of any size
MAIN, OTHER = (34, 42), (14, 20)  # range of the side of the main digit, of the others, in pixels
BEHIND = (8, 40)  # range of the side of a photograph's crop, in its own pixels: smooth, so that digits stand out
TURN = 8  # degrees that a digit is turned by, at most
DARKER, DARKEST_TINT = 0.5, 180  # what a photograph keeps of its light; the least of a digit's colours
MOST = {"coco": 2}  # digits in a scene; of other layouts one
SIZES = {  # scenes to train on and to validate on
    "imagenet": (4000, 1200), "ade20k": (800, 200), "coco": (400, 100), "food101": (800, 300), "clipart": (800, 300),
    "sketch": (800, 300),
}  # fmt: skip
KEYS = {
    "coco": 4,
    "ade20k": 6,
    "food101": 7,
    "imagenet": 8,
    "clipart": 9,
    "sketch": 10,
}  # no set's scenes are another's
PHOTOS = [
    *(f"skimage/data/{name}" for name in ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")),
    *(f"skimage/data/{name}" for name in ("motorcycle_left.png", "hubble_deep_field.jpg")),
    *(f"sklearn/datasets/images/{name}" for name in ("china.jpg", "flower.jpg")),
]
DIGITS = "sklearn/datasets/data/digits.csv.gz"  # a line a digit: 8 x 8 pixels from 0 to 16, and what it is
MARK = ".demo"  # a file that says the folder may be written anew
JPEG = {"quality": 92, "subsampling": 0}


def write_demo(layout: str, root: Path, seed: int, scenes: list[int] | None = None) -> None:
    """Write the demo set of a layout below `root`, of so many `scenes` to train on and to validate on; the same bytes for
    the same seed, and of fewer scenes the first.

    An earlier demo set there is replaced; UserError where the folder holds anything else.
    """
    if root.exists() and any(root.iterdir()) and not (root / MARK).exists():
        raise UserError(f"{root}: holds files that are not the demo's; name another folder, or empty it")
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    (root / MARK).touch()
    write = {"imagenet": _write_imagenet, "ade20k": _write_ade20k, "coco": _write_coco, "food101": _write_food101,
             "clipart": _write_clipart, "sketch": _write_sketch}[layout]  # fmt: skip
    for split, count in enumerate(scenes or SIZES[layout]):
        source = Source(split)
        generators = (np.random.default_rng([seed, KEYS[layout], split, i]) for i in range(count))
        most = MOST.get(layout, 1)
        write(root, split, (make_scene(source, rng, canvas_of(layout, rng), most) for rng in generators))


def canvas_of(layout: str, rng: np.random.Generator) -> tuple[int, int]:
    return tuple(rng.integers(*COCO_SIDES, 2, endpoint=True).tolist()) if layout == "coco" else CANVAS


class Source:
    """The digits and photographs of one split (0 train, 1 validation): every fourth digit, the right quarter of
    every photograph, are for validation."""

    def __init__(self, split: int):
        digits = np.loadtxt(shipped(DIGITS), delimiter=",")
        mine = (np.arange(len(digits)) % 4 == 3) == bool(split)
        self.digits = (digits[mine, :-1].reshape(-1, 8, 8) / 16 * 255).astype(np.uint8)
        self.labels = digits[mine, -1].astype(int)
        photos = [Image.open(shipped(path)).convert("RGB") for path in PHOTOS]
        self.photos = []
        for photo in photos:
            w, h = photo.size
            cut = 3 * w // 4
            self.photos.append(photo.crop((cut, 0, w, h) if split else (0, 0, cut, h)))


def shipped(path: str) -> Path:
    """A file of an installed package, which is not imported: scikit-learn takes longer than many a job."""
    package, _, file = path.partition("/")
    return Path(find_spec(package).origin).parent / file


def make_scene(
    source: Source, rng: np.random.Generator, canvas: tuple[int, int] = CANVAS, most: int = 1
) -> tuple[np.ndarray, list[tuple[int, np.ndarray]]]:
    """A scene: pixels uint8 [H, W, 3] and its objects (digit, mask bool [H, W]), the main first and at `most` so many;
    `canvas`: (H, W)."""
    pixels = _background(source, rng, canvas)
    objects = []
    for i in range(rng.integers(1, most, endpoint=True)):
        pick = rng.integers(len(source.digits))
        side = int(rng.integers(*(OTHER if i else MAIN), endpoint=True))
        alpha = _place(source.digits[pick], side, [mask for _, mask in objects], rng, canvas)
        if alpha is None:
            continue
        mask = alpha > 0.35
        colour = rng.uniform(DARKEST_TINT, 255, 3)
        pixels = pixels * (1 - alpha[..., None]) + colour * alpha[..., None]
        objects.append((int(source.labels[pick]), mask))
    return pixels.round().astype(np.uint8), objects


def _background(source: Source, rng, canvas) -> np.ndarray:
    photo = source.photos[rng.integers(len(source.photos))]
    side = int(rng.integers(*BEHIND, endpoint=True))
    left, top = (int(rng.integers(0, length - side + 1)) for length in photo.size)
    crop = photo.resize(canvas[::-1], Image.Resampling.BICUBIC, box=(left, top, left + side, top + side))
    return np.asarray(crop, np.float64) * DARKER


def _place(digit: np.ndarray, side: int, taken: list[np.ndarray], rng, canvas) -> np.ndarray | None:
    """Opacity [H, W] of a digit somewhere free, or None where ten tries find no room."""
    glyph = Image.fromarray(digit).resize((side, side), Image.Resampling.BICUBIC)
    glyph = glyph.rotate(rng.uniform(-TURN, TURN), Image.Resampling.BICUBIC)
    # A narrow ramp around half intensity turns the blur of enlarging 8 x 8 pixels into a smooth edge.
    glyph = np.clip((np.asarray(glyph) / 255 - 0.3) / 0.25, 0, 1)
    for _ in range(10):
        top, left = (rng.integers(0, length - side + 1) for length in canvas)
        alpha = np.zeros(canvas)
        alpha[top : top + side, left : left + side] = glyph
        if not any((mask & (alpha > 0)).any() for mask in taken):
            return alpha
    return None


def _save(pixels: np.ndarray, path: Path, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def _write_imagenet(root, split, scenes):
    for i, (pixels, objects) in enumerate(scenes):
        _save(pixels, root / ("train", "val")[split] / f"digit{objects[0][0]}" / f"{i:05d}.JPEG", format="JPEG", **JPEG)


def _write_food101(root, split, scenes):
    name, lines = ("train", "test")[split], []
    for i, (pixels, objects) in enumerate(scenes):
        lines.append(f"digit{objects[0][0]}/{name}{i:05d}")
        _save(pixels, root / "images" / f"{lines[-1]}.jpg", **JPEG)
    _write_list(root / "meta" / f"{name}.txt", lines)


def _write_clipart(root, split, scenes):
    drawn = ((clipart(objects, np.random.default_rng([split, i])), objects) for i, (_, objects) in enumerate(scenes))
    _write_domain(root, "clipart", split, drawn)


def _write_sketch(root, split, scenes):
    drawn = ((sketch(objects, np.random.default_rng([split, i])), objects) for i, (_, objects) in enumerate(scenes))
    _write_domain(root, "sketch", split, drawn)


def _write_domain(root, domain, split, scenes):
    lines = []
    for i, (pixels, objects) in enumerate(scenes):
        digit = objects[0][0]
        lines.append(f"{domain}/digit{digit}/{domain}_{split}_{i:06d}.jpg {digit}")
        _save(pixels, root / lines[-1].split()[0], **JPEG)
    _write_list(root / f"{domain}_{('train', 'test')[split]}.txt", lines)


def _write_list(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def clipart(objects, rng: np.random.Generator) -> np.ndarray:
    """A scene's objects in flat colours with a dark outline on a pale ground: uint8 [H, W, 3]."""
    pixels = np.full((*CANVAS, 3), rng.uniform(190, 255, 3))
    for _, mask in objects:
        pixels[_grown(mask)] = 20
        pixels[mask] = rng.uniform(40, 220, 3)
    return pixels.astype(np.uint8)


def sketch(objects, rng: np.random.Generator) -> np.ndarray:
    """A scene's objects as uneven pencil outlines on paper: uint8 [H, W, 3]."""
    pixels = rng.normal(240, 6, CANVAS)
    for _, mask in objects:
        rim = _grown(mask) & ~mask
        pixels[rim] = rng.normal(90, 40, rim.sum())
    return np.repeat(pixels.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)


def _grown(mask: np.ndarray) -> np.ndarray:
    """The mask and the pixels next to it."""
    return np.asarray(Image.fromarray(mask).convert("L").filter(ImageFilter.MaxFilter(3))) > 0


def _write_ade20k(root, split, scenes):
    folder = ("training", "validation")[split]
    for i, (pixels, objects) in enumerate(scenes):
        labels = np.ones(CANVAS, np.uint8)  # 1 background, 2 to 11 the digits
        for digit, mask in objects:
            labels[_grown(mask) & ~mask] = 0  # an object's rim is nobody's
            labels[mask] = digit + 2
        _save(pixels, root / "images" / folder / f"{i:05d}.jpg", **JPEG)
        _save(labels, root / "annotations" / folder / f"{i:05d}.png")

    names = ["background", *(f"digit {i}" for i in range(10))]
    lines = ["Idx\tName", *(f"{i}\t{name}" for i, name in enumerate(names, 1))]
    (root / "objectInfo150.txt").write_text("\n".join(lines) + "\n")


def _write_coco(root, split, scenes):
    from skimage.measure import find_contours

    name = ("train2017", "val2017")[split]
    images, annotations = [], []
    for i, (pixels, objects) in enumerate(scenes):
        _save(pixels, root / name / f"{i:012d}.jpg", **JPEG)
        images.append({"id": i, "file_name": f"{i:012d}.jpg", "width": pixels.shape[1], "height": len(pixels)})
        for digit, mask in objects:
            rows, columns = np.nonzero(mask)
            box = [int(columns.min()), int(rows.min()), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1]
            contours = find_contours(np.pad(mask, 1).astype(float), 0.5)
            polygons = [(c[:-1, ::-1] - 0.5).round(1).ravel().tolist() for c in contours if len(c) > 3]
            annotations.append(
                {"id": len(annotations) + 1, "image_id": i, "category_id": digit + 1, "bbox": box,
                 "area": int(mask.sum()), "segmentation": polygons, "iscrowd": 0}
            )  # fmt: skip
    categories = [{"id": digit + 1, "name": f"digit{digit}"} for digit in range(10)]
    path = root / "annotations" / f"instances_{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
