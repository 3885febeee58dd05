"""`cae cost`: what a scale costs before it is paid, a table a row: jobs, hours, disk, the longest chain.

The jobs are Snakemake's own, of the DAG that it builds of the Snakefile: what is counted is what would run. Hours follow from
FLOPs and the rate that a card reaches: images/s that were measured (`benchmarks/gpu.py --json`, or a file by hand), FLOP/s that
are given, or, without a GPU, what this processor reaches.
"""

import os
from pathlib import Path

import networkx as nx
import pandas as pd
from snakemake.cli import parse_config
from tabulate import tabulate

from cae.errors import UserError
from cae.options import BFloat16Rate, Float32Rate, Rates, ScaleConfig, ScaleFiles, Utilisation
from cae.params import validate
from workflow.cost.cards import Card, given_cards
from workflow.cost.processor import processor
from workflow.cost.work import PUBLISHED, Costs, Size, Work
from workflow.jobs import FOLDER, Job, all_needed, graph_of, jobs_of
from workflow.machine import has_gpu
from workflow.params import read_params, same_params
from workflow.plan import Plan

UNITS = (("EFLOP", 1e18), ("PFLOP", 1e15), ("TFLOP", 1e12))
RATES = Path("rates.json")  # where no other file is named
DISK = "data", "tokens", "weights"
EVERYTHING = "everything, each once"


def main(
    *, params: ScaleFiles | None = None, config: ScaleConfig | None = None, rates: Rates | None = None,
    flops: BFloat16Rate | None = None, float32_flops: Float32Rate | None = None, utilisation: Utilisation = 1.0,
) -> None:  # fmt: skip
    """Print what a scale costs before it is run.

    Jobs, GPU-hours, disk and the longest chain, a table a row; no data is needed.
    """
    files = params or []
    try:
        overrides = parse_config(config or [])
    except ValueError as error:
        raise UserError(f"--config: {error}") from None
    folder = Path(os.path.relpath(FOLDER))
    layers = read_params(files, overrides, folder)
    tables, claims, paper = (folder / f"params/{name}.yaml" for name in ("tables", "claims", "paper"))
    costs = Costs(Plan(validate(layers), tables, claims, paper=paper, said=layers))
    works = {job: costs.of(job.rule, job.wildcards) for job in jobs_of(files, overrides)}
    cards = given_cards(rates or [RATES] * RATES.exists(), flops, float32_flops, utilisation, costs)
    print(report(works, costs, cards, same_params(files, overrides)))


def report(works: dict[Job, Work], costs: Costs, cards: list[Card], options: str = "") -> str:
    """Return all that `cae cost` prints of jobs and what each costs.

    Without `cards`, hours are those of this processor, if there is no GPU. `options`: Snakemake's, which select the scale.
    """
    given = bool(cards)
    note = "Hours are those of GPUs that are never waited for; reading images, jobs on processors and queues are not in them."
    if not cards and not has_gpu():
        largest = max(works.values(), key=lambda work: work.flops)
        recipes = costs.plan.recipes
        card, note = processor(costs, recipes.get(largest.name) or next(iter(recipes.values())))
        cards = [card]
    frame = job_frame(works, cards)
    unit = next((each for each in UNITS if frame.flops.sum() >= each[1]), UNITS[-1])
    parts = [
        _unlisted(costs, options),
        f"Scale {costs.plan.params.scale}: {len(works)} jobs. One that several rows need is in each, and in the last row once.",
        _table_of_rows(frame, costs.plan, cards, unit),
        _table_of_steps(frame, cards, unit),
        _chain(longest_chain(frame, cards[0] if cards else None)),
        _saved(costs, cards, unit),
        f"Data sets: {'; '.join(f'{name} {_counts(size)}' for name, size in costs.sizes.items())}.",
        note,
        *(_without_rate(frame, card) for card in cards),
        "" if given else NO_RATE,
        _left_out(costs.plan),
    ]
    return "\n\n".join(filter(None, parts))


START = "start"  # before the jobs that wait for none
NO_RATE = (
    "GPU-hours: no rate is given. `python benchmarks/gpu.py --json rates.json` measures images/s of a card (--rates: other "
    "files); --flops and --float32-flops say what it multiplies in a second."
)


def job_frame(works: dict[Job, Work], cards: list[Card]) -> pd.DataFrame:
    """Return a line for each job: what it costs, and by each card's name its hours on one (NaN: no rate is known)."""
    lines = [
        {"job": job, "rule": job.rule, "left": job.left, "gpus": max(1, job.gpus), "flops": work.flops}
        | {part: getattr(work, part) for part in DISK}
        | {card.name: card.hours(job.rule, work) for card in cards}
        for job, work in works.items()
    ]
    return pd.DataFrame(lines).astype({card.name: float for card in cards})


def longest_chain(frame: pd.DataFrame, card: Card | None) -> list[Job]:
    """Return the longest chain of jobs that wait for each other, in order, each on its own number of GPUs: in hours of the card,
    without a card in FLOPs."""
    lengths = dict(zip(frame.job, (frame[card.name] if card else frame.flops).fillna(0) / frame.gpus))
    graph = nx.DiGraph()
    graph.add_weighted_edges_from((before, job, lengths[job]) for job in lengths for before in [START, *job.needs])
    return [job for job in nx.dag_longest_path(graph) if job != START and lengths[job]]


def _table_of_rows(frame: pd.DataFrame, plan: Plan, cards: list[Card], unit: tuple[str, float]) -> str:
    ends = {
        name: [job for job in frame.job if job.rule == "table" and job.wildcards["table"] == name]
        for name in plan.tables
    }
    ends["figures"] = [job for job in frame.job if job.rule == "figure"]
    graph = graph_of(list(frame.job))
    rows = {name: frame[frame.job.isin(all_needed(graph, jobs))] for name, jobs in ends.items()} | {EVERYTHING: frame}
    heads = ["", "jobs", "to run", "with\nFLOPs", unit[0]]
    for card in cards:
        heads += [f"{card.unit}\n{card.name}", *(["longest\nchain, h"] if card.has_chain else [])]
    heads += ["data\nGB", "tokens\nGB", "checkpoints\nGB"]
    return _table(heads, [[name, *_sums(part, cards, unit[1])] for name, part in rows.items()])


def _sums(part: pd.DataFrame, cards: list[Card], unit: float) -> list:
    hours = []
    for card in cards:
        hours.append(total(part[card.name]))
        if card.has_chain:
            chain = part[part.job.isin(longest_chain(part, card))]
            hours.append(total(chain[card.name] / chain.gpus))
    disk = [number(part[name].sum() / 1e9) for name in DISK]
    return [len(part), part.left.sum(), (part.flops > 0).sum(), number(part.flops.sum() / unit), *hours, *disk]


def _table_of_steps(frame: pd.DataFrame, cards: list[Card], unit: tuple[str, float]) -> str:
    steps = sorted(frame[frame.flops > 0].groupby("rule"), key=lambda step: -step[1].flops.sum())
    rows = [
        [rule, len(part), number(part.flops.sum() / unit[1]), *(total(part[card.name]) for card in cards)]
        for rule, part in steps
    ]
    return _table(["step", "jobs", unit[0], *(f"{card.unit}\n{card.name}" for card in cards)], rows)


def _table(heads: list[str], rows: list[list]) -> str:
    return tabulate(rows, heads, stralign="right", disable_numparse=True, colalign=["left"])


def total(hours: pd.Series) -> str:
    """Return the sum of hours; a lower bound where some are not known."""
    return f"{'>= ' if hours.isna().any() else ''}{number(hours.sum())}"


def number(value: float) -> str:
    """Return a number with three digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _chain(jobs: list[Job]) -> str:
    names = (" ".join([job.rule, *(value for key, value in job.wildcards.items() if key != "scale")]) for job in jobs)
    return f"Longest chain: {' -> '.join(names) or 'no job with FLOPs'}."


def _counts(size: Size) -> str:
    return f"{size.train:,} + {size.val:,} images ({size.source})"


def _unlisted(costs: Costs, options: str) -> str:
    """Return a warning where data sets are not listed yet, so that their published sizes are counted."""
    names = [
        f"{name} with {size.train:,} + {size.val:,}" for name, size in costs.sizes.items() if size.source == PUBLISHED
    ]
    if not names:
        return ""
    command = " ".join(filter(None, ["snakemake --cores all", options, "-- data"]))
    return (
        f"NOT YOUR DATA: these data sets are not listed yet, and are counted as they were published: {', '.join(names)} images. "
        f"List yours first, `{command}`, then ask again."
    )


def _saved(costs: Costs, cards: list[Card], unit: tuple[str, float]) -> str:
    saved = costs.released()
    if not saved:
        return ""
    parts = [f"{number(sum(work.flops for work in saved.values()) / unit[1])} {unit[0]}"]
    for card in cards:
        hours = [
            card.hours("tokenize" if what.startswith("tokens") else "pretrain_model", work)
            for what, work in saved.items()
        ]
        parts.append(f"{total(pd.Series(hours, dtype=float))} {card.unit} ({card.name})")
    return f"Released, and so not made here: {', '.join(saved)}. That saves {', '.join(parts)}."


def _without_rate(frame: pd.DataFrame, card: Card) -> str:
    rules = sorted(set(frame.rule[frame[card.name].isna()]))
    return f"{card.name}: no rate is given of {', '.join(rules)}: these are not in its hours." if rules else ""


def _left_out(plan: Plan) -> str:
    lines = [f"- {', '.join(models)}: {why}" for why, models in plan.rows_left_out.items()]
    lines += [f"- {figure}: {why}" for figure, why in plan.left_out.items()]
    return "\n".join(["Rows and figures that are left out:", *lines]) if lines else ""
