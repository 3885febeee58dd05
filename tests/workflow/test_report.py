"""Snakemake's own report of a small finished tree: every table and figure is in it, with its caption."""

import json
import re
import shutil

MINE = """
base: demo.yaml
only: [mae-b-1600]
datasets: {ade20k: null, coco: null, food101: null, clipart: null, sketch: null}
"""


def test_every_table_and_figure_has_its_category_and_caption(tree):
    (tree.path / "params/mine.yaml").write_text(MINE)
    tree.run("snakemake", "--cores", "2", "--configfile", "params/mine.yaml")
    tree.run("snakemake", "--configfile", "params/mine.yaml", "--report", "report.html")
    html = (tree.path / "report.html").read_text()
    results, categories = (
        json.loads(re.search(rf"var {name} = (\{{.*?\}});?\s*$", html, re.M)[1]) for name in ("results", "categories")
    )
    tables = {path.stem for path in (tree.path / "reports/demo/tables").glob("*.csv")}
    shown = {f"reports/demo/tables/{name}.csv" for name in tables if not name.endswith(("-cells", "-pairs"))}
    shown |= {f"reports/demo/figures/{path.name}" for path in (tree.path / "reports/demo/figures").glob("*.png")}
    assert results.keys() == shown | {"reports/demo/index.html"}
    assert {"table1", "models"} < tables and {
        "reports/demo/figures/dag.png",
        "reports/demo/figures/training.png",
    } < shown
    kinds = {path: kind for kind, paths in categories.items() for path in shown if path in json.dumps(paths)}
    assert kinds.keys() == shown and "Other" not in kinds.values()
    assert all(len(re.sub("<[^>]*>", "", results[path]["caption"])) > 50 for path in shown)
    assert "Pretraining: loss terms against images seen" in results["reports/demo/figures/training.png"]["caption"]


def test_a_report_that_is_kept_is_drawn_again_from_what_it_was_made_of_alone(tree):
    """In a plain clone, with neither data nor checkpoints: nothing but tables, figures and the page."""
    (tree.path / "params/mine.yaml").write_text(MINE)
    asked = ("--configfile", "params/mine.yaml", "--")
    tree.run("snakemake", "--cores", "2", *asked[:2])
    job = tree.dry_run("--printshellcmds", *asked, "publish")["publication"]
    kept = re.findall(r" ((?:results|data)/[^ ]+)", re.search(r"python -m cae publish .*", job)[0])
    assert any(path.startswith("results/demo/evaluate/") for path in kept) and "data/demo/imagenet.json" in kept
    assert not any(path.endswith((".safetensors", ".ckpt", ".npy")) for path in kept)
    for path in kept:
        (tree.path / "kept" / path).parent.mkdir(parents=True, exist_ok=True)
        (tree.path / path).rename(tree.path / "kept" / path)
    for folder in ("results", "data", "reports", ".snakemake"):
        shutil.rmtree(tree.path / folder)
    shutil.copytree(tree.path / "kept", tree.path, dirs_exist_ok=True)
    rules = {job.split()[0] for job in tree.dry_run(*asked, "report")}
    assert rules <= {"table", "figure", "claims_table", "models_table", "metrics", "rulegraph", "page", "report", "all"}
    assert {"table", "figure", "page"} <= rules
