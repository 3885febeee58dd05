"""One statement of what the environment is: pyproject.toml says what is needed, requirements.lock exactly which."""

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
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for requirement in map(Requirement, project["dependencies"]):
        assert len(locked[canonicalize_name(requirement.name)]) == 1
        assert requirement.specifier.contains(locked[canonicalize_name(requirement.name)][0]), requirement


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
