"""Reruns follow content. One finished tree, made by `dvc repro`, on which the tests plan reruns and undo their edits."""

import os
import random
import re

import pytest
import yaml

from cae.params import load, read
from tests.workflow.conftest import ROOT
from workflow.plan import Plan

(LR,) = read(ROOT / "params/demo.yaml")["ade20k"]["sizes"]["base"]["lrs"]


@pytest.fixture(scope="module")
def finished(tree):
    tree.run("git", "init", "--quiet")
    tree.run("git", "add", ".")
    tree.run("dvc", "repro")
    tree.run("git", "add", ".")
    tree.run("git", "-c", "user.name=x", "-c", "user.email=x@x", "commit", "--quiet", "--message", "x")
    return tree


@pytest.fixture
def undo(finished):
    yield
    finished.run("git", "checkout", "--quiet", ".")
    finished.run("git", "clean", "--quiet", "--force", "cae")


def search_of(model):
    return f"segment {model} {LR}", f"choose_learning_rate {model}"


@pytest.fixture(scope="module")
def plan(tree) -> Plan:
    return Plan(load(tree.path / "params/demo.yaml"))


def test_a_second_run_does_nothing(finished):
    assert finished.dry_run() == {}
    text = finished.run("dvc", "repro")
    assert "Running stage" not in text and text.count("didn't change, skipping") == 5
    assert finished.run("git", "status", "--short") == ""


def test_dates_comments_and_docstrings_rerun_nothing(finished, undo):
    files = [
        path
        for top in ("cae", "workflow", "params", "data", "results", "reports")
        for path in (finished.path / top).rglob("*")
    ]
    random.Random(0).shuffle(files)
    for i, path in enumerate(files):
        os.utime(path, (1_900_000_000 + i, 1_900_000_000 + i))
    for path in (finished.path / "cae").rglob("*.py"):
        path.write_text("# A comment.\n" + path.read_text().replace('"""', '"""Another docstring. ', 1))
    finished.edit("params/demo.yaml", "scale: demo", "scale:   demo # a comment")
    assert finished.dry_run() == {}


def test_a_models_params_rerun_it_and_what_hangs_on_it(finished, undo):
    finished.edit("params/demo.yaml", "mae-b-1600: {", "mae-b-1600: {lr: 1.0e-4, ")
    assert finished.dry_run().keys() == {
        "pretrain_model mae-b-1600", "probe mae-b-1600", "table table1", "claims_table", "figure training",
        "figure epochs", "models_table", "metrics", "page", "all",
    }  # fmt: skip


def test_a_recipe_reruns_its_trained_models_and_no_random_weights(finished, undo, plan):
    finished.edit(
        "params/demo.yaml",
        "    tokenizer: dvae\n    regressor_depth: 1\n",
        "    tokenizer: dvae\n    regressor_depth: 2\n",
    )
    jobs = finished.dry_run().keys()
    again = {job.split()[1] for job in jobs if job.startswith("pretrain_model")}
    assert again == {model for model in plan.trained if plan.recipes[model].method == "cae"}
    assert not [job for job in jobs if "random-b" in job]
    finished.edit("params/paper.yaml", "    lr: 1.5e-3\n", "    lr: 1.4e-3\n")
    assert not [job for job in finished.dry_run() if "random-b" in job]
    finished.edit("params/demo.yaml", "base: {width: 64", "base: {width: 32")
    assert {"initialise_model random-b", "probe random-b"} <= finished.dry_run().keys()


def test_a_seed_more_runs_what_is_new_and_the_tables_that_show_it(finished, undo):
    finished.edit("params/demo.yaml", "cae-b-1600: {", "cae-b-1600: {seeds: [0, 1], ")
    new = "cae-b-1600@1"
    jobs = finished.dry_run()
    (cache,) = (job.split()[1] for job in jobs if job.startswith("list_tokens "))
    assert jobs.keys() == {
        f"pretrain_model {new}", f"probe {new}", f"finetune finetune {new}", *search_of(new), f"detect coco-mask {new}",
        *(f"table table{number}" for number in (1, 3, 4, 5, 7)), "figure epochs", "claims_table", "models_table", "metrics",
        "page", "all", f"tokenize {cache} 1 1", f"list_tokens {cache}",
    }  # fmt: skip
    for job in (f"pretrain_model {new}", f"probe {new}", f"finetune finetune {new}", f"segment {new} {LR}"):
        assert '"seed": 1' in jobs[job] and '"seed": 0' not in jobs[job]
    assert f"results/demo/evaluate/linear/{new}.json" in jobs["table table1"]

    finished.run("git", "checkout", "--quiet", ".")
    finished.edit("params/demo.yaml", "scale: demo", "scale: demo\nseeds: [0, 1]")
    jobs = finished.dry_run().keys()
    trained = ("make_data", "train_tokenizer", "tokenize", "list_tokens", "pretrain_model", "probe", "finetune", "segment",
               "choose_learning_rate", "detect", "classify")  # fmt: skip
    again = {job for job in jobs if job.startswith(trained) and "@1" not in job}
    assert all(re.fullmatch(r"(tokenize|list_tokens) dvae(-\d+)?-[0-9a-f]{8}( 1 1)?", job) for job in again) and again
    drawn = [job for job in jobs if job.startswith(("figure ", "tsne", "reconstruct", "masks_and_crops"))]
    assert drawn == ["figure epochs"]  # whose bars are of seeds


def test_the_paths_of_data_and_the_machine_rerun_no_training(finished, undo):
    finished.edit("params/demo.yaml", "pretrain: {threads: 1, mem_mb: 1500", "pretrain: {threads: 2, mem_mb: 1600")
    assert finished.dry_run().keys() == {"page", "all"}  # the page shows all params


def test_the_size_of_a_batch_indexes_nothing_anew_and_is_held_against_the_images(finished, undo):
    finished.edit("params/demo.yaml", "attentive: {batch_size: 256", "attentive: {batch_size: 512")
    jobs = finished.dry_run().keys()
    assert "probe cae-b-300" in jobs and not [job for job in jobs if job.startswith(("make_data", "train", "pretrain"))]
    finished.edit("params/demo.yaml", "attentive: {batch_size: 512", "attentive: {batch_size: 20480")
    text = finished.run("snakemake", "--dry-run", status=1)
    assert "probes.attentive.batch_size: 20480 is above the 20000 training images; lower it in params" in text
    assert "Traceback" not in text and len(text.splitlines()) <= 5


PAGE = {"page", "all"}
REPORT = {"table", "claims_table", "figure", "metrics", *PAGE}  # what new metrics change
ENCODED = {
    "probe",
    "finetune",
    "segment",
    "choose_learning_rate",
    "detect",
    "tsne",
    "attention",
    "reconstruct",
    "models_table",
}
TRAINED = {"pretrain_model", *ENCODED, *REPORT}
TOKENS = {"train_tokenizer", "tokenize", "list_tokens"}
# Edits that rerun nothing: file, old text (none for a new file), new text.
HARMLESS = {
    "a comment": ("cae/methods/cae.py", "class CAE(", "# Why.\nclass CAE("),
    "a docstring": ("cae/data/views.py", '"""Random resized crops', '"""Crops'),
    "the message of an error": ("cae/data/datasets.py", "image is missing; restore it", "image is gone; restore it"),
    "a new layout": ("cae/data/layouts/flowers.py", "", 'SPLITS = "train", "test"\n'),
    "a new function of random numbers": (
        "cae/data/rng.py",
        "def _mix(",
        "def normals(n):\n    return n\n\n\ndef _mix(",
    ),
    "a new schedule": ("cae/training/optim.py", "def cosine(", "def constant(step):\n    return 1.0\n\n\ndef cosine("),
    "a new pretraining method": ("cae/methods/new.py", "", "class New:\n    pass\n\n\nbuild = New\n"),
    "a new part of methods": ("cae/methods/parts/new.py", "", "BINS = 9\n"),
    "a new kind of tokenizer": ("cae/tokenizers/means.py", "", "def build(params, grid):\n    return None\n"),
    "a new evaluation": ("cae/tasks/neighbours.py", "", "def main(data):\n    return data\n"),
    "a new figure": ("cae/reporting/figures/new.py", "", 'CAPTION = "New."\ndraw = print\n'),
    "how changed data are found": ("cae/data/changes.py", "COMPARED = 25_000", "COMPARED = 20_000"),
}
# Edits, and exactly which rules of the demo's DAG they rerun.
EDITS = {
    "the loss of one method": ("cae/methods/beit.py", "def forward(", "changed = 1\n\n    def forward(",
                               {"pretrain_model", "probe", "models_table", *REPORT}),
    "the crop rule": ("cae/data/views.py", "fits = (w > 0)", "fits = (w > 1)", TOKENS | TRAINED | {"masks_and_crops"}),
    "the rule of masks": ("cae/data/masks.py", "first += DRAWN", "first += 2 * DRAWN", TRAINED | {"masks_and_crops"}),
    "the reader of token caches": ("cae/tokenizers/cache.py", "def _open(", "@cache\ndef _open(",
                                   TRAINED | {"list_tokens", "classify"}),
    "a schedule": ("cae/training/optim.py", "return lr * step / warmup", "return lr * (step + 1) / warmup",
                   TRAINED | TOKENS | {"classify"}),
    "how probes learn": ("cae/tasks/probe.py", "momentum=0.9, nesterov=True", "momentum=0.8, nesterov=True",
                         {"probe", "attention", *REPORT}),
    "the colours of figures": ("cae/reporting/figures/style.py", '"#0072B2"', '"#0072B3"', {"figure", "rulegraph", *PAGE}),
    "a caption": ("cae/reporting/figures/figure5.py", 'CAPTION = """', 'CAPTION = """New: ', PAGE),
    "the page's template": ("cae/reporting/page.html.j2", "<h1>", "<h1> ", PAGE),
    "how tables are written": ("cae/reporting/tables.py", "def main(", "@cache\ndef main(", {"table", "claims_table", *PAGE}),
}  # fmt: skip


def apply(finished, file, old, new):
    if old:
        finished.edit(file, old, new)
    else:
        (finished.path / file).write_text(new)


def test_what_is_new_reruns_nothing_that_exists(finished, undo):
    for edit in HARMLESS.values():
        apply(finished, *edit)
    assert finished.dry_run() == {}


@pytest.mark.parametrize("edit", EDITS)
def test_what_an_edit_reruns(finished, undo, edit):
    *change, expected = EDITS[edit]
    apply(finished, *change)
    assert {job.split()[0] for job in finished.dry_run()} == expected


def test_code_reruns_the_models_that_run_it(finished, undo, plan):
    finished.edit("cae/methods/cae.py", "def freeze_key_bias(", "@staticmethod\ndef freeze_key_bias(")
    jobs = finished.dry_run().keys()
    methods = {model: recipe.method for model, recipe in plan.recipes.items()}
    again = {job.split()[1] for job in jobs if job.startswith("pretrain_model")}
    assert again | {"random-b"} == {model for model, method in methods.items() if method == "cae"}
    assert "initialise_model random-b" in jobs  # whose blocks have such biases
    assert "reconstruct" in jobs  # it decodes with a CAE


def test_a_recipe_of_other_views_makes_a_cache_and_leaves_the_shared_one(finished, undo):
    finished.edit("params/demo.yaml", "view: {jitter: null, views: null}", "view: {jitter: 0.2, views: null}")
    jobs = {job for job in finished.dry_run("pretrain") if job != "pretrain"}
    cache = next(job.split()[1] for job in jobs if job.startswith("list_tokens"))
    assert cache.startswith("dvae-") and jobs == {
        f"tokenize {cache} 1 1", f"list_tokens {cache}", "pretrain_model beit-b-300"
    }  # fmt: skip


def test_a_figure_deleted_is_drawn_again_alone(finished):
    figure = finished.path / "reports/demo/figures/figure5.png"
    figure.rename(figure.with_suffix(".away"))
    jobs = finished.dry_run("figure5").keys()
    figure.with_suffix(".away").rename(figure)
    assert jobs == {"figure figure5", "figure5"}


@pytest.fixture(scope="module")
def pushed(finished, tmp_path_factory):
    """The finished tree's results in a remote; a function that clones it and pulls what is named."""
    store = tmp_path_factory.mktemp("store")
    finished.run("dvc", "remote", "add", "--default", "store", str(store))
    finished.run("dvc", "push")
    finished.run("git", "-c", "user.name=x", "-c", "user.email=x@x", "commit", "--quiet", "--all", "--message", "store")

    def clone(*pulled: str):
        tree = type(finished)(tmp_path_factory.mktemp("clone") / "of")
        finished.run("git", "clone", "--quiet", ".", str(tree.path))
        tree.run("dvc", "pull", *pulled)
        return tree

    return clone


def test_who_clones_and_pulls_has_nothing_to_do(pushed):
    clone = pushed()
    assert clone.dry_run() == {}
    assert "up to date" in clone.run("dvc", "status")
    clone.edit("params/demo.yaml", "mae-b-1600: {", "mae-b-1600: {lr: 1.0e-4, ")
    jobs = clone.dry_run().keys()
    assert {job.split()[1] for job in jobs if job.startswith(("pretrain_model", "probe"))} == {"mae-b-1600"}
    assert not [job for job in jobs if job.startswith(("make_data", "train_tokenizer", "tokenize", "list_tokens"))]


def test_a_figure_is_drawn_again_from_its_arrays_where_nothing_else_is(pushed):
    clone = pushed("results/demo/analyze", ".snakemake/metadata")
    assert not (clone.path / "results/demo/pretrain").exists() and not (clone.path / "data").exists()
    figure = "reports/demo/figures/figure5.png"
    assert clone.dry_run(figure).keys() == {"figure figure5"}
    clone.run("snakemake", "--cores", "1", figure)
    assert "results/demo/analyze/figure5.npz" in (clone.path / figure).read_text()
    assert sorted(path.name for path in (clone.path / "results/demo").iterdir()) == ["analyze"]


def test_every_output_lies_in_one_output_of_dvc(finished):
    stages = yaml.safe_load((finished.path / "dvc.yaml").read_text())["stages"]
    outs = [next(iter(out)) for stage in stages.values() for out in stage["outs"]]
    lines = finished.run("snakemake", "--summary").splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("output_file\t"))
    outputs = [line.split("\t")[0] for line in lines[start + 1 :] if re.match("(data|results|reports)/", line)]
    assert len(outputs) > 60
    for output in outputs:
        assert sum(output.startswith(f"{out}/") for out in outs) == 1, output
