"""Targets that nothing makes, told with the nearest one that something makes, before Snakemake plans."""

import re
import sys
from difflib import SequenceMatcher
from itertools import product
from os.path import relpath
from pathlib import Path, PurePath

from snakemake.cli import get_argument_parser

from cae.errors import UserError
from workflow.plan import Plan, one_of

NUMBER = r"\d+\.?\d*(?:e-?\d+)?"


def check_targets(rules: list, plan: Plan) -> None:
    """UserError says of every target of the command line that none of Snakemake's rules makes what is wrong with it."""
    names, outputs = [rule.name for rule in rules], [output for rule in rules for output in rule.output]
    wrong = []
    for target in _asked():
        path = relpath(target)
        if target in names:
            continue
        if about := _unlisted_rate(path, plan):
            wrong.append(f"{target}: {about}")
        elif not any(output.match(path) for output in outputs):
            valid = [file for output in outputs for file in _files(str(output))] if "/" in target else names
            wrong.append(f"{target}: {_missed(path, valid, plan)}")
    if wrong:
        raise UserError("\n".join(wrong))


def _asked() -> list[str]:
    """Targets of the command line, read by Snakemake's own parser: it shows them to no Snakefile."""
    program = Path(sys.argv[0])
    if "snakemake" not in (program.stem, program.parent.name):  # called from Python
        return []
    given, _ = get_argument_parser().parse_known_args(sys.argv[1:])
    return [target for group in (given.targets, given.forcerun, given.until, given.prioritize) for target in group]


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
