"""Targets and rules that there are none of, told with the nearest that there is, before Snakemake plans."""

import re
import sys
from difflib import SequenceMatcher
from itertools import product
from os.path import relpath
from pathlib import Path, PurePath

from snakemake.cli import get_argument_parser

from cae.errors import UserError
from workflow.plan import Plan, one_of

TARGETS = "targets", "forcerun", "until", "omit_from", "prioritize"  # options that name files or rules
RULES = (
    "set_threads",
    "set_resources",
    "groups",
    "consider_ancient",
    "allowed_rules",
    "preemptible_rules",
)  # rules alone
NUMBER = r"\d+\.?\d*(?:e-?\d+)?"


def check_targets(rules: list, plan: Plan) -> None:
    """Raise UserError where the command line names a target or a rule that there is none of, with the nearest that there is."""
    if not (given := _command_line()):
        return
    names, outputs = [rule.name for rule in rules], [output for rule in rules for output in rule.output]
    wrong = []
    for target in (target for option in TARGETS for target in getattr(given, option)):
        path = relpath(target)
        if target in names:
            continue
        if about := _unlisted_rate(path, plan):
            wrong.append(f"{target}: {about}")
        elif not any(output.match(path) for output in outputs):
            valid = [file for output in outputs for file in _files(str(output))] if "/" in target else names
            wrong.append(f"{target}: {_missed(path, valid, plan)}")
    for option in RULES:  # Snakemake passes over those that it does not know
        for name in getattr(given, option) or ():
            if name not in names:
                wrong.append(f"--{option.replace('_', '-')}: {name}: {_missed(name, names, plan)}")
    if given.batch and given.batch.rulename not in names:
        wrong.append(f"--batch: {given.batch.rulename}: {_missed(given.batch.rulename, names, plan)}")
    if wrong:
        raise UserError("\n".join(wrong))


def _command_line():
    """Return the command line's options as Snakemake's own parser reads them, since a Snakefile cannot ask for them; None where
    Snakemake was called from Python."""
    program = Path(sys.argv[0])
    if "snakemake" not in (program.stem, program.parent.name):
        return None
    return get_argument_parser().parse_known_args(sys.argv[1:])[0]


def _files(pattern: str) -> list[str]:
    """All files of an output's pattern; none where a wildcard is not constrained to names."""
    parts = re.split(r"\{(\w+),?([^{}]*)\}", pattern)  # text, wildcard, constraint, text, …
    names = {wildcard: re.sub(r"\\(.)", r"\1", some).split("|") for wildcard, some in zip(parts[1::3], parts[2::3])}
    if not all(re.fullmatch(r"[\w.@-]+", name) for some in names.values() for name in some):
        return []
    bare = "".join(f"{{{part}}}" if i % 3 == 1 else part for i, part in enumerate(parts) if i % 3 < 2)
    return [bare.format_map(dict(zip(names, values))) for values in product(*names.values())]


def _missed(path: str, valid: list[str], plan: Plan) -> str:
    """What is wrong with `path`, and the nearest of `valid`: that with the fewest other words, and those most alike."""

    def distance(other: str) -> tuple[int, float]:
        words = zip(path.split("/"), other.split("/"))
        return sum(a != b for a, b in words), -SequenceMatcher(None, path, other).ratio()

    nearest = min((other for other in valid if other.count("/") == path.count("/")), key=distance, default=None)
    if not nearest or distance(nearest)[1] > -0.5:
        return "no rule makes it, nor anything like it (`snakemake --list-rules`)"
    scale = plan.params.scale
    kinds = {
        "table": plan.tables,
        "figure": plan.figures,
        "model": plan.recipes,
        "data set": plan.params.datasets if path.startswith("data/") else [],
        "tokenizer": plan.caches,
        "protocol": {protocol for protocol, _ in plan.cells},
    }
    said = []
    for word, near in zip(path.split("/"), nearest.split("/")):
        if PurePath(word).suffix == PurePath(near).suffix:
            word, near = PurePath(word).stem, PurePath(near).stem
        if reason := plan.left_out.get(word) or plan.absent(word):
            return f"scale {scale} leaves {word} out: {reason}"
        if near == scale != word:
            said.append(f"these are params of scale {scale}, another's go by --configfile params/{word}.yaml")
        elif word != near:
            kind = next((kind for kind, names in kinds.items() if near in names), "file or rule")
            said.append(f"no {kind} {word} in scale {scale}")
    return f"{'; '.join(said)}; did you mean {nearest}?"


def _unlisted_rate(path: str, plan: Plan) -> str | None:
    """What is wrong with a run of segmentation whose learning rate its model's params do not list."""
    found = re.fullmatch(f"(results/{plan.params.scale}/ade20k)/({one_of(plan.recipes)})/({NUMBER})/([^/]+)", path)
    if not found:
        return None
    folder, model, rate, file = found.groups()
    rates = {str(lr): abs(lr - float(rate)) for lr in plan.params.segmenting(model)}
    if rate in rates:
        return None
    size = plan.params.entry(model)["size"]
    return (
        f"ade20k.sizes.{size}.lrs of scale {plan.params.scale} is {', '.join(rates)} (so spelled in paths), no {rate};"
        f" did you mean {folder}/{model}/{min(rates, key=rates.get)}/{file}?"
    )
