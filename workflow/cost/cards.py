"""How fast a GPU, or this machine's processor, works on a job: by rates that were measured or given."""

from math import inf
from pathlib import Path

from cae.errors import UserError
from cae.params import read_yaml, unknown
from workflow.cost.work import Costs, Work

MIXED = ("pretrain_model",)  # rules whose jobs differ so much in kind that a rate holds for the same method alone


class Card:
    """A kind of GPU, or a processor. `rates`: FLOP/s that it reaches, by rule and name; `flops`: by precision, where no rate is
    given. `unit`: what its hours are called. `has_chain`: whether jobs run side by side on several of it."""

    def __init__(
        self,
        name: str,
        rates: dict,
        flops: dict[str, float],
        costs: Costs,
        unit: str = "GPU-hours",
        has_chain: bool = True,
    ):
        self.name, self.rates, self.flops, self.costs = name, rates, flops, costs
        self.unit, self.has_chain = unit, has_chain

    def hours(self, rule: str, work: Work) -> float | None:
        """Return the hours of a job on one card; None where no rate is known."""
        if not work.flops:
            return 0.0
        rate = self.rate(rule, work)
        return work.flops / rate / 3600 if rate else None

    def rate(self, rule: str, work: Work) -> float | None:
        """Return FLOP/s of the job itself, or of that of the same rule (pretraining: and method) nearest in FLOPs an image."""
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


def given_cards(
    files: list[Path], flops: float | None, float32: float | None, share: float, costs: Costs
) -> list[Card]:
    """Return a card for each file of rates, or one of the FLOP/s that were given; none where neither was."""
    given = {"bfloat16": flops, "float32": float32}
    given = {precision: share * rate for precision, rate in given.items() if rate}
    found = [_read_card(file, given, costs) for file in files]
    return found or ([Card(f"{(flops or float32) / 1e12:g} TFLOP/s x {share:g}", {}, given, costs)] if given else [])


def _read_card(file: Path, given: dict[str, float], costs: Costs) -> Card:
    """Read `device: <name>` and `images_per_second: {<rule>: {<model or tokenizer>: <number>}}`, in YAML or JSON. In place of the
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
