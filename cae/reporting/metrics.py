"""Numbers in the forms that `dvc metrics` and `dvc plots` read: a file a model."""

from pathlib import Path

import pandas as pd

from cae.errors import UserError
from cae.files import atomic, read_json, write_json
from cae.options import Inputs, Numbers, OutputFolder
from cae.reporting.models import read_lines


def main(*inputs: Inputs, params: Numbers, output: OutputFolder) -> None:
    """Write metrics and losses in the form that DVC shows.

    metrics/<model>.json and losses/<model>.csv in `output`. `params`: which metrics are shown of each protocol; `inputs`:
    evaluate/<protocol>/<model>.json, and metrics.jsonl of models trained here. A row of DVC's table is a model, a column a
    metric.
    """
    models: dict[str, dict] = {}
    for path in (path for path in map(Path, inputs) if path.suffix == ".json"):
        cell = read_json(path)
        protocol = cell.get("protocol")
        if missing := set(params.get(protocol, ["protocol of the tables"])) - cell.keys():
            raise UserError(f"{path}: has no {min(missing)}; delete it and make it again")
        models.setdefault(path.stem, {})[protocol] = {name: cell[name] for name in params[protocol]}
    for model, shown in models.items():
        write_json(Path(output, "metrics", f"{model}.json"), shown)
    for path in (path for path in map(Path, inputs) if path.suffix == ".jsonl"):
        with atomic(Path(output, "losses", f"{path.parent.name}.csv")) as temporary:
            pd.DataFrame(read_lines(path))[["images", "loss"]].to_csv(temporary, index=False, lineterminator="\n")
