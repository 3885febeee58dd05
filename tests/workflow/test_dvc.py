"""DVC's own views of a tiny repository that declares metrics, plots and params as this project does."""

import json

import pytest
import yaml

from tests.workflow.conftest import ROOT, Tree

METRICS = {"cae-b-300": {"linear": {"top1": 15.75}, "ade20k": {"miou": 9.5}}, "random-b": {"linear": {"top1": 12.25}}}
LOSSES = {"cae-b-300": "images,loss\n32,5.5\n64,2.25\n", "mae-b-300": "images,loss\n32,1.5\n"}


@pytest.fixture(scope="module")
def views(tmp_path_factory) -> Tree:
    """One stage that has nothing to do, committed, and then one number, one loss and one param changed."""
    tree = Tree(tmp_path_factory.mktemp("views"))
    declared = yaml.safe_load((ROOT / "dvc.yaml").read_text())
    declared["stages"] = {"report": {"cmd": "true", "outs": [{"reports/demo": {"persist": True}}]}}
    files = {f"reports/demo/metrics/{model}.json": json.dumps(cells) for model, cells in METRICS.items()}
    files |= {f"reports/demo/losses/{model}.csv": text for model, text in LOSSES.items()}
    files |= {file: (ROOT / file).read_text() for file in ("params/demo.yaml", "params/paper.yaml")}
    files |= {"dvc.yaml": yaml.safe_dump(declared), ".gitignore": "/reports/*\n"}
    for file, text in files.items():
        (tree.path / file).parent.mkdir(parents=True, exist_ok=True)
        (tree.path / file).write_text(text)
    tree.run("git", "init", "--quiet")
    tree.run("dvc", "init", "--quiet")
    tree.run("dvc", "repro", "--quiet")
    tree.run("git", "add", ".")
    tree.run("git", "-c", "user.name=x", "-c", "user.email=x@x", "commit", "--quiet", "--message", "x")
    for file in ("metrics/cae-b-300.json", "losses/cae-b-300.csv"):
        path = tree.path / "reports/demo" / file
        path.unlink()  # it may be a link into DVC's cache
        path.write_text(files[f"reports/demo/{file}"].replace("15.75", "16.25").replace("2.25", "2.125"))
    tree.edit("params/demo.yaml", "cae-b-300: {epochs: 5", "cae-b-300: {epochs: 7")
    return tree


def rows(text: str) -> list[list[str]]:
    return [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in text.splitlines()
        if "|" in line and "--" not in line
    ]


def test_metrics_are_a_table_of_a_model_a_row(views):
    assert rows(views.run("dvc", "metrics", "show", "--md")) == [
        ["Path", "ade20k.miou", "linear.top1"],
        ["reports/demo/metrics/cae-b-300.json", "9.5", "16.25"],
        ["reports/demo/metrics/random-b.json", "-", "12.25"],
    ]


def test_a_number_that_moved_is_told_with_its_model(views):
    assert rows(views.run("dvc", "metrics", "diff", "--md")) == [
        ["Path", "Metric", "HEAD", "workspace", "Change"],
        ["reports/demo/metrics/cae-b-300.json", "linear.top1", "15.75", "16.25", "0.5"],
    ]


def test_params_are_compared_by_key(views):
    assert rows(views.run("dvc", "params", "diff", "--md")) == [
        ["Path", "Param", "HEAD", "workspace"],
        ["params/demo.yaml", "models.cae-b-300.epochs", "5", "7"],
    ]


def test_plots_show_the_loss_of_each_model_over_images(views):
    plots = json.loads(views.run("dvc", "plots", "show", "--json"))["data"]
    contents = {name: plot["content"] for name, (plot,) in plots.items()}
    shown = {name: [(row["images"], row["loss"]) for row in plot["data"]["values"]] for name, plot in contents.items()}
    assert shown == {
        "reports/demo/losses/cae-b-300.csv": [("32", "5.5"), ("64", "2.125")],
        "reports/demo/losses/mae-b-300.csv": [("32", "1.5")],
    }
    assert all(name in json.dumps(plot["title"]) for name, plot in contents.items())
    assert '"images seen"' in json.dumps(contents)
