"""Targets that nothing makes."""

import re

from cae.params import read
from tests.workflow.conftest import ROOT

(LR,) = read(ROOT / "params/demo.yaml")["ade20k"]["sizes"]["base"]["lrs"]
CELL, RUN = "results/demo/evaluate/attentive/cae-b-300.json", f"results/demo/ade20k/cae-b-300/{LR}/metrics.json"


TOLD = {
    "tabel3": ("no table tabel3 in scale demo", "table3"),
    "pretrian": ("no file or rule pretrian in scale demo", "pretrain"),
    "reports/demo/figures/figure11.png": ("no figure figure11 in scale demo", "reports/demo/figures/figure1.png"),
    "results/demo/evaluate/attentive/cae-b-30.json": ("no model cae-b-30 in scale demo", CELL),
    "results/demo/evaluate/atentive/cae-b-300.json": ("no protocol atentive in scale demo", CELL),
    "results/demo/evalute/atentive/cae-b-300.json": ("no file or rule evalute .*; no protocol atentive in", CELL),
    f"results/demo/ade20k/cae-b-30/{LR}/metrics.json": ("no model cae-b-30 in scale demo", RUN),
    "data/demo/imagnet.json": ("no data set imagnet in scale demo", "data/demo/imagenet.json"),
    "results/demo/tokens/dave/shards.json": ("no tokenizer dave in scale demo", "results/demo/tokens/dvae/shards.json"),
    "results/paper/evaluate/attentive/cae-b-300.json": ("these are params of scale demo, .*params/paper.yaml", CELL),
    # A learning rate that params do not list, and one that they list, spelled otherwise than in paths.
    "results/demo/ade20k/cae-b-300/7e-4/metrics.json": (f"ade20k.sizes.base.lrs .* {LR} .*, no 7e-4", RUN),
    f"results/demo/ade20k/cae-b-300/{LR}0/metrics.json": (f"ade20k.sizes.base.lrs .*, no {LR}0", RUN),
}


def test_an_analysis_that_a_scale_leaves_out_is_made_by_no_rule(tree):
    (tree.path / "params/mine.yaml").write_text("base: demo.yaml\nmodels: {moco-v3-b-300: null}\n")
    target = "results/demo/analyze/figure9.npz"
    text = tree.run("snakemake", "--dry-run", "--configfile", "params/mine.yaml", "--", target, status=1)
    (tree.path / "params/mine.yaml").unlink()
    why = "it needs the model moco-v3-b-300, which is null in `models` of params/mine.yaml"
    assert f"\n{target}: scale demo leaves figure9 out: {why}\n" in text


def test_misspelt_targets_are_told_with_the_nearest(tree):
    asked = ["--forcerun", "tabel3", "--", *(target for target in TOLD if target != "tabel3"), "README.md", "figure5"]
    text = tree.run("snakemake", "--dry-run", *asked, status=1)
    for target, (said, nearest) in TOLD.items():
        assert re.search(f"\n{re.escape(target)}: {said}.*; did you mean {re.escape(nearest)}[?]\n", text), text
    assert "\nREADME.md: no rule makes it, nor anything like it" in text and "figure5:" not in text
    assert "Traceback" not in text and "MissingRule" not in text and len(text.splitlines()) == len(TOLD) + 5


def test_every_option_that_names_targets_or_rules_is_checked(tree):
    options = ["--until", "pretrian", "--omit-from", "figure11", CELL.replace("300", "30"), "--prioritize", "tabel3"]
    options += ["--set-threads", "probee=1", "probe=1", "--set-resources", "sgment:mem_mb=3", "--groups", "dtect=a"]
    options += ["--batch", "pge=1/2", "--allowed-rules", "tabble", "table", "--consider-ancient", "pag=0"]
    text = tree.run("snakemake", "--dry-run", *options, status=1)
    for told in (
        "pretrian: no file or rule pretrian in scale demo; did you mean pretrain?",
        "figure11: no figure figure11 in scale demo; did you mean figure1?",
        f"{CELL.replace('300', '30')}: no model cae-b-30 in scale demo; did you mean {CELL}?",
        "tabel3: no table tabel3 in scale demo; did you mean table3?",
        "--set-threads: probee: no file or rule probee in scale demo; did you mean probe?",
        "--set-resources: sgment: no file or rule sgment in scale demo; did you mean segment?",
        "--groups: dtect: no file or rule dtect in scale demo; did you mean detect?",
        "--consider-ancient: pag: no file or rule pag in scale demo; did you mean page?",
        "--allowed-rules: tabble: no file or rule tabble in scale demo; did you mean table?",
        "--batch: pge: no file or rule pge in scale demo; did you mean page?",
    ):
        assert f"\n{told}\n" in text, text
    assert "Traceback" not in text
    tree.dry_run("--omit-from", "pretrain", "--set-threads", "probe=1", "--groups", "detect=a", "--", "table1")


def test_what_a_scale_leaves_out_is_told_with_the_reason(tree):
    (tree.path / "params/mine.yaml").write_text("base: demo.yaml\nonly: [mae-b-1600]\ndatasets: {ade20k: null}\n")
    cell = "results/demo/evaluate/linear/cae-b-300.json"
    given = "snakemake", "--dry-run", "--configfile", "params/mine.yaml", "--", "figure5", "figure4", cell
    text = tree.run(*given, status=1)
    (tree.path / "params/mine.yaml").unlink()
    assert "\nfigure5: scale demo leaves figure5 out: it needs the data set ade20k, which is null\n" in text
    why = "it needs the model cae-b-300-pixels, which is not in `only` of params/mine.yaml"
    assert f"\nfigure4: scale demo leaves figure4 out: {why}\n" in text
    assert f"\n{cell}: scale demo leaves cae-b-300 out: not in `only` of params/mine.yaml\n" in text
    text = tree.run("snakemake", "--dry-run", "--", cell.replace("300", "800"), status=1)
    assert "scale demo leaves cae-b-800 out: not in `only` of params/demo.yaml\n" in text


def test_a_seed_that_params_do_not_list_is_told_with_one_that_they_do(tree):
    (tree.path / "params/mine.yaml").write_text("base: demo.yaml\nmodels: {cae-b-300: {seeds: [0, 5]}}\n")
    of_mine = ("snakemake", "--dry-run", "--configfile", "params/mine.yaml", "--")
    told = tree.run(*of_mine, CELL.replace("300", "300@6"), RUN.replace(f"300/{LR}", "300@5/7e-4"), status=1)
    (tree.path / "params/mine.yaml").unlink()
    assert f"no model cae-b-300@6 in scale demo; did you mean {CELL.replace('300', '300@5')}?" in told
    assert f"no 7e-4; did you mean {RUN.replace('300', '300@5')}?" in told
