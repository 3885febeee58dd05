"""The best of several learning rates, as the paper reports segmentation (Appendix A)."""

import shutil

from cae.files import atomic, read_json, write_json
from cae.options import Inputs, Metrics, OutputFile


def main(*inputs: Inputs, metrics: Metrics, output: OutputFile) -> None:
    """Choose the best of several learning rates of `segment`.

    By mIoU on the validation images (metrics.json of each run). Its metrics go to the file `metrics`, with the mIoU of all and
    the seconds of the whole search; its pictures to `output`.
    """
    tried = {run: read_json(run) for run in inputs}
    best = max(tried, key=lambda run: tried[run]["miou"])
    search = {str(run["lr"]): run["miou"] for run in tried.values()}
    write_json(metrics, tried[best] | {
        "search": search, "seconds": round(sum(run["seconds"] for run in tried.values()), 1),
        "note": f"Learning rates searched: {', '.join(search)}.",
    })  # fmt: skip
    with atomic(output) as temporary:
        shutil.copyfile(best.with_name("examples.npz"), temporary)
    print(f"mIoU by learning rate: {search}; the best is {best.parent}")
