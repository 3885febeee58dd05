"""What stands around the code: checks, licence, citation."""

import re
import subprocess
import tomllib
from pathlib import Path

import yaml
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def targets(commands: str) -> list[str]:
    """Targets of `make` in a text, in order; each is one of the Makefile's."""
    found = re.findall(r"^\s*make ([\w-]+)$", commands, re.M)
    assert set(found) <= set(re.search(r"\.PHONY: (.*)", (ROOT / "Makefile").read_text())[1].split())
    return found


def test_ci_hooks_and_hand_run_the_same_checks():
    job = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]["check"]
    steps = "\n".join(step.get("run", "") for step in job["steps"])
    ci = (ROOT / ".ci/run").read_text()
    assert targets(steps) == targets(ci) == ["lint", "test", "test-slow"]
    (cut_short,) = re.findall(
        r"^timeout .* make report .*$", ci, re.M
    )  # tests run in a tree that holds a run's leftovers
    assert f"- run: {cut_short}\n" in (ROOT / ".github/workflows/ci.yml").read_text()
    (hook,) = [
        hook
        for repo in yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
        for hook in repo["hooks"]
    ]
    assert targets(hook["entry"]) == ["lint"] and hook["language"] == "system" and not hook["pass_filenames"]
    versions = job["strategy"]["matrix"]["python"]
    assert all(isinstance(version, str) for version in versions)  # 3.10 would be 3.1
    assert list(SpecifierSet(PROJECT["requires-python"]).filter(versions)) == versions == ["3.11", "3.13"]


def test_a_scale_that_does_not_exist_is_told_with_those_that_do():
    def make(*arguments: str):
        return subprocess.run(["make", "--dry-run", "report", *arguments], cwd=ROOT, capture_output=True, text=True)

    wrong, right = make("SCALE=dmo"), make("SCALE=demo-all")
    assert wrong.returncode and "params/dmo.yaml: no such file; SCALE is one of: demo demo-all paper" in wrong.stderr
    assert "--configfile params/demo-all.yaml" in right.stdout
    assert "--configfile params/demo.yaml" in make().stdout


def test_lint_fails_on_what_snakemake_finds(tmp_path):
    """The recipe's last line lets one of Snakemake's wishes through, and nothing else."""
    (line,) = re.findall(r"^\t(! .*snakemake --lint.*)", (ROOT / "Makefile").read_text(), re.M)
    wish = "    * Specify a conda environment or container for each rule.:"
    for said, passes in (
        (wish, True),
        (f"{wish}\n    * No log directive defined:", False),
        ("WorkflowError in line 1", False),
    ):
        (tmp_path / "said").write_text(said)
        command = line.replace("$(run) snakemake --lint", f"cat {tmp_path}/said")
        assert (subprocess.run(command, shell=True, capture_output=True).returncode == 0) == passes, said


def test_licence_and_citation_agree_with_the_project():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["license"] == PROJECT["license"] == "Apache-2.0" and citation["version"] == PROJECT["version"]
    assert citation["title"] and citation["authors"]
    paper = citation["preferred-citation"]
    assert paper["doi"].endswith("2202.03026") and len(paper["authors"]) == 10
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License\n" in text and "END OF TERMS AND CONDITIONS" in text
    assert f"## [{PROJECT['version']}]" in (ROOT / "CHANGELOG.md").read_text()


def test_of_reports_git_keeps_the_page_that_explains_them():
    def ignored(path: str) -> bool:
        return subprocess.run(["git", "check-ignore", "--quiet", "--no-index", path], cwd=ROOT).returncode == 0

    assert ignored("reports/demo/index.html") and not ignored("reports/README.md")
