"""`cae plan`: what a scale costs before it is paid, a table a row: jobs, GPU-hours, disk, the longest chain.

The jobs are Snakemake's own, of the DAG that it builds of the Snakefile: what is counted is what would run. Hours follow from
FLOPs and the rate that a card reaches; none is known here, so rates are given: images/s that were measured
(`benchmarks/gpu.py --json`, or a file by hand), or FLOP/s.
"""

import os
from functools import cached_property
from math import inf
from pathlib import Path

from snakemake.cli import parse_config
from tabulate import tabulate

from cae.errors import UserError
from cae.params import read_yaml, unknown, validate
from workflow.cost.work import Costs, Work
from workflow.jobs import FOLDER, Job, all_needed, jobs_of
from workflow.params import read_params
from workflow.plan import Plan

UNITS = (("EFLOP", 1e18), ("PFLOP", 1e15), ("TFLOP", 1e12))
DEFAULT = Path("rates.json")  # of rates, where none is named
MIXED = ("pretrain_model",)  # rules whose jobs differ so much in kind that a rate holds for the same method alone


class Card:
    """A kind of GPU. `rates`: FLOP/s that it reaches, by rule and name; `flops`: by precision, where no rate is given."""

    def __init__(self, name: str, rates: dict, flops: dict[str, float], costs: Costs):
        self.name, self.rates, self.flops, self.costs = name, rates, flops, costs

    def hours(self, job: Job) -> float | None:
        """GPU-hours of a job; None where no rate is known."""
        return self.hours_of(job.rule, job.work)

    def hours_of(self, rule: str, work: Work) -> float | None:
        if not work.flops:
            return 0.0
        rate = self.rate(rule, work)
        return work.flops / rate / 3600 if rate else None

    def rate(self, rule: str, work: Work) -> float | None:
        """Of the job itself, or of that of the same rule (pretraining: and method) which is nearest in FLOPs an image."""
        known = self.rates.get(rule, {})
        plain = work.name.partition("@")[0]
        if plain not in known and rule in MIXED:
            known = {name: rate for name, rate in known.items() if self._method(name) == self._method(plain)}
        if known:
            nearest = min(known, key=lambda name: (name != plain, abs(known[name].unit - work.unit)))
            return known[nearest].flops
        return self.flops.get(work.precision)

    def _method(self, name: str) -> str | None:
        recipe = self.costs.plan.recipes.get(name)
        return recipe.method if recipe else None


def cards(files: list[Path], flops: float | None, float32: float | None, share: float, costs: Costs) -> list[Card]:
    """A card a file of rates; else that of the FLOP/s that were given."""
    given = {"bfloat16": flops, "float32": float32}
    given = {precision: share * rate for precision, rate in given.items() if rate}
    found = [_card(file, given, costs) for file in files]
    return found or ([Card(f"{(flops or float32) / 1e12:g} TFLOP/s x {share:g}", {}, given, costs)] if given else [])


def _card(file: Path, given: dict[str, float], costs: Costs) -> Card:
    """`device: <name>` and `images_per_second: {<rule>: {<model or tokenizer>: <number>}}`, in YAML or JSON. In place of the
    number {rate: …, flops: …}: also what an image cost where that was measured."""
    try:
        raw = read_yaml(file, "file of rates")
        rates = raw["images_per_second"]
        device = str(raw.get("device", file.stem))
        entries = [(rule, name, entry) for rule, names in rates.items() for name, entry in names.items()]
    except (TypeError, KeyError, AttributeError):
        raise UserError(
            f"{file}: not a file of rates; expected device: <name>, images_per_second: {{pretrain_model: {{<model>: <number>}}}}"
        ) from None
    found: dict[str, dict[str, Work]] = {}
    for rule, name, entry in entries:
        if not (unit := entry.get("flops") if isinstance(entry, dict) else costs.unit(rule, name)):
            raise UserError(f"{file}: images_per_second.{rule}: {unknown(name, costs.names(rule))}")
        rate = entry.get("rate") if isinstance(entry, dict) else entry
        if not isinstance(rate, (int, float)) or not 0 < rate < inf:
            raise UserError(f"{file}: images_per_second.{rule}.{name}: {rate!r} is no number above 0")
        found.setdefault(rule, {})[name] = Work(flops=rate * unit, unit=unit)
    return Card(device, found, given, costs)


class Budget:
    """Sums over a set of jobs."""

    def __init__(self, jobs: list[Job], cards: list[Card]):
        self.jobs, self.cards = jobs, cards

    @cached_property
    def with_flops(self) -> list[Job]:
        return [job for job in self.jobs if job.work.flops]

    @property
    def flops(self) -> float:
        return sum(job.work.flops for job in self.jobs)

    def hours(self, card: Card) -> str:
        known = [card.hours(job) for job in self.with_flops]
        return number(sum(hours for hours in known if hours), open=None in known)

    def row(self, unit: float) -> list:
        disk = [sum(getattr(job.work, part) for job in self.jobs) / 1e9 for part in ("data", "tokens", "weights")]
        hours = [text for card in self.cards for text in (self.hours(card), self.chain(card)[0])]
        left = sum(job.left for job in self.jobs)
        return [len(self.jobs), left, len(self.with_flops), number(self.flops / unit), *hours, *map(number, disk)]

    def chain(self, card: Card | None) -> tuple[str, list[Job]]:
        """The longest chain of jobs that wait for each other, each on its own number of GPUs; its hours, or without a card
        the length in FLOPs."""
        longest: dict[Job, tuple[float, Job | None]] = {}

        def own(job: Job) -> float:
            size = (card.hours(job) or 0.0) if card else job.work.flops
            return size / max(1, job.gpus)

        for job in self._in_order():
            before = max(job.needs, key=lambda other: longest[other][0], default=None)
            longest[job] = own(job) + (longest[before][0] if before else 0), before
        end = max(longest, key=lambda job: longest[job][0])
        path = [end]
        while before := longest[path[-1]][1]:
            path.append(before)
        open = bool(card) and any(card.hours(job) is None for job in path)
        return number(longest[end][0], open), [job for job in reversed(path) if own(job)]

    def _in_order(self) -> list[Job]:
        """Each behind those that it waits for."""
        done: dict[Job, None] = {}
        todo = list(self.jobs)
        while todo:
            job = todo[-1]
            if waits := [other for other in job.needs if other not in done]:
                todo += waits
            else:
                done[todo.pop()] = None
        return list(done)


def number(value: float, open: bool = False) -> str:
    """Three digits; `open`: at least."""
    text = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
    return f">= {text}" if open else text


def main(
    files: list[Path], overrides: list[str], rates: list[Path], flops: float | None, float32: float | None, share: float
) -> None:
    """Prints the plan; `files` and `overrides` as Snakemake's --configfile and --config."""
    try:
        config = parse_config(overrides)
    except ValueError as error:
        raise UserError(f"--config: {error}") from None
    folder = Path(os.path.relpath(FOLDER))
    said = read_params(files, config, folder)
    tables, claims, paper = (folder / f"params/{name}.yaml" for name in ("tables", "claims", "paper"))
    costs = Costs(Plan(validate(said), tables, claims, paper=paper, said=said))
    jobs = jobs_of(files, config)
    for job in jobs:
        job.work = costs.of(job.rule, job.wildcards)
    print(report(jobs, cards(rates or [DEFAULT] * DEFAULT.exists(), flops, float32, share, costs), costs))


def report(jobs: list[Job], given: list[Card], costs: Costs) -> str:
    plan, whole = costs.plan, Budget(jobs, given)
    rows = {
        name: [job for job in jobs if job.rule == "table" and job.wildcards["table"] == name] for name in plan.tables
    }
    rows["figures"] = [job for job in jobs if job.rule == "figure"]
    budgets = {name: Budget(all_needed(ends), given) for name, ends in rows.items()} | {"everything, each once": whole}
    name, unit = next((each for each in UNITS if whole.flops >= each[1]), UNITS[-1])
    hours = [f"GPU-hours\n{card.name}" for card in given]
    chains = [head for each in hours for head in (each, "longest\nchain, h")]
    disk = [f"{part}\nGB" for part in ("data", "tokens", "checkpoints")]
    rules = sorted({job.rule for job in whole.with_flops})
    steps = [(rule, Budget([job for job in whole.with_flops if job.rule == rule], given)) for rule in rules]
    by_step = [
        [rule, len(some.jobs), number(some.flops / unit), *map(some.hours, given)]
        for rule, some in sorted(steps, key=lambda step: -step[1].flops)
    ]
    tables = _table(["", "jobs", "to run", "with\nFLOPs", name, *chains, *disk],
                    [[row, *some.row(unit)] for row, some in budgets.items()])  # fmt: skip
    said = (
        f"Scale {plan.params.scale}: {len(jobs)} jobs. One that several rows need is in each, and in the last row once."
    )
    parts = [said, tables, _table(["step", "jobs", name, *hours], by_step), *_notes(whole, given, costs, name, unit)]
    return "\n\n".join(parts)


def _table(heads: list[str], rows: list[list]) -> str:
    return tabulate(rows, heads, stralign="right", disable_numparse=True, colalign=["left"])


def _notes(whole: Budget, given: list[Card], costs: Costs, name: str, unit: float) -> list[str]:
    _, path = whole.chain(given[0] if given else None)
    chain = " -> ".join(" ".join([job.rule, *(v for k, v in job.wildcards.items() if k != "scale")]) for job in path)
    left_out = [f"{', '.join(models)}: {why}" for why, models in costs.plan.rows_left_out.items()]
    left_out += [f"{figure}: {why}" for figure, why in costs.plan.left_out.items()]
    notes = ["Rows and figures that are left out:\n" + "\n".join(f"- {line}" for line in left_out)] if left_out else []
    notes.append(f"Longest chain: {chain or 'no job with FLOPs'}.")
    if saved := costs.released():
        made = [("tokenize" if what.startswith("tokens") else "pretrain_model", work) for what, work in saved.items()]
        told = [f"{number(sum(work.flops for work in saved.values()) / unit)} {name}"]
        for card in given:
            known = [card.hours_of(*each) for each in made]
            told.append(f"{number(sum(filter(None, known)), None in known)} GPU-hours ({card.name})")
        notes.append(f"Released, and so not made here: {', '.join(saved)}. That saves {', '.join(told)}.")
    data = [f"{name} {size.train:,} + {size.val:,} images ({size.source})" for name, size in costs.sizes.items()]
    notes.append(f"Data sets: {'; '.join(data)}.")
    notes.append(
        "Hours are those of GPUs that are never waited for; reading images, jobs on processors and queues are not in them."
    )
    for card in given:
        if open := sorted({job.rule for job in whole.with_flops if card.hours(job) is None}):
            notes.append(f"{card.name}: no rate is given of {', '.join(open)}: these are not in its hours.")
    if not given:
        notes.append(
            "GPU-hours: no rate is given. `python benchmarks/gpu.py --json rates.json` measures images/s of a card (--rates: "
            "other files); --flops and --float32-flops say what it multiplies in a second."
        )
    return notes
