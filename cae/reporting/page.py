"""The page: every table and figure of a scale in one self-contained HTML file."""

import base64
from itertools import groupby
from pathlib import Path

import jinja2
import pandas as pd
import yaml

from cae.files import atomic, read_json, revision
from cae.params import Params, Table, read
from cae.reporting import models
from cae.reporting.figures import caption_of
from cae.reporting.tables import MISSING, cells_as_text, notes_of


def main(scale: str, params: dict, inputs: list[str], output: str) -> None:
    """Write the page `output` from `inputs`, told apart by suffix: tables (.csv; models.csv is that of the models) and
    figures (.png), in their order; for the words around them, params/tables.yaml (.yaml) and the manifests of the data
    (.json); a template (.j2), if not the one beside this file."""
    of = {".csv": [], ".png": [], ".yaml": [], ".json": [], ".j2": []}
    for path in map(Path, inputs):
        of[path.suffix].append(path)
    texts = {name: Table.model_validate(table) for path in of[".yaml"] for name, table in read(path).items()}
    template = next(iter(of[".j2"]), Path(__file__).with_name("page.html.j2")).read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    page = environment.from_string(template).render(
        scale=scale,
        tables=[read_table(path, texts[path.stem], scale) for path in of[".csv"] if path.stem in texts],
        models=next((read_models(path) for path in of[".csv"] if path.stem == "models"), None),
        figures=[read_figure(path) for path in of[".png"]],
        data={path.stem: image_counts(path) for path in of[".json"]},
        seed=params["seed"],
        revision=revision(),
        yaml=yaml.safe_dump(params, sort_keys=False),
        **summary(Params(**params)),
    )
    with atomic(output) as temporary:
        temporary.write_text(page)


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

    def line_of(model, texts):
        ids = [f"{path.stem}-{model}-{name}" if (model, name) in known else None for name in names]
        return list(zip(texts, kinds, ids))

    models = csv["model"].fillna("")
    rows = zip(csv["group"].fillna(""), models, map(line_of, models, body.values.tolist()), strict=True)
    run = int(csv[list(table.columns)].count().sum())
    missing = body[list(ours)].eq(MISSING).to_numpy().sum()
    return {
        "name": path.stem,
        "title": heading(path.stem),
        "text": table.title,
        "columns": [(name, [whose for _, whose in pair]) for name, pair in groupby(body, key=lambda head: head[0])][1:],
        "width": len(kinds),
        "groups": [(group, list(lines)) for group, lines in groupby(rows, key=lambda row: row[0])],
        "notes": notes_of(table, csv, origins["note"], scale),
        "cells": run + int(missing),
        "run": run,
        "provenance": origins.drop(columns="note").to_dict("records"),
    }


def read_models(path: Path) -> dict:
    body = models.as_text(pd.read_csv(path))
    kinds = ["text" if column in models.WORDS else "" for column in models.COLUMNS]
    columns, *rows = [list(zip(line, kinds)) for line in (list(body), *body.values.tolist())]
    return {"columns": columns, "rows": rows, "note": models.NOTE}


def read_figure(path: Path) -> dict:
    kind, _, which = path.stem.partition("-")  # tokenizer-<name>
    return {
        "name": path.stem,
        "title": f"{heading(kind)} {which}".strip(),
        "caption": caption_of(path.stem),
        "data": base64.b64encode(path.read_bytes()).decode(),
    }


def image_counts(manifest: Path) -> list[int]:
    """Images to train on and to validate on."""
    return [len(split["images"]) for split in read_json(manifest)["splits"].values()]


def heading(name: str) -> str:
    """ "Figure 3" of "figure3"."""
    word = name.rstrip("0123456789")
    return f"{word.capitalize()} {name[len(word) :]}".strip()


def summary(params: Params) -> dict:
    """How many models were made how; and their resolved recipes, method by method: what differs between models, one line
    a model, and what all of the method share."""
    recipes = params.pretrainings()
    built = [recipe.epochs for recipe in recipes.values() if recipe.source == "built"]
    methods = {}
    for name, recipe in recipes.items():
        methods.setdefault(models.METHODS[recipe.method], {})[name] = flatten(recipe.model_dump())
    return {
        "recipes": {method: compare(recipes) for method, recipes in methods.items()},
        "count": len(recipes),
        "released": len(recipes) - len(built),
        "epochs": sorted(filter(None, built)),
    }


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
