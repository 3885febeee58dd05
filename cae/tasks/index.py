"""List a data set in a manifest, which everything else reads; of the demo, write its images first."""

from pathlib import Path

from cae.data import few_labels, manifests
from cae.data.demo import write_demo
from cae.options import Batches, Classes, DataLayout, OutputFile, Root, Scenes, Seed, Threads, Unreadable


def main(
    *, layout: DataLayout, root: Root, classes: Classes | None = None, unreadable: Unreadable = "stop",
    batches: Batches | None = None, threads: Threads = 1, output: OutputFile,
) -> None:  # fmt: skip
    """Check all images of a data set and write its manifest.

    Raises UserError where an image cannot be used, or where a batch is larger than what it is drawn from.
    """
    manifests.index(layout, root, output, threads, classes, batches, unreadable)
    few_labels.check({output: batches or {}})


def make(
    *, layout: DataLayout, root: Root, seed: Seed, scenes: Scenes | None = None, classes: Classes | None = None,
    unreadable: Unreadable = "stop", batches: Batches | None = None, threads: Threads = 1, output: OutputFile,
) -> None:  # fmt: skip
    """Write the demo's images in a layout, and their manifest."""
    write_demo(layout, Path(root), seed, scenes)
    main(
        layout=layout,
        root=root,
        classes=classes,
        unreadable=unreadable,
        batches=batches,
        threads=threads,
        output=output,
    )
