"""The page: every table and figure of a scale in one self-contained HTML file."""

import base64
import re
from collections import Counter
from collections.abc import Collection
from itertools import groupby
from pathlib import Path

import jinja2
import pandas as pd
import yaml

from cae.files import read_json, revision, write_text
from cae.options import Benchmarks, Inputs, OutputFile, Scale, WholeParams
from cae.params import Params, Pretraining, Table, read
from cae.reporting import claims, models, tables
from cae.reporting.figures import caption_of
from cae.reporting.tables import MISSING, cells_as_text, notes_of, title_of

VERDICTS = ("holds", "fails", "undecided", "not run")
FIRST = ("figure4", "figure5", "figure7")  # what the constraint does, what the encoder groups, what a probe looks at
APART = 3  # from the paper's number: as dark as a difference gets


def main(
    *inputs: Inputs, scale: Scale, params: WholeParams, output: OutputFile, benchmarks: Benchmarks | None = None
) -> None:
    """Write the report of a scale as one HTML page.

    `inputs` are told apart by suffix: tables (.csv; claims, order and models are those of these names) and figures (.png), in
    their order; for the words around them, params/tables.yaml (.yaml) and the manifests of the data (.json); a template
    (.j2), if not the one beside this file.
    """
    of = {".csv": [], ".png": [], ".yaml": [], ".json": [], ".j2": []}
    for path in map(Path, inputs):
        of[path.suffix].append(path)
    texts = {name: Table.model_validate(table) for path in of[".yaml"] for name, table in read(path).items()}
    template = next(iter(of[".j2"]), Path(__file__).with_name("page.html.j2")).read_text(encoding="utf-8")
    apart = {path.stem: path for path in of[".csv"]}
    figures = [read_figure(path) for path in of[".png"]]
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    page = environment.from_string(template).render(
        scale=scale,
        tables=[read_table(path, texts[path.stem], scale) for path in of[".csv"] if path.stem in texts],
        claims=read_claims(apart["claims"]) if "claims" in apart else None,
        claims_note=claims.NOTE,
        order=read_plain(apart["order"]) if "order" in apart else None,
        models=read_models(apart["models"]) if "models" in apart else None,
        costs=read_costs(benchmarks) if benchmarks else [],
        figures=figures,
        first=[figure for figure in figures if figure["name"] in FIRST],
        data={path.stem: image_counts(path) for path in of[".json"]},
        revision=revision(),
        yaml=yaml.safe_dump(params, sort_keys=False),
        **summary(Params(**params), hidden(texts, apart.keys())),
    )
    write_text(output, page)


def read_table(path: Path, table: Table, scale: str) -> dict:
    """A table for the template."""
    whole = [fact + whose for fact in ("epochs", "crops") for whose in ("", "_paper")]
    csv = pd.read_csv(path, dtype=dict.fromkeys(whole, "Int64"))
    body = cells_as_text(csv, table)
    kinds = [{"": "text", "ours": ""}.get(whose, whose) for _, whose in body]
    origins = pd.read_csv(path.with_name(f"{path.stem}-cells.csv"), dtype=str, keep_default_na=False)
    known = set(zip(origins["model"], origins["column"]))
    ours = {(column.heading, "ours"): name for name, column in table.columns.items()}
    names = [ours.get(head) for head in body]  # of the columns whose cells were run
    best, dark = tables.best_cells(csv, table), shades(csv, table, scale).reindex(columns=body.columns)

    def line_of(model, texts, best, dark):
        ids = [f"{path.stem}-{model}-{name}" if (model, name) in known else None for name in names]
        marks = [shade if pd.notna(shade) else None for shade in dark]
        return list(zip(texts, kinds, ids, best, marks))

    models = csv["model"].fillna("")
    parts = (frame.to_numpy().tolist() for frame in (body, best, dark))
    rows = zip(csv["group"].astype(object).fillna(""), models, map(line_of, models, *parts), strict=True)
    run = int(csv[list(table.columns)].count().sum())
    missing = body[list(ours)].eq(MISSING).to_numpy().sum()
    return {
        "name": path.stem,
        "title": title_of(path.stem),
        "text": table.title,
        "columns": [
            (name, [(whose, at) for at, (_, whose) in pair])
            for name, pair in groupby(enumerate(body), key=lambda head: head[1][0])
        ][1:],
        "width": len(kinds),
        "groups": [(group, list(lines)) for group, lines in groupby(rows, key=lambda row: row[0])],
        "notes": notes_of(table, csv, origins["note"], scale),
        "cells": run + int(missing),
        "run": run,
        "provenance": origins.drop(columns="note").to_dict("records"),
    }


def shades(csv: pd.DataFrame, table: Table, scale: str) -> pd.DataFrame:
    """How dark a cell's ground is, in the columns of `cells_as_text`: -1 to 1, NaN for not at all.

    At the paper's scale ours by its difference to the paper's. At another such a difference means nothing: there ours and the
    paper's by their places among the rows that have both, so that a pair of one shade has kept its place. Numbers of another
    protocol than their column's, for reference, have no place.
    """
    out = {}
    for name, column in table.columns.items():
        other = {row.model for row in table.rows if table.cells_of(row).get(name, column.protocol) != column.protocol}
        pair = csv[[name, f"{name}_paper"]].apply(pd.to_numeric)
        pair.loc[csv["model"].isin(other)] = None
        if scale == "paper":
            out[column.heading, "ours"] = ((pair[name] - pair[f"{name}_paper"]) / APART).clip(-1, 1).round(2)
        else:
            places = pair.where(pair.notna().all(axis=1)).rank() - 1
            places = (places / places.max()).round(2)
            out |= {(column.heading, whose): places[key] for whose, key in (("ours", name), ("paper", f"{name}_paper"))}
    return pd.DataFrame(out, index=csv.index)


def read_claims(path: Path) -> dict:
    table = read_plain(path)
    verdicts = [dict(zip(table["columns"], row))["verdict"] for row in table["rows"]]
    return table | {"counts": [(verdict, verdicts.count(verdict)) for verdict in VERDICTS]}


def read_plain(path: Path) -> dict:
    """A table as it is, but for digits that nobody reads; which columns hold numbers alone."""
    csv = pd.read_csv(path, dtype=str, keep_default_na=False)
    body = csv.map(lambda text: f"{float(text):.2f}" if re.fullmatch(r"-?\d+\.\d{3,}", text) else text)
    numbers = {name for name in csv if csv[name].any() and csv[name].str.fullmatch(r"([-+−]?[\d.]+)?").all()}
    return {"columns": list(csv), "numbers": numbers, "rows": body.to_numpy().tolist()}


def read_costs(folder: Path) -> list[dict]:
    """What the jobs of each step took, by Snakemake's benchmarks, the longest first."""
    costs = []
    for step in sorted({path.relative_to(folder).parts[0] for path in folder.rglob("*.tsv")}):
        jobs = pd.concat(
            [pd.read_csv(path, sep="\t", na_values="-") for path in sorted((folder / step).rglob("*.tsv"))]
        )
        seconds, longest, memory = jobs["s"].sum(), jobs["s"].max(), jobs["max_rss"].max()
        costs.append([step, len(jobs), seconds, longest, memory, jobs["cpu_time"].sum() / 60])
    return sorted(costs, key=lambda cost: -cost[2])


def read_models(path: Path) -> dict:
    body = models.as_text(pd.read_csv(path))
    kinds = ["text" if column in models.WORDS else "" for column in models.COLUMNS]
    columns, *rows = [list(zip(line, kinds)) for line in (list(body), *body.values.tolist())]
    return {"columns": columns, "rows": rows, "note": models.NOTE}


def read_figure(path: Path) -> dict:
    return {
        "name": path.stem,
        "title": title_of(path.stem),
        "caption": caption_of(path.stem),
        "data": base64.b64encode(path.read_bytes()).decode(),
    }


def image_counts(manifest: Path) -> list[int]:
    """Images to train on and to validate on."""
    return [len(split["images"]) for split in read_json(manifest)["splits"].values()]


def hidden(tables: dict[str, Table], shown: Collection[str]) -> set[str]:
    """Models that are in no table but in those of our own that this scale does not show."""
    models = {True: set(), False: set()}
    for name, table in tables.items():
        models[table.own and name not in shown] |= {row.model for row in table.rows if row.model}
    return models[True] - models[False]


def summary(params: Params, hidden: Collection[str] = ()) -> dict:
    """How many models were made how, those that are not `hidden`; and their resolved recipes, method by method: what differs
    between models, one line a model, and what all of the method share."""
    hidden = set(hidden) - set(params.only or [])
    recipes = {name: each for name, each in params.pretrainings().items() if name.partition("@")[0] not in hidden}
    built = [recipe.epochs for recipe in recipes.values() if recipe.source == "built"]
    methods = {}
    for name, recipe in recipes.items():
        methods.setdefault(recipe.title, {})[name] = flatten(recipe.later | recipe.model_dump())
    return {
        "recipes": {method: compare(recipes) for method, recipes in methods.items()},
        "count": len(recipes),
        "left_out": len(params.models.keys() - {name.partition("@")[0] for name in recipes} - hidden),
        "released": len(recipes) - len(built),
        "epochs": sorted(filter(None, built)),
        "seeds": seeds_as_text(recipes, params),
    }


def seeds_as_text(recipes: dict[str, Pretraining], params: Params) -> str:
    """The seeds of all models: "0, 1, 2", or, where models differ, "0, 1, 2 of 12 models; 0 of 10"."""
    of = {}
    for name in recipes:
        of.setdefault(name.partition("@")[0], []).append(str(params.seed_of(name)))
    counts = Counter(map(", ".join, of.values()))
    if len(counts) == 1:
        return next(iter(counts))
    return "; ".join(f"{seeds} of {count} model{'s' * (count > 1)}" for seeds, count in counts.most_common())


def compare(recipes: dict[str, dict]) -> dict:
    first = next(iter(recipes.values()))
    differing = [key for key in first if any(recipe[key] != first[key] for recipe in recipes.values())]
    return {
        "models": {name: [recipe[key] for key in differing] for name, recipe in recipes.items()},
        "differing": differing,
        "shared": {key: value for key, value in first.items() if key not in differing},
    }


def flatten(params: dict, prefix: str = "") -> dict:
    """Nested mappings as one, its keys joined by points."""
    out = {}
    for key, value in params.items():
        out |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return out
