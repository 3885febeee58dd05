"""The best of several learning rates, as the paper reports segmentation (Appendix A)."""

import shutil
from pathlib import Path

from cae.files import atomic, read_json, write_json


def main(runs: list[Path], metrics: Path, examples: Path) -> None:
    """Of runs (metrics.json of each) the best by mIoU on the validation images: its metrics to the file `metrics`, with the
    mIoU of all and the seconds of the whole search; its pictures to `examples`."""
    tried = {run: read_json(run) for run in runs}
    best = max(tried, key=lambda run: tried[run]["miou"])
    search = {str(run["lr"]): run["miou"] for run in tried.values()}
    write_json(metrics, tried[best] | {
        "search": search, "seconds": round(sum(run["seconds"] for run in tried.values()), 1),
        "note": f"Learning rates searched: {', '.join(search)}.",
    })  # fmt: skip
    with atomic(examples) as temporary:
        shutil.copyfile(best.with_name("examples.npz"), temporary)
    print(f"mIoU by learning rate: {search}; the best is {best.parent}")
