"""Tables: params/tables.yaml's rows joined with the metrics of their models, our numbers beside the paper's.

One table becomes three files: CSV with every digit, for programs; Markdown and LaTeX with one decimal, for readers.
"""

import re
from pathlib import Path

import pandas as pd

from cae.errors import UserError
from cae.files import atomic, read_json
from cae.params import read, unknown

MISSING = "–"
LATEX = {c: f"\\{c}" for c in "&%$#_{}"}
LATEX |= {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
LATEX |= {"–": "--", "×": r"$\times$", "λ": r"$\lambda$", "√": r"$\surd$", "†": r"$\dagger$"}


def main(tables: str, name: str, scale: str, epochs: dict[str, int], metrics: list[str], output: str) -> None:
    """Write the table `name` of `tables` as `output` (.csv) and, beside it, as .md and .tex.

    `epochs`: what each model was pretrained for; `metrics`: evaluate/<protocol>/<model>.json of the cells run.
    """
    table = read_tables(tables, name)
    csv = join(table, epochs, read_cells(tables, name, table, metrics))
    notes = notes_of(table, csv, scale)
    title = f"Table {name.removeprefix('table')}"
    files = {
        ".csv": csv.to_csv(index=False, lineterminator="\n"),
        ".md": markdown(csv, table, f"# {title}, scale {scale}", notes),
        ".tex": latex(csv, table, [f"Scale {scale}.", *notes], f"tab:{name}"),
    }
    for suffix, text in files.items():
        with atomic(Path(output).with_suffix(suffix)) as temporary:
            temporary.write_text(text)


def read_tables(path: str, name: str) -> dict:
    tables = read(path)
    if name not in tables:
        raise UserError(f"{path}: {unknown(name, tables)}")
    return tables[name]


def read_cells(path: str, name: str, table: dict, metrics: list[str]) -> dict[tuple[str, str], float]:
    """Top-1 accuracy by (model, protocol)."""
    models = [row["model"] for row in table["rows"] if "model" in row]
    cells = {}
    for file in metrics:
        cell = read_json(file)
        for key, valid in ("model", models), ("protocol", table["columns"]):
            if cell.get(key) not in valid:
                raise UserError(f"{file}: {key}: {unknown(cell.get(key), valid)} ({name} of {path})")
        cells[cell["model"], cell["protocol"]] = cell["top1"]
    return cells


def join(table: dict, epochs: dict, cells: dict) -> pd.DataFrame:
    """One line a row, in the order of the params; ours and the paper's number side by side, None for none."""
    rows = []
    for row in table["rows"]:
        model, paper = row.get("model"), row.get("paper", {})
        out = {key: row.get(key) for key in ("model", "group", "method")}
        out |= {"epochs": epochs.get(model), "epochs_paper": paper.get("epochs")}
        for protocol in table["columns"]:
            out |= {protocol: cells.get((model, protocol)), f"{protocol}_paper": paper.get(protocol)}
        rows.append(out)
    return pd.DataFrame(rows, dtype=object)


def notes_of(table: dict, csv: pd.DataFrame, scale: str) -> list[str]:
    """What stands under a table: the params' note, why cells are empty, what may not be compared."""
    notes = [table["note"].strip()] if table.get("note") else []
    if csv[list(table["columns"])].isna().any(axis=None):
        notes.append(f"{MISSING}: not run.")
    if scale != "paper":
        notes.append(
            f"Numbers of the scale {scale} compare with nothing but themselves; the paper's, on the right of each "
            "pair, come from other data, sizes and schedules."
        )
    return notes


def cells_as_text(csv: pd.DataFrame, table: dict) -> pd.DataFrame:
    """The body as a reader sees it: one decimal, a dash where nothing was run, no column for programs."""

    def text(value, missing, form=".1f"):
        return missing if pd.isna(value) else format(value, form)

    body = {("Method", ""): csv["method"], ("Epochs", "ours"): [text(v, MISSING, "") for v in csv["epochs"]],
            ("Epochs", "paper"): [text(v, "", "") for v in csv["epochs_paper"]]}  # fmt: skip
    for protocol, heading in table["columns"].items():
        body[heading, "ours"] = [text(v, MISSING) for v in csv[protocol]]
        body[heading, "paper"] = [text(v, "") for v in csv[f"{protocol}_paper"]]
    return pd.DataFrame(body)


def with_groups(body: pd.DataFrame, groups: pd.Series, heading) -> pd.DataFrame:
    """A line `heading(group)` above each run of rows of one group."""
    lines, last = [], None
    for group, row in zip(groups, body.itertuples(index=False, name=None), strict=True):
        if pd.notna(group) and group != last:
            lines.append([heading(group)] + [""] * (body.shape[1] - 1))
        lines.append(row)
        last = group
    return pd.DataFrame(lines, columns=body.columns)


def markdown(csv: pd.DataFrame, table: dict, title: str, notes: list[str]) -> str:
    body = cells_as_text(csv, table)
    body = with_groups(body, csv["group"], lambda group: f"**{group}**").map(lambda text: text.replace("|", "\\|"))
    headings = [heading + (", paper" if whose == "paper" else "") for heading, whose in body]
    align = ["left"] + ["right"] * (body.shape[1] - 1)
    grid = body.to_markdown(index=False, headers=headings, colalign=align, disable_numparse=True)
    return "\n\n".join([title, table["title"].strip(), grid, *notes]) + "\n"


def latex(csv: pd.DataFrame, table: dict, notes: list[str], label: str) -> str:
    body = cells_as_text(csv, table).map(escape_latex).rename(columns=escape_latex)
    # \rlap lets a group's heading reach over the empty cells to its right without widening the first column.
    body = with_groups(body, csv["group"], lambda group: rf"\rlap{{\textit{{{escape_latex(group)}}}}}")
    text = body.style.hide(axis="index").to_latex(
        caption=escape_latex(" ".join([table["title"].strip(), *notes])), label=label, position="t",
        position_float="centering", hrules=True, multicol_align="c", column_format="l" + "r" * (body.shape[1] - 1),
    )  # fmt: skip
    return "% \\usepackage{booktabs}\n" + text


def escape_latex(text: str) -> str:
    return re.sub("|".join(map(re.escape, LATEX)), lambda match: LATEX[match[0]], text)
