"""Tables: params/tables.yaml's rows joined with the metrics of their models, our numbers beside the paper's.

One table becomes three files: CSV with every digit, for programs; Markdown and LaTeX with one decimal, for readers. A
fourth, <table>-cells.csv, says of each cell where it comes from.
"""

import re
from pathlib import Path
from statistics import mean, stdev

import pandas as pd

from cae.errors import UserError
from cae.files import read_json, write_text
from cae.options import Facts, Inputs, Name, OutputFile, Scale, Tables
from cae.params import Row, Table, read, unknown

MISSING, NOTHING = "–", "n/a"
WHY = {MISSING: "not run at this scale", NOTHING: "does not apply"}
# Of a cell's job, by itself:
RECORDED = ("params_hash", "seconds", "images_per_second", "val_images", "precision", "machine", "revision")
LOGS = {"linear": "probe", "attentive": "probe", "supervised": "classify"}  # folders of logs that no protocol names
FACTS = {"tokenizer": "Tokenizer", "epochs": "Epochs", "crops": "Crops"}  # headings of columns about the model itself
OURS_ALONE = {"tokenizer"}  # the paper's is the row's name
LATEX = {c: f"\\{c}" for c in "&%$#_{}"}
LATEX |= {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
LATEX |= {"ᵇ": "$^b$", "ᵐ": "$^m$", "∗": "$^*$", "–": "--", "×": r"$\times$", "λ": r"$\lambda$", "√": r"$\surd$"}
LATEX |= {"†": r"$\dagger$", "±": r"$\pm$"}


def main(*inputs: Inputs, tables: Tables, name: Name, scale: Scale, facts: Facts, output: OutputFile) -> None:
    """Write one table from the metrics of its cells.

    `output` is .csv, beside it are .md and .tex. `facts`: of each model of this scale, what the table's columns about it show,
    e.g. {"epochs": 300, "crops": None}; `inputs`: evaluate/<protocol>/<model>.json of the cells that were run.
    """
    table = read_table(tables, name)
    cells = read_cells(tables, name, table, inputs)
    csv, origins = join(table, facts, cells), provenance(table, cells, scale)
    notes = notes_of(table, csv, origins["note"], scale)
    files = {
        ".csv": csv.to_csv(index=False, lineterminator="\n"),
        ".md": markdown(csv, table, f"# {title_of(name)}, scale {scale}", notes),
        ".tex": latex(csv, table, [f"Scale {scale}.", *notes], f"tab:{name}"),
    }
    paths = {Path(output).with_suffix(suffix): text for suffix, text in files.items()}
    paths[Path(output).with_name(f"{name}-cells.csv")] = origins.to_csv(index=False, lineterminator="\n")
    for path, text in paths.items():
        write_text(path, text)


def read_table(path: str, name: str) -> Table:
    tables = read(path)
    if name not in tables:
        raise UserError(f"{path}: {unknown(name, tables)}")
    return Table.model_validate(tables[name])


def read_cells(path: str, name: str, table: Table, metrics: list[str]) -> dict[tuple[str, str], dict]:
    """Metrics by (model, protocol)."""
    models = [row.model for row in table.rows if row.model]
    needed, cells = table.metrics, {}
    for file in metrics:
        cell = read_json(file)
        model = str(cell.get("model")).partition("@")[0]
        for key, said, valid in ("model", model, models), ("protocol", cell.get("protocol"), needed):
            if said not in valid:
                raise UserError(f"{file}: {key}: {unknown(said, valid)} ({name} of {path})")
        if missing := set(needed[cell["protocol"]]) - cell.keys():
            raise UserError(f"{file}: has no {min(missing)}; delete it and make it again ({name} of {path})")
        cells[cell["model"], cell["protocol"]] = cell
    return cells


def provenance(table: Table, cells: dict, scale: str) -> pd.DataFrame:
    """One line a cell that was run, and each seed of it: its number, and the params, the code, the time, the file and the
    log behind it."""
    rows = []
    for row in table.rows:
        for column, protocol in table.cells_of(row).items():
            for model, cell in seeds_of(cells, row.model, protocol).items():
                file = f"results/{scale}/evaluate/{protocol}/{model}.json"
                log = f"work/{scale}/logs/{LOGS.get(protocol, protocol)}/{model}.log"
                value, recorded = cell[table.columns[column].metric], (cell.get(key) for key in RECORDED)
                rows.append([model, column, protocol, value, *recorded, file, log, cell.get("note", "")])
    return pd.DataFrame(rows, columns=["model", "column", "protocol", "value", *RECORDED, "metrics", "log", "note"])


def seeds_of(cells: dict, model: str | None, protocol: str) -> dict[str, dict]:
    """Metrics of a model and of its further seeds, <model>@<seed>, by name."""
    return {name: cell for (name, by), cell in cells.items() if by == protocol and name.partition("@")[0] == model}


def join(table: Table, facts: dict, cells: dict) -> pd.DataFrame:
    """One line a row, in the order of the params; ours and the paper's number side by side, None for none.

    Where some model has several seeds, ours is their mean, and behind it are their sample standard deviation (`_sd`, none of a
    single seed) and their number (`_n`).
    """
    several = any("@" in model for model, _ in cells)
    rows = []
    for row in table.rows:
        ours = dict(facts.get(row.model, {}))
        for column, protocol in table.cells_of(row).items():
            numbers = [cell[table.columns[column].metric] for cell in seeds_of(cells, row.model, protocol).values()]
            if numbers:
                ours[column] = mean(numbers) if len(numbers) > 1 else numbers[0]
                ours |= {f"{column}_sd": stdev(numbers) if len(numbers) > 1 else None, f"{column}_n": len(numbers)}
        out = {"model": row.model, "group": row.group or None, "method": name_of(row, ours.get("tokenizer"))}
        out |= {key: row.words.get(key, words.usual) for key, words in table.words.items()}
        for column in (*table.facts, *table.columns):
            out[column] = ours.get(column)
            if column not in OURS_ALONE:
                out[f"{column}_paper"] = row.paper.get(column)
            if several and column in table.columns:
                out |= {f"{column}_{what}": ours.get(f"{column}_{what}") for what in ("sd", "n")}
        rows.append(out)
    return pd.DataFrame(rows, dtype=object)


def name_of(row: Row, tokenizer: str | None) -> str:
    """A row's name; where another kind of tokenizer stands for the one that it names, e.g. "dvae (d-VAE, 128 codes)", that
    too."""
    kind = re.search(r"\((.*),", tokenizer or "")
    if not kind or kind[1] in row.method:
        return row.method
    return f"{row.method} (here {tokenizer.partition(' (')[2]}".replace(") (", "; ")


def notes_of(table: Table, csv: pd.DataFrame, said: pd.Series, scale: str) -> list[str]:
    """What stands under a table: the params' note, what evaluations have `said` of how they were done, why cells are
    empty, what may not be compared."""
    notes = [table.note.strip()] if table.note else []
    notes += [note for note in said.unique() if note]
    body = cells_as_text(csv, table)
    counts = seed_counts(csv, table)
    if several := [n for n in counts if n > 1]:
        mark, n = ("a ± b", several[0]) if len(several) == 1 else ("a ± b (n)", "n")
        others = "; a number without ±: of one seed" if 1 in counts else ""
        notes.append(f"{mark}: mean and sample standard deviation of {n} seeds{others}.")
    marks = [f"{mark}: {why}" for mark, why in WHY.items() if body.eq(mark).any(axis=None)]
    notes += ["; ".join(marks) + "."] if marks else []
    if scale != "paper":
        papers = "; the paper's, on the right of each pair, come from other data, sizes and schedules"
        notes.append(f"Numbers of the scale {scale} compare with nothing but themselves{'' if table.own else papers}.")
    return notes


def seed_counts(csv: pd.DataFrame, table: Table) -> list[int]:
    """Of how many seeds cells of the table are means: each number once; none where all are of one seed."""
    counts = csv[[f"{name}_n" for name in table.columns if f"{name}_n" in csv]].stack()
    return sorted({int(n) for n in counts.dropna()})


def cells_as_text(csv: pd.DataFrame, table: Table) -> pd.DataFrame:
    """The body as a reader sees it: one decimal, the spread over seeds behind a mean (and their number, where cells differ in
    it), a mark for a number of ours that is not there, no column for programs."""
    headings = FACTS | {name: column.heading for name, column in table.columns.items()}
    here = csv[[*table.facts, *table.columns]].notna().any(axis=1)  # rows of models that this scale has
    left_out = {(row.model, c) for row in table.rows if row.model for c in table.columns.keys() - table.cells_of(row)}

    mixed = sum(n > 1 for n in seed_counts(csv, table)) > 1

    def text(value, column, missing="", spread=None, seeds=None):
        known = missing if pd.isna(value) else format(value, "" if column in FACTS else ".1f")
        return known if pd.isna(spread) else f"{known} ± {spread:.1f}" + (f" ({seeds:.0f})" if mixed else "")

    body = {("Method", ""): csv["method"]}
    body |= {(words.heading, ""): csv[key].fillna("") for key, words in table.words.items()}
    for column in (*table.facts, *table.columns):
        nothing = here if column in FACTS else [(model, column) in left_out for model in csv["model"]]
        quoted = csv["model"].isna()
        marks = ["" if q else NOTHING if none else MISSING for q, none in zip(quoted, nothing)]
        alone = column in OURS_ALONE
        spreads, seeds = (csv.get(f"{column}_{what}", [None] * len(csv)) for what in ("sd", "n"))
        body[headings[column], "" if alone else "ours"] = [
            text(v, column, mark, spread, n) for v, mark, spread, n in zip(csv[column], marks, spreads, seeds)
        ]
        if not alone and not table.own:
            body[headings[column], "paper"] = [text(v, column) for v in csv[f"{column}_paper"]]
    return pd.DataFrame(body)


def best_cells(csv: pd.DataFrame, table: Table) -> pd.DataFrame:
    """Which cells of `cells_as_text` hold the best number of their column, in the shape of it: of ours and of the paper's
    each by itself, within each group of rows ("Methods using ViT-B").

    All rows of a group compete, random initialisation, supervised and quoted ones too; but not a number of another protocol
    than its column's, which stands there for reference (DeiT's own accuracy in Table 1). Numbers that are printed alike are
    best alike; where none is printed above another, none is.
    """
    body = cells_as_text(csv, table)
    best = pd.DataFrame(False, index=body.index, columns=body.columns)
    groups = csv["group"].astype(object).fillna("").to_numpy()
    apart = {
        (row.model, c) for row in table.rows for c, p in table.cells_of(row).items() if p != table.columns[c].protocol
    }
    for name, column in table.columns.items():
        competes = [(model, name) not in apart for model in csv["model"]]
        for whose, key in (("ours", name), ("paper", f"{name}_paper"))[: 1 if table.own else 2]:
            numbers = pd.to_numeric(csv[key]).map("{:.1f}".format).astype(float).where(competes)
            most, least = (numbers.groupby(groups).transform(which) for which in ("max", "min"))
            best[column.heading, whose] = numbers.eq(most) & (most > least)
    return best


def with_groups(body: pd.DataFrame, groups: pd.Series, heading) -> pd.DataFrame:
    """A line `heading(group)` above each run of rows of one group."""
    lines, last = [], None
    for group, row in zip(groups, body.itertuples(index=False, name=None), strict=True):
        if pd.notna(group) and group != last:
            lines.append([heading(group)] + [""] * (body.shape[1] - 1))
        lines.append(row)
        last = group
    return pd.DataFrame(lines, columns=body.columns)


def title_of(name: str) -> str:
    """ "Table 3" of "table3", "Tokenizer dvae" of "tokenizer-dvae": of tables and figures."""
    kind, _, which = name.partition("-")
    word = kind.rstrip("0123456789")
    return " ".join(filter(None, [word.upper() if word == "dag" else word.capitalize(), kind[len(word) :], which]))


def markdown(csv: pd.DataFrame, table: Table, title: str, notes: list[str]) -> str:
    body = cells_as_text(csv, table)
    body = with_groups(body, csv["group"], lambda group: f"**{group}**").map(lambda text: text.replace("|", "\\|"))
    headings = [heading + (", paper" if whose == "paper" else "") for heading, whose in body]
    align = ["right" if whose else "left" for _, whose in body]
    grid = body.to_markdown(index=False, headers=headings, colalign=align, disable_numparse=True)
    return "\n\n".join([title, table.title.strip(), grid, *notes]) + "\n"


def latex(csv: pd.DataFrame, table: Table, notes: list[str], label: str) -> str:
    """For the package booktabs; `best_cells` are bold."""
    body, best = cells_as_text(csv, table).map(escape_latex), best_cells(csv, table)
    body = body.mask(best, r"\textbf{" + body + "}").rename(columns=escape_latex)
    # \rlap lets a group's heading reach over the empty cells to its right without widening the first column.
    body = with_groups(body, csv["group"], lambda group: rf"\rlap{{\textit{{{escape_latex(group)}}}}}")
    text = body.style.hide(axis="index").to_latex(
        caption=escape_latex(" ".join([table.title.strip(), *notes])), label=label, position="t",
        position_float="centering", hrules=True, multicol_align="c",
        column_format="".join("r" if whose else "l" for _, whose in body),
    )  # fmt: skip
    pairs = "".join(rf"\cmidrule(lr){{{i}-{i + 1}}}" for i, (_, whose) in enumerate(body) if whose == "paper")
    top, head, rest = re.split(r"(?<=\\toprule\n)(.*\n)", text, maxsplit=1)
    first, *others = re.split(r"(?=\\rlap)", rest)
    rest = first + "\\midrule\n".join(others)
    return f"% \\usepackage{{booktabs}}\n{top}{head}{pairs}\n{rest}"


def escape_latex(text: str) -> str:
    return re.sub("|".join(map(re.escape, LATEX)), lambda match: LATEX[match[0]], text)
