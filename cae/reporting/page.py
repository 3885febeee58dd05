"""The page: every table and figure of a scale in one self-contained HTML file."""

import base64
from itertools import groupby
from pathlib import Path

import jinja2
import pandas as pd
import yaml

from cae.files import atomic, read_json, revision
from cae.params import Params, Table, read, validate
from cae.reporting import models
from cae.reporting.figures import caption_of
from cae.reporting.tables import MISSING, cells_as_text, notes_of


def main(scale: str, params: dict, inputs: list[str], output: str) -> None:
    """Write the page `output` from `inputs`, told apart by suffix: tables (.csv; models.csv is that of the models) and
    figures (.png), in their order; and, for the words around them, params/tables.yaml (.yaml) and the manifests of the
    data (.json)."""
    of = {".csv": [], ".png": [], ".yaml": [], ".json": []}
    for path in map(Path, inputs):
        of[path.suffix].append(path)
    texts = {name: Table.model_validate(table) for path in of[".yaml"] for name, table in read(path).items()}
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    page = environment.from_string(TEMPLATE).render(
        scale=scale,
        tables=[read_table(path, texts[path.stem], scale) for path in of[".csv"] if path.stem in texts],
        models=next((read_models(path) for path in of[".csv"] if path.stem == "models"), None),
        figures=[read_figure(path) for path in of[".png"]],
        data={path.stem: image_counts(path) for path in of[".json"]},
        seed=params["seed"],
        revision=revision(),
        yaml=yaml.safe_dump(params, sort_keys=False),
        **summary(validate([("--params", params)])),
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
    recipes = {name: params.pretraining(name) for name in params.models}
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


# Here and not in a file of its own, so that a change of it is a change of code, and the page is made again.
TEMPLATE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Context Autoencoder, scale {{ scale }}</title>
<style>
:root { color-scheme: light dark; --text: #1c1c1e; --dim: #5f6368; --line: #d5d7db; --back: #fff; --soft: #f3f4f6;
  --warn: #fff4d6; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e6e6e8; --dim: #a0a4ab; --line: #43464c; --back: #17181b; --soft: #222429; --warn: #3a3115; }
}
body { max-width: 62rem; margin: 2rem auto; padding: 0 1rem; font: 1rem/1.5 system-ui, sans-serif; color: var(--text);
  background: var(--back); }
h1 { font-size: 1.6rem; line-height: 1.2; }
h2 { font-size: 1.25rem; margin-top: 2.5rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 2rem 0 0.25rem; }
nav a { margin-right: 1rem; }
a { color: inherit; }
dt { color: var(--dim); }
dd { margin: 0; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0.2rem 1rem; }
aside { background: var(--warn); border-radius: 6px; padding: 0.7rem 1rem; margin: 1rem 0; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; white-space: nowrap; margin: 0.5rem 0;
  border-block: 2px solid var(--text); }
th, td { padding: 0.2rem 0.6rem; text-align: right; font-weight: normal; }
th[scope=row], th[scope=rowgroup], thead th:first-child { text-align: left; }
th[scope=colgroup] { text-align: center; }
thead th { font-weight: 600; }
thead { border-bottom: 1px solid var(--text); }
tbody + tbody { border-top: 1px solid var(--line); }
th[scope=rowgroup] { font-style: italic; }
.paper { color: var(--dim); }
.text { text-align: left; }
.small { font-size: 0.75rem; }
tr:target { background: var(--warn); }
td a { text-decoration: none; }
td a:hover { text-decoration: underline; }
code, pre { font: 0.85em ui-monospace, monospace; }
th code { color: var(--dim); margin-left: 0.5rem; }
pre { background: var(--soft); padding: 0.8rem; border-radius: 6px; overflow-x: auto; }
figure { margin: 0; }
figure img { max-width: 100%; height: auto; background: #fff; border-radius: 6px; }
.note, figcaption { color: var(--dim); font-size: 0.9rem; margin: 0.3rem 0; }
summary { cursor: pointer; margin: 1rem 0; }
</style>
</head>
<body>
<header>
<h1>Context Autoencoder: reproduction, scale {{ scale }}</h1>
<p class="note">Chen et al., “Context Autoencoder for Self-Supervised Representation Learning”</p>
<nav>
{% for item in tables + figures %}
<a href="#{{ item.name }}">{{ item.title }}</a>
{% endfor %}
{% if models %}
<a href="#models">Models</a>
{% endif %}
<a href="#provenance">Provenance</a>
<a href="#params">Params</a>
</nav>
</header>
<main>
<section>
<h2>Summary</h2>
{% if scale != "paper" %}
<aside role="note"><strong>The numbers below are of the scale {{ scale }}.</strong> They compare with nothing but
themselves: data, model sizes and schedules are not the paper’s. The paper’s numbers stand beside them to show what the
full scale aims at.</aside>
{% endif %}
<dl>
<dt>Pretrained</dt><dd>{{ epochs | length }} of {{ count }} models
{%- if epochs %}, for {{ epochs[0] }}{% if epochs[-1] != epochs[0] %} to {{ epochs[-1] }}{% endif %} epochs{% endif %};
{% if released %}{{ released }} are taken as released; {% endif %}the others are encoders as initialised</dd>
{% for name, (train, val) in data.items() %}
<dt>Data, {{ name }}</dt><dd>{{ "{:,}".format(train) }} images to train on, {{ "{:,}".format(val) }} to validate on</dd>
{% endfor %}
<dt>Evaluated</dt><dd>{{ tables | sum("run") }} of {{ tables | sum("cells") }} cells of the tables</dd>
<dt>Seed</dt><dd>{{ seed }}</dd>
<dt>Git revision</dt><dd><code>{{ revision }}</code></dd>
</dl>
<p>How a context autoencoder is pretrained:</p>
<ol>
<li>Patches of the image are masked in blocks; the encoder sees the visible patches only.</li>
<li>A latent contextual regressor predicts the representations of the masked patches from those of the visible.</li>
<li>An alignment loss keeps these predictions in the encoder’s own space: they should equal what the encoder makes of
the masked patches.</li>
<li>A decoder maps the predictions to the targets, the tokens of the masked patches. The encoder alone is kept.</li>
</ol>
</section>
<section>
<h2>Tables</h2>
<p class="note">In %, ours and, beside it, the paper’s. A number of ours leads to where it comes from. The files are in
<code>tables/</code> as CSV (every digit), Markdown and LaTeX.</p>
{% for table in tables %}
<h3 id="{{ table.name }}">{{ table.title }}</h3>
<p>{{ table.text }}</p>
<div class="wide"><table>
<thead>
<tr><th rowspan="2" scope="col">Method</th>
{%- for c, parts in table.columns %}
<th {% if parts[0] %}colspan="2" scope="colgroup"{% else %}rowspan="2" scope="col" class="text"{% endif %}>{{ c }}</th>
{% endfor %}</tr>
<tr>{% for _, parts in table.columns if parts[0] %}<th scope="col">ours</th><th scope="col" class="paper">paper</th>
{%- endfor %}</tr>
</thead>
{% for group, rows in table.groups %}
<tbody>
{% if group %}
<tr><th scope="rowgroup" colspan="{{ table.width }}">{{ group }}</th></tr>
{% endif %}
{% for _, model, cells in rows %}
<tr><th scope="row">{{ cells[0][0] }}{% if model %} <code>{{ model }}</code>{% endif %}</th>
{%- for cell, kind, id in cells[1:] %}<td{% if kind %} class="{{ kind }}"{% endif %}>
{%- if id %}<a href="#{{ id }}">{{ cell }}</a>{% else %}{{ cell }}{% endif %}</td>{% endfor %}</tr>
{% endfor %}
</tbody>
{% endfor %}
</table></div>
{% for note in table.notes %}
<p class="note">{{ note }}</p>
{% endfor %}
{% endfor %}
</section>
<section>
<h2>Figures</h2>
<p class="note">The files are in <code>figures/</code> as PNG and PDF.</p>
{% for figure in figures %}
<h3 id="{{ figure.name }}">{{ figure.title }}</h3>
<figure>
<img src="data:image/png;base64,{{ figure.data }}" alt="{{ figure.title }}: {{ figure.caption }}">
<figcaption>{{ figure.caption }}</figcaption>
</figure>
{% endfor %}
</section>
{% if models %}
<section id="models">
<h2>Models</h2>
<p class="note">The file is <code>tables/models.csv</code>.</p>
<div class="wide"><table>
<thead><tr>{% for c, kind in models.columns %}<th scope="col"{% if kind %} class="{{ kind }}"{% endif %}>{{ c }}</th>
{%- endfor %}</tr></thead>
<tbody>
{% for row in models.rows %}
<tr><th scope="row">{{ row[0][0] }}</th>
{%- for value, kind in row[1:] %}<td{% if kind %} class="{{ kind }}"{% endif %}>{{ value }}</td>{% endfor %}</tr>
{% endfor %}
</tbody>
</table></div>
<p class="note">{{ models.note }}</p>
</section>
{% endif %}
<section id="provenance">
<h2>Provenance</h2>
<p class="note">What made each number of the tables: hash of params and data, git revision (“+”: edited since), the job’s
seconds and images a second, its metrics and its log. The files are <code>tables/table…-cells.csv</code>.</p>
{% for table in tables if table.provenance %}
<div class="wide"><table class="small">
<thead><tr>{% for key in table.provenance[0] %}<th scope="col" class="text">
{%- if loop.first %}{{ table.title }}{% else %}{{ key | replace("_", " ") }}{% endif %}</th>{% endfor %}</tr></thead>
<tbody>
{% for cell in table.provenance %}
<tr id="{{ table.name }}-{{ cell.model }}-{{ cell.column }}"><th scope="row">{{ cell.model }}</th>
{%- for key, value in cell.items() if key != "model" %}<td class="text">
{%- if key == "params_hash" %}<code title="{{ value }}">{{ value[:12] }}</code>{% else %}{{ value }}{% endif %}</td>
{%- endfor %}</tr>
{% endfor %}
</tbody>
</table></div>
{% endfor %}
</section>
<section id="params">
<h2>Params</h2>
{% for method, part in recipes.items() %}
<details>
<summary>Recipes of {{ method }}</summary>
<div class="wide"><table>
<thead><tr><th scope="col">Model</th>{% for key in part.differing %}<th scope="col">{{ key }}</th>{% endfor %}</tr></thead>
<tbody>
{% for name, values in part.models.items() %}
<tr><th scope="row">{{ name }}</th>{% for value in values %}<td>{{ value }}</td>{% endfor %}</tr>
{% endfor %}
</tbody>
</table></div>
<p>The same for all of them:</p>
<dl>
{% for key, value in part.shared.items() %}
<dt>{{ key }}</dt><dd>{{ value }}</dd>
{% endfor %}
</dl>
</details>
{% endfor %}
<details>
<summary>All params of the scale</summary>
<pre>{{ yaml }}</pre>
</details>
</section>
</main>
</body>
</html>
"""
