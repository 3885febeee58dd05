"""A report that is kept in the repository: a page in Markdown and, beside it, the small files it was made of."""

import gzip
import io
import re
import shutil
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from cae.errors import UserError
from cae.files import atomic, read_json, write_text
from cae.options import Inputs, OutputFile, Scale
from cae.reporting.figures import caption_of
from cae.reporting.models import read_lines
from cae.reporting.page import image_counts
from cae.reporting.tables import title_of

LARGEST = 5_000_000  # bytes of all together: every clone carries them
LONG = 1 << 13  # bytes of a file; longer ones, such as lists of images and losses of every step, are kept compressed
PAGE = """\
# Context Autoencoder, scale {scale}

Made by `snakemake publish --configfile params/{scale}.yaml`, not edited by hand. `make redraw SCALE={scale}` draws all of it
again, from the numbers and arrays in `published/`: no images, no checkpoints.

- Data: {data}.
- Pretraining: {trained} models and {hours:.1f} hours in all, with seeds {seeds}. Evaluation: {cells} cells and {more:.1f} hours.
- Machines: {machines}. Arithmetic: {precisions}. Revisions: {revisions}.
"""


def main(*inputs: Inputs, scale: Scale, output: OutputFile) -> None:
    """Write a report that is kept in the repository.

    A page in Markdown and, beside it, the small files it is made of. `inputs`: tables (.md) and figures (.png) below the folder
    of `output`, shown in their order; all else, results and manifests, is copied into published/ beside it, each under its own
    path. Raises UserError where all of it is more than 5 MB.
    """
    paths, folder = list(map(Path, inputs)), Path(output).parent
    kept = [path for path in paths if path.suffix not in (".md", ".png")]
    copies = copies_of(kept)
    sizes = {path: path.stat().st_size for path in paths if path not in kept}
    sizes |= {path: len(content) for path, content in copies.items()}
    if (size := sum(sizes.values())) > LARGEST:
        largest = max(sizes, key=sizes.get)
        raise UserError(f"{folder}: {size / 1e6:.1f} MB are too much to publish; the largest file is {largest}")
    shutil.rmtree(folder / "published", ignore_errors=True)
    for path, content in copies.items():
        with atomic(folder / "published" / path) as temporary:
            temporary.write_bytes(content)
    parts = [facts(scale, kept)]
    for path in paths:
        if path.suffix == ".md":
            parts.append(re.sub(rf"^# (.*), scale {scale}$", r"## \1", path.read_text(), count=1, flags=re.MULTILINE))
        if path.suffix == ".png":
            parts.append(f"## {title_of(path.stem)}")
            parts.append(f"![{path.stem}]({path.relative_to(folder)})\n\n{caption_of(path.stem)}")
    write_text(output, "\n\n".join(part.strip() for part in parts) + "\n")


def copies_of(paths: list[Path]) -> dict[Path, bytes]:
    """Under which paths the files are kept, and as what bytes."""
    copies, examples = {}, {}  # of a protocol the arrays of its first model
    for path in paths:
        if path.suffix == ".npz":
            arrays = dict(np.load(path))
            if path.name == "examples.npz":
                # Models of a protocol show the same pictures, which are kept once, and as WebP (`read_examples`).
                first = examples.get(path.parent.parent, {})
                examples.setdefault(path.parent.parent, arrays)
                own = {name: array for name, array in arrays.items() if not equal(array, first.get(name))}
                arrays = own | {name: webp(array) for name, array in own.items() if name.startswith("image_")}
            copies[path] = packed(arrays)
        elif len(content := path.read_bytes()) > LONG:
            copies[path.with_name(path.name + ".gz")] = gzip.compress(content, mtime=0)
        else:
            copies[path] = content
    return copies


def equal(a: np.ndarray, b: np.ndarray | None) -> bool:
    return b is not None and a.dtype == b.dtype and np.array_equal(a, b)


def webp(image: np.ndarray) -> np.ndarray:
    """An image [H, W, 3] as the bytes of a lossless WebP, a third smaller than packed; those of a kept report as they are."""
    if image.ndim == 1:
        return image
    content = io.BytesIO()
    Image.fromarray(image).save(content, "WEBP", lossless=True, quality=100, method=6)
    return np.frombuffer(content.getvalue(), np.uint8)


def packed(arrays: dict[str, np.ndarray]) -> bytes:
    """What `np.savez` would write, a fifth smaller than `np.savez_compressed` makes it; `np.load` reads all three."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_LZMA) as archive:
        for name, array in arrays.items():
            part = io.BytesIO()
            np.lib.format.write_array(part, array, allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), part.getvalue(), zipfile.ZIP_LZMA)
    return content.getvalue()


def facts(scale: str, kept: list[Path]) -> str:
    """What the page says first."""
    cells = [read_json(path) for path in kept if "evaluate" in path.parts]
    about = [read_json(path) for path in kept if path.name == "provenance.json"]
    runs = [read_lines(path)[-1]["seconds"] for path in kept if path.name == "metrics.jsonl"]
    counts = {path.stem: image_counts(path) for path in kept if path.parts[0] == "data"}

    def each(key: str, of: list[dict]) -> str:
        return ", ".join(sorted({str(one[key]) for one in of if key in one})) or "not recorded"

    return PAGE.format(
        scale=scale,
        data="; ".join(
            f"{name}: {train:,} images to train on, {val:,} to validate" for name, (train, val) in counts.items()
        ),
        trained=len(runs),
        hours=sum(runs) / 3600,
        cells=len(cells),
        # One run trains both probes, and each tells its seconds.
        more=sum(cell.get("seconds", 0) for cell in cells if cell["protocol"] != "attentive") / 3600,
        seeds=each("seed", [one["params"] for one in about if "seed" in one["params"]]),
        machines=each("machine", cells),
        precisions=each("precision", cells),
        revisions=each("revision", cells),
    )
