"""The models of a scale, one line each: what they are, how long they were trained here, what the loss did."""

import json
from pathlib import Path

import pandas as pd

from cae.files import read_json, write_text
from cae.options import Inputs, OutputFile, Scale
from cae.params import METHODS

COLUMNS = {  # heading and format
    "model": ("Model", ""), "method": ("Method", ""), "source": ("Source", ""), "epochs": ("Epochs", ""),
    "images": ("Images", ",.0f"), "seconds": ("Seconds", ",.0f"), "images_per_second": ("Images/s", ",.0f"),
    "loss_first": ("First loss", ".3f"), "loss_last": ("Last loss", ".3f"),
}  # fmt: skip
WORDS = {"model", "method", "source"}
NOTE = (
    "Images are those seen in training. Nothing was trained here where the columns behind are empty: a released encoder, or "
    "one left as initialised. Losses are means over a hundredth of the run or less; of different methods they do not compare."
)


def main(*inputs: Inputs, scale: Scale, output: OutputFile) -> None:
    """List the models of a scale.

    `output` is .csv, beside it is .md. `inputs`: pretrain/<model>/provenance.json and, of models trained here, metrics.jsonl.
    """
    about = [path for path in map(Path, inputs) if path.suffix == ".json"]
    logs = {path.parent: path for path in map(Path, inputs) if path.suffix == ".jsonl"}
    csv = pd.DataFrame([line(path, logs.get(path.parent)) for path in about], columns=COLUMNS, dtype=object)
    text = as_text(csv)
    align = ["left" if column in WORDS else "right" for column in COLUMNS]
    grid = text.to_markdown(index=False, colalign=align, disable_numparse=True)
    files = {
        ".csv": csv.to_csv(index=False, lineterminator="\n"),
        ".md": "\n\n".join([f"# Models, scale {scale}", grid, NOTE]) + "\n",
    }
    for suffix, content in files.items():
        write_text(Path(output).with_suffix(suffix), content)


def line(provenance: Path, log: Path | None) -> dict:
    params = read_json(provenance)["params"]
    out = {"model": provenance.parent.name} | {key: params[key] for key in ("method", "source", "epochs")}
    if rows := read_lines(log) if log else []:
        first, last = rows[0], rows[-1]
        out |= {"images": last["images"], "seconds": last["seconds"],
                "images_per_second": round(last["images"] / max(last["seconds"], 0.1), 1),
                "loss_first": first["loss"], "loss_last": last["loss"]}  # fmt: skip
    return out


def as_text(csv: pd.DataFrame) -> pd.DataFrame:
    """The table as a reader sees it."""
    csv = csv.assign(method=[METHODS[method].title for method in csv["method"]])
    return pd.DataFrame(
        {
            heading: ["" if pd.isna(value) else format(value, form) for value in csv[column]]
            for column, (heading, form) in COLUMNS.items()
        }
    )


def read_lines(path: str | Path) -> list[dict]:
    return [json.loads(row) for row in Path(path).read_text().splitlines()]
