"""One statement of what the environment is: pyproject.toml says what is needed, requirements.lock exactly which."""

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# One process each: what a user of encoders imports, and what a job does.
MODULES = (
    "cae.cli, cae.params, cae.models.encoders, cae.tasks.pretrain, cae.tasks.probe, cae.tasks.finetune, cae.methods.cae",
    "cae.reporting.page, cae.reporting.tables, cae.reporting.claims, cae.data.manifests, cae.released.models",
)


@pytest.fixture(scope="module")
def locked() -> dict[str, list[str]]:
    """Versions by package, of the lines that hold on this machine."""
    versions = {}
    for line in (ROOT / "requirements.lock").read_text().splitlines():
        pin, _, marker = line.partition(" ; ")
        name, exact, version = pin.partition("==")
        assert exact and re.fullmatch(r"[\w.+!-]+", version.strip()), f"not an exact version: {line}"
        if not marker or Marker(marker).evaluate():
            versions.setdefault(canonicalize_name(name), []).append(version.strip())
    return versions


def test_every_requirement_is_locked_to_a_version_it_allows(locked):
    extras = PROJECT["optional-dependencies"]
    for requirement in map(Requirement, [*PROJECT["dependencies"], *sum(extras.values(), [])]):
        if requirement.name == PROJECT["name"]:  # other extras of its own
            assert requirement.extras <= extras.keys()
            continue
        assert len(locked[canonicalize_name(requirement.name)]) == 1
        assert requirement.specifier.contains(locked[canonicalize_name(requirement.name)][0]), requirement


def needs(*extras: str) -> set[str]:
    """Names of the packages that `pip install cae[extras]` asks for."""
    named = PROJECT["dependencies"] + sum((PROJECT["optional-dependencies"][extra] for extra in extras), [])
    return {canonicalize_name(Requirement(each).name) for each in named}


def imported(*folders: str) -> set[str]:
    """Packages that the modules below some folders import, inside functions too."""
    found = set()
    for path in (path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            found |= {name.split(".")[0] for name in names}
    ours = {"cae", "workflow", "tests", "benchmarks"}
    found -= ours | sys.stdlib_module_names
    packages = importlib.metadata.packages_distributions()
    return {canonicalize_name(packages[name][0]) for name in found if name in packages}


def test_the_package_asks_for_what_it_imports_and_for_no_part_of_the_workflow():
    brought = {"cycler", "pydantic-core"}  # by matplotlib and by pydantic
    assert imported("cae") - brought <= needs()
    assert needs().isdisjoint({"snakemake", "dvc", "pytest", "ruff", "snakefmt"})
    interfaces = {name for name in imported("workflow") if name.startswith("snakemake-interface")}  # by Snakemake
    assert imported("workflow") - interfaces <= needs("workflow")
    with_code = imported("cae") | {"attrs", "tabulate"}  # DALL-E and pandas import these
    assert needs() <= with_code, "asked for, and imported by nothing"


@pytest.mark.parametrize("module", MODULES)
def test_the_package_is_imported_without_snakemake_dvc_and_pytest(module):
    script = f"""
import importlib.abc, sys

class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("snakemake", "dvc", "pytest", "workflow", "ruff", "snakefmt"):
            raise ImportError(f"{{name}} is no part of the package")

sys.meta_path.insert(0, Refuse())
import {module}
"""
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


def test_conda_takes_its_versions_from_the_lock():
    python, _, packages = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert re.fullmatch(r"python=3\.\d+", python)
    assert packages["pip"] == ["--requirement requirements.lock", "--editable ."]


def test_python_too_old_is_told_in_a_line(tmp_path):
    (tmp_path / "bin").mkdir()
    fake = tmp_path / "bin/python3"
    # Called as `python3 -c CODE`: runs CODE in a Python that says it is an old one.
    fake.write_text(f"""#!/bin/sh
exec {sys.executable} -c 'import sys; sys.version_info = (3, 8, 1); exec(sys.argv[1])' "$2"
""")
    fake.chmod(0o755)
    (tmp_path / "params").mkdir()
    for name in ("Makefile", "requirements.lock", "pyproject.toml", "params/demo.yaml"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    done = subprocess.run(
        ["make", "report"], cwd=tmp_path, capture_output=True, text=True, env={"PATH": f"{tmp_path}/bin:/usr/bin:/bin"}
    )
    assert (
        done.returncode
        and "python3 is 3.8; Python 3.11 or later is needed" in done.stderr
        and not (tmp_path / ".venv").exists()
    )
