"""What Snakemake plans, in a copy of the repository where nothing has been made."""

import functools
import inspect
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from cae import cli
from cae.params import read
from tests.workflow.conftest import ALL, copy
from workflow.machine import has_gpu

ROOT = Path(__file__).parents[2]


def of(rule: str, jobs) -> set[str]:
    """Wildcards of a rule's planned jobs."""
    return {job.partition(" ")[2] for job in jobs if job.split()[0] == rule}


def test_style(tree):
    lints = re.findall(r"^ +\* (.*)", tree.run("snakemake", "--lint", status=1), re.M)
    assert set(lints) == {"Specify a conda environment or container for each rule.:"}  # one environment runs all
    tree.run("snakefmt", "--check", "Snakefile", "workflow")


def test_the_paper_is_planned_without_its_data(tree):
    jobs = tree.dry_run("--configfile", "params/paper.yaml").keys()
    models = yaml.safe_load((tree.path / "params/paper.yaml").read_text())["models"]
    released = {name for name, model in models.items() if model.get("source") == "released"}
    own = {
        "simmim-b-800",
        "data2vec-b-800",
        "cae-b-300-random-masks",
        "cae-b-300-xavier",
        "cae-b-300-xavier-no-align",
        "cae-b-1600-no-align",
        "cae-b-1600-xavier",
    }  # of tables of our own, which this scale does not show
    untrained = {name for name, model in models.items() if not model["epochs"]}
    assert of("pretrain_model", jobs) == models.keys() - released - own - untrained
    assert of("initialise_model", jobs) == untrained == {"random-s", "random-b", "random-l"}
    assert of("import_model", jobs) == released and len(released) == 7
    assert of("import_tokenizer", jobs) == {"dalle", "vqgan-openimages"}
    assert of("train_tokenizer", jobs) == {"dvae-imagenet"}
    assert {"index_data imagenet", "figure figure5", "table table2", "table table7", "page"} <= jobs
    assert not of("make_data", jobs)


def test_other_views_have_a_token_cache_of_their_own(tree):
    jobs = tree.dry_run("--configfile", "params/paper.yaml", "--", "tokens", "pretrain")
    (beit,) = of("list_tokens", jobs) - {"dalle", "dvae-imagenet", "vqgan-openimages"}
    assert re.fullmatch("dalle-[0-9a-f]{8}", beit)
    assert len(of("tokenize", jobs)) == 4 * 64
    for cache, jitter, views in ((beit, "0.4", 300), ("dalle", "0.0", 1600)):
        for job in (f"tokenize {cache} 7 64", f"list_tokens {cache}"):
            assert f'"jitter": {jitter}' in jobs[job] and f'"views": {views}' in jobs[job]
            assert "--tokenizer results/paper/tokenizers/dalle " in jobs[job]
    for model, cache in (("beit-s-300", beit), ("beit-b-300", beit), ("cae-s-300", "dalle"), ("cae-b-300", "dalle")):
        options = f"--tokenizer results/paper/tokenizers/dalle --tokens results/paper/tokens/{cache} "
        assert options in jobs[f"pretrain_model {model}"]


def test_equal_views_share_a_token_cache(tree):
    jobs = tree.dry_run("pretrain", *ALL)
    assert of("list_tokens", jobs) == of("train_tokenizer", jobs) == {"dvae", "dvae-64", "dvae-256"}
    for model in ("beit-b-300", "cae-b-300"):
        assert "--tokens results/demo-all/tokens/dvae " in jobs[f"pretrain_model {model}"]
    assert "--tokens" not in jobs["pretrain_model mae-b-300"]
    assert of("list_tokens", tree.dry_run("results/demo/pretrain/beit-b-300/model.safetensors")) == {"dvae"}


def encoders(jobs) -> set[str]:
    return of("pretrain_model", jobs) | of("initialise_model", jobs)


def test_tables_train_what_their_rows_name_and_nothing_twice(tree):
    named = {}
    for table in ("table1", "table7"):
        named[table] = {row["model"] for row in read(tree.path / "params/tables.yaml")[table]["rows"] if "model" in row}
        assert encoders(tree.dry_run(table, *ALL)) == named[table]
    assert {"cae-b-800", "cae-b-1600", "cae-l-1600"} == named["table1"] & named["table7"]
    assert encoders(tree.dry_run("table1", "table7", *ALL)) == named["table1"] | named["table7"]  # each once


def test_each_model_is_fine_tuned_once_by_its_sizes_recipe(tree):
    jobs = tree.dry_run("table1", "--configfile", "params/paper.yaml")
    assert of("finetune", jobs) == {f"finetune {model}" for model in of("probe", jobs)} and len(of("probe", jobs)) == 16
    epochs = {model: jobs[f"finetune finetune {model}"] for model in ("cae-s-300", "mae-b-1600", "mae-l-1600")}
    for (model, job), expected in zip(epochs.items(), (200, 100, 50)):
        assert f'"epochs": {expected}, ' in job
        assert (
            f"--encoder results/paper/pretrain/{model} " in job and f"--output results/paper/finetune/{model} " in job
        )
    assert not of("finetune", tree.dry_run("table2", "table7", *ALL))  # they have no such column
    assert of("finetune", tree.dry_run("results/demo/evaluate/finetune/deit-b-300.json")) == {"finetune deit-b-300"}


def test_segmentation_searches_every_learning_rate_of_the_size(tree):
    jobs = tree.dry_run("table3", "--configfile", "params/paper.yaml")
    runs = [job.split()[1:] for job in jobs if job.startswith("segment ")]
    assert sorted(lr for model, lr in runs if model == "cae-b-1600") == ["0.0001", "0.0002", "0.0003", "0.0004"]
    assert sorted(lr for model, lr in runs if model == "cae-l-1600") == ["3e-05", "4e-05", "5e-05"]
    assert '"lr": 3e-05' in jobs["segment cae-l-1600 3e-05"]
    chosen = jobs["choose_learning_rate cae-l-1600"]
    assert all(f"results/paper/ade20k/cae-l-1600/{lr}/metrics.json" in chosen for lr in ("3e-05", "4e-05", "5e-05"))
    assert len(runs) == 4 * 11 + 3 * 2


def test_detectors_and_tables_share_encoders_and_evaluations(tree):
    jobs = tree.dry_run("table2", "table4", "table5", *ALL)
    detected = [job.split()[1:] for job in jobs if job.startswith("detect ")]
    cascades = {model for protocol, model in detected if protocol == "coco-cascade"}
    assert cascades == {"mae-b-1600", "cae-b-300", "cae-b-800", "cae-b-1600"}
    assert len(detected) == len({tuple(each) for each in detected}) == 4 + 17 + 2  # of table 2 two are in no other
    assert '"cascade": true' in jobs["detect coco-cascade cae-b-300"]
    assert '"cascade": false' in jobs["detect coco-mask cae-b-300"]


def test_table6_fine_tunes_on_its_own_data(tree):
    jobs = tree.dry_run("table6", *ALL)
    tuned = {tuple(job.split()[1:]) for job in jobs if job.startswith("finetune ")}
    models = {"random-b", "deit-b-300", "dino-b-400", "mae-b-1600", "cae-b-1600"}
    assert tuned == {(data, model) for data in ("food101", "clipart", "sketch") for model in models}
    assert "--data data/demo-all/sketch.json" in jobs["finetune sketch cae-b-1600"]


def test_few_labels_are_fine_tunings_of_their_own(tree):
    jobs = tree.dry_run("labels", *ALL)
    tuned = {protocol: {job.split()[2] for job in jobs if job.startswith(f"finetune {protocol} ")}
             for protocol in ("finetune", "finetune-10", "finetune-1")}  # fmt: skip
    assert tuned["finetune"] == tuned["finetune-10"] == tuned["finetune-1"] and "cae-b-1600" in tuned["finetune"]
    for protocol, share in {"finetune": 1.0, "finetune-10": 0.1, "finetune-1": 0.01}.items():
        job = jobs[f"finetune {protocol} cae-b-1600"]
        assert f'"labels": {share}, ' in job and f"--protocol {protocol} " in job
        assert f"results/demo-all/{protocol}/cae-b-1600/model.safetensors" in job


def test_panels_show_the_models_that_params_name(tree):
    jobs = tree.dry_run("segmentation", "detection")
    for figure, protocol in {"segmentation": "ade20k", "detection": "coco-mask"}.items():
        for model in ("cae-b-1600", "random-b"):
            assert f"results/demo/{protocol}/{model}/examples.npz" in jobs[f"figure {figure}"]


def test_a_supervised_model_is_probed_only_if_asked(tree):
    jobs = tree.dry_run("table1", *ALL).keys()
    assert of("classify", jobs) == {"deit-s-300", "deit-b-300"} and not of("classify", jobs) & of("probe", jobs)
    jobs = tree.dry_run("results/demo/evaluate/linear/deit-b-300.json").keys()
    assert of("probe", jobs) == {"deit-b-300"} and not of("classify", jobs)


def test_source_decides_between_training_and_import(tree):
    released = "source: released, file: $CHECKPOINTS/mae.pth, sha256: 0123456789ab"
    (tree.path / "params/mine.yaml").write_text(f"base: demo-all.yaml\nmodels: {{mae-b-300: {{{released}}}}}\n")
    jobs = tree.dry_run("--configfile", "params/mine.yaml")
    (tree.path / "params/mine.yaml").unlink()
    assert of("import_model", jobs) == {"mae-b-300"} and "mae-b-300" not in of("pretrain_model", jobs)
    assert "probe mae-b-300" in jobs and "mae-b-1600" in of("pretrain_model", jobs)
    assert "\n    priority: 10000\n" in jobs["import_model mae-b-300"]  # a file that is not there is told at once
    assert "mae-b-300/metrics.jsonl" not in jobs["figure training"] + jobs["models_table"]
    assert "mae-b-300/provenance.json" in jobs["models_table"]


def test_the_demo_leaves_rows_and_cells_out_and_says_where_to_change_that(tree):
    jobs, raw = tree.dry_run().keys(), yaml.safe_load((tree.path / "params/demo.yaml").read_text())
    assert encoders(jobs) == set(raw["only"])
    tuned = {f"finetune {model}" for model in raw["cells"]["finetune"]}
    assert of("finetune", jobs) == tuned and of("detect", jobs) == {f"coco-mask {m}" for m in raw["cells"]["coco-mask"]}
    assert of("make_data", jobs) == {"imagenet", "ade20k", "coco"}  # no data that no cell needs
    text = tree.run("snakemake", "--dry-run", "--quiet", "all")
    (line,) = [line for line in text.splitlines() if "leaves out" in line]
    assert line == "Scale demo leaves out 18 rows (`snakemake cost` tells which and why)"
    assert of("finetune", tree.dry_run("results/demo/evaluate/finetune/cae-b-300.json"))  # a cell may be asked for


def test_one_figure_asks_for_what_it_needs(tree):
    jobs = tree.dry_run("reports/demo/figures/figure3.png").keys()
    assert jobs == {"figure figure3", "masks_and_crops", "make_data imagenet"}
    figure4 = read(tree.path / "params/demo.yaml")["analyses"]["figure4"]["models"]
    jobs = tree.dry_run("figure4").keys()  # pixels are the targets: no tokens
    assert jobs == {
        "figure4",
        "figure figure4",
        "reconstruct",
        "make_data imagenet",
        *(f"pretrain_model {m}" for m in figure4),
    }


def test_drawings_ask_for_nothing(tree):
    assert tree.dry_run("figure1", "figure2", "figure8").keys() == {
        f"{rule}figure{i}" for rule in ("figure ", "") for i in (1, 2, 8)
    }


@pytest.mark.parametrize("scale", ["demo", "paper"])
def test_figures_of_attention_ask_for_encoders_and_figure_7_for_a_probe(tree, scale):
    jobs = tree.dry_run("--configfile", f"params/{scale}.yaml", "--", "figure6", "figure7", "figure9")
    assert of("attention", jobs) == {"figure6", "figure7", "figure9"} and of("probe", jobs) == {"cae-b-1600"}
    assert of("pretrain_model", jobs) | of("import_model", jobs) == {"moco-v3-b-300", "cae-b-1600"}
    models = [f"results/{scale}/pretrain/{model}" for model in ("moco-v3-b-300", "cae-b-1600")]
    for figure, shown in (("figure6", models), ("figure7", models[1:]), ("figure9", models)):
        job = jobs[f"attention {figure}"]
        assert f" --objects data/{scale}/coco.json --models {' '.join(shown)} " in job
        probe = f" --probes results/{scale}/attentive/cae-b-1600/model.safetensors "
        assert (probe in job) == (figure == "figure7") and ('"view": {' in job) == (figure == "figure9")


def test_without_masks_of_objects_attention_is_mapped_all_the_same(tree):
    (tree.path / "params/mine.yaml").write_text("base: demo.yaml\ndatasets: {coco: null}\n")
    jobs = tree.dry_run("--configfile", "params/mine.yaml", "--", "figure6")
    (tree.path / "params/mine.yaml").unlink()
    assert "--objects" not in jobs["attention figure6"] and of("make_data", jobs) == {"imagenet"}


def test_wildcards_are_quoted_in_every_command():
    """Names are checked when params are read, and reach no shell as anything but a word even so."""
    for path in (ROOT / "workflow/rules").glob("*.smk"):
        assert not re.findall(r"\{(?:wildcards\.\w+|(?:input|output)(?:\.\w+)?|log)\}", path.read_text()), path.name


def test_what_a_scale_leaves_out_is_told_and_not_asked_for(tree):
    (tree.path / "params/mine.yaml").write_text("base: demo-all.yaml\nonly: [mae-b-300]\ndatasets: {ade20k: null}\n")
    jobs = tree.dry_run("--configfile", "params/mine.yaml")
    text = tree.run("snakemake", "--dry-run", "--configfile", "params/mine.yaml", "--", "figure3")
    (tree.path / "params/mine.yaml").unlink()
    assert of("pretrain_model", jobs) == {"mae-b-300"} and of("make_data", jobs) == {"imagenet", "coco"}
    assert of("figure", jobs) == {*(f"figure{i}" for i in (1, 2, 3, 8)), "epochs", "training"}
    assert len(of("table", jobs)) == 10
    assert "ade20k.json" not in jobs["page"]
    assert re.search("Scale demo-all leaves out [0-9]+ rows and 7 figures ", text)


SCALES = {path.stem for path in (ROOT / "params").glob("*.yaml")} - {"tables", "claims"}

LEFT_OUT = {  # steps that a scale has no use for
    "released": {"tasks.tokenize", "tasks.pretrain"},
    "photos-gpu": {"tasks.detect", "tasks.classify"},
    "photos-rates": {"tasks.finetune", "tasks.segment", "tasks.choose", "tasks.detect", "tasks.classify"},
}


@pytest.mark.parametrize("scale", sorted(SCALES))
def test_every_command_is_one_that_the_library_knows(tree, scale):
    """Each planned command is read by the real command line, its params by the step's own types; no work is done."""
    jobs, read = tree.dry_run("--configfile", f"params/{scale}.yaml"), set()
    application = functools.cache(cli.application)
    commands = [re.search(r"Shell command: (.*) >>? \S+ 2>&1", job) for job in jobs.values()]
    for command in filter(None, commands):
        python, *words = shlex.split(command[1].rpartition(" && ")[2])
        assert (python, words[:2]) == ("python", ["-m", "cae"])
        function, given, ignored = application(words[2]).parse_args(words[2:], exit_on_error=False, print_error=False)
        assert given.arguments.keys() >= {"output"} & inspect.signature(function).parameters.keys() and not ignored
        read.add(function.__module__.removeprefix("cae."))
    expected = {
        "tasks.pretrain",
        "tasks.initialise",
        "tasks.import_model" if scale in ("paper", "released") else "tasks.train_tokenizer",
        "tasks.probe",
        "tasks.finetune",
        "tasks.segment",
        "tasks.choose",
        "tasks.detect",
        "tasks.classify",
        "tasks.tokenize",
        "reporting.claims",
        "reporting.page",
    }
    assert read >= expected - LEFT_OUT.get(scale, set())


@pytest.mark.parametrize(
    ("old", "new", "arguments", "message"),
    [
        (", warmup_epochs", ", warm_epochs", [], "params/demo.yaml: .*key 'warm_epochs'; did you mean 'warmup_epochs'?"),
        ("scale: demo", "scale: demo", ["--config", "sede=1"], "--config: unknown key 'sede'; did you mean 'seed'?"),
        ("scale: demo", "scale: demo", ["--config", "imagenet=/x"], "imagenet.*data/demo/imagenet"),
        ("scale: demo", "scale: x$(touch pwned)", [], "params/demo.yaml: scale: not a name: "),
        ("base: paper.yaml", "base: papers.yaml", [], "params/demo.yaml: base: papers.yaml: no such params file"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_in_a_line(tree, old, new, arguments, message):
    tree.edit("params/demo.yaml", old, new)
    text = tree.run("snakemake", "--dry-run", *arguments, status=1)
    tree.edit("params/demo.yaml", new, old)
    assert re.search(message.replace("?", r"\?"), text)
    assert "Traceback" not in text and len(text.splitlines()) <= 5


def test_the_path_of_a_data_set_reaches_jobs_and_is_no_param(tree):
    script = """
from pathlib import Path
import os
from cae.params import validate
from workflow.params import read_params
paper = [Path("params/paper.yaml")]
a = validate(read_params(paper, {"imagenet": "/data/imagenet"}))
assert os.environ["IMAGENET_ROOT"] == "/data/imagenet"
assert a == validate(read_params(paper, {}))
assert validate(read_params(paper, {"seed": 3})).seed == 3
assert validate(read_params([], {})).scale == "demo"
"""
    subprocess.run([sys.executable, "-c", script], cwd=tree.path, check=True)


def test_a_recipe_imports_no_released_model_again(tmp_path):
    """Only what matters to an import does: its file, its size."""
    tree, of_paper = copy(tmp_path), ("--configfile", "params/paper.yaml")
    folder = "results/paper/pretrain/mae-b-1600"
    tree.run("snakemake", "--cores", "1", *of_paper, "--", f"{folder}/model.safetensors")
    assert all((tmp_path / folder / name).exists() for name in ("config.json", "provenance.json", "README.md"))
    tree.edit("params/paper.yaml", "lr: 2.4e-3 # 1.5e-4", "lr: 1.2e-3 # 1.5e-4")
    tree.edit("params/paper.yaml", "decoder_width: 512", "decoder_width: 256")
    assert tree.dry_run(*of_paper, "--", f"{folder}/model.safetensors") == {}
    tree.edit("params/paper.yaml", "mae_pretrain_vit_base.pth}", "another.pth}")
    assert tree.dry_run(*of_paper, "--", f"{folder}/model.safetensors").keys() == {"import_model mae-b-1600"}


def test_claims_are_asked_of_every_table_and_of_figures_arrays(tree):
    job = tree.dry_run("claims")["claims_table"]
    for file in (
        *(f"reports/demo/tables/table{i}{part}.csv" for i in range(1, 8) for part in ("", "-cells")),
        "results/demo/analyze/figure4.npz",
        "results/demo/analyze/figure5.npz",
    ):
        assert f" {file}" in job
    assert '"figure5": ["cae-b-1600", "random-b"]' in job
    assert "claims_table" in tree.dry_run()  # of the whole report, too


def test_a_claim_that_names_no_cell_is_told_at_planning(tmp_path):
    tree = copy(tmp_path)
    tree.edit("params/claims.yaml", "[table1, cae-s-300, linear]", "[table1, cae-s-300, linaer]")
    said = tree.run("snakemake", "--dry-run", status=1)
    assert "params/claims.yaml: cae-beit-linear: pairs.0: table1: cae-s-300: unknown key 'linaer'; did you mean" in said
    assert "Traceback" not in said


@pytest.mark.skipif(has_gpu(), reason="threads are packed on processors")
def test_threads_are_packed_into_the_cores_of_this_machine(tree):
    target = "results/small/evaluate/attentive/cae-b-300.json"

    def threads(*options: str) -> set[str]:
        jobs = tree.dry_run("--configfile", "params/small.yaml", *options, "--", target)
        text = "\n".join(
            job for name, job in jobs.items() if name.startswith(("train_", "tokenize", "pretrain", "probe"))
        )
        return set(re.findall(r"--threads (\d+)", text))

    assert threads("--cores", "2") == {"1"} and threads("--cores", "12") == {"6"}
    assert threads("--profile", "slurm", "--cores", "1000", "--group-components", "none=1") == {"8"}
