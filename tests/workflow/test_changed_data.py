"""Data sets that change under finished results, and manifests that go missing: the plain command does what is right."""

import json
import shutil
import sys

import pytest
from PIL import Image

from tests.workflow.conftest import copy

MINE = """
base: demo.yaml
scale: mine
only: [random-b, mae-b-300]
analyses: {{figure5: {{models: [mae-b-300, random-b]}}}}
datasets:
  imagenet: {{root: {photos}}}
  ade20k: {{root: {scenes}, classes: 3}}
  coco: null
  food101: null
  clipart: null
  sketch: null
"""
# Images are indexed for real, all else is done by the stand-in.
INDEX = """import sys

if sys.argv[1] == "index":
    from cae.cli import main

    main(sys.argv[1:])
    sys.exit()
"""
GIVEN = ("--configfile", "params/mine.yaml")
IMAGENET, ADE20K = "data/mine/imagenet.json", "data/mine/ade20k.json"
OF_IMAGENET = (
    "index_data imagenet",
    "pretrain_model mae-b-300",
    "probe mae-b-300",
    "page",
    "all",
)
OF_SCENES = ("index_data ade20k", "tsne", "figure figure5")


def picture(path, side=4):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (side, side), 1).save(path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A copy of the repository in which all of a tiny scale is made, and the roots of its two data sets."""
    folder = tmp_path_factory.mktemp("changed")
    photos, scenes, tree = folder / "photos", folder / "scenes", copy(folder / "tree")
    for i in range(300):
        picture(photos / f"train/{'ab'[i % 2]}/{i}.png")
    for name in "ab":
        picture(photos / f"val/{name}/0.png")
    for split, count in (("training", 40), ("validation", 4)):
        for i in range(count):
            picture(scenes / f"images/{split}/{i}.png")
            picture(scenes / f"annotations/{split}/{i}.png")
    (tree.path / "params/mine.yaml").write_text(MINE.format(photos=photos, scenes=scenes))
    program = tree.path / "cae/__main__.py"
    program.write_text(INDEX + program.read_text())
    tree.run("snakemake", "--cores", "2", *GIVEN)
    assert tree.dry_run(*GIVEN) == {}
    tree.photos, tree.scenes = photos, scenes
    return tree


@pytest.fixture
def tree(finished, tmp_path):
    """The finished tree; afterwards its data sets and manifests are as before."""
    kept = [finished.photos, finished.scenes, finished.path / "data"]
    for path in kept:
        shutil.copytree(path, tmp_path / path.name)
    yield finished
    for path in kept:
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(tmp_path / path.name, path)


def of_photos(jobs: dict) -> bool:
    """Whether all that depends on photographs is planned, and the list of scenes is not."""
    return set(OF_IMAGENET) <= jobs.keys() and "index_data ade20k" not in jobs


@pytest.mark.parametrize("removed", [False, True])
def test_what_depends_on_a_changed_data_set_is_planned_and_nothing_else(tree, removed):
    picture(tree.photos / "train/a/new.png")
    if removed:
        (tree.path / IMAGENET).unlink()
    text = tree.run("snakemake", "--dry-run", *GIVEN)
    assert f"{IMAGENET}: the data set below {tree.photos} changed:" in text and "`snakemake --dry-run`" in text
    assert ("train: 1 images new, first train/a/new.png" in text) != removed
    assert of_photos(tree.dry_run(*GIVEN))
    cell = "results/mine/evaluate/linear/mae-b-300.json"
    assert tree.dry_run(*GIVEN, "--", cell).keys() == {
        "index_data imagenet",
        "pretrain_model mae-b-300",
        "probe mae-b-300",
    }
    assert tree.dry_run(*GIVEN, "--", ADE20K) == {}  # which depends on no photograph


@pytest.mark.parametrize("removed", [False, True])
def test_what_does_not_depend_on_a_changed_data_set_is_left(tree, removed):
    (tree.scenes / "annotations/training/3.png").unlink()
    picture(tree.scenes / "annotations/training/3.png", side=5)
    if removed:
        (tree.path / ADE20K).unlink()
    jobs = tree.dry_run(*GIVEN)
    assert set(OF_SCENES) <= jobs.keys() and not [job for job in jobs if job.startswith(("pretrain", "probe", "train"))]
    assert tree.dry_run(*GIVEN, "--", "table1") == {}


def test_an_index_that_fails_is_not_forgotten(tree):
    new = tree.photos / "train/a/new.png"
    new.write_text("no picture")
    text = tree.run("snakemake", "--cores", "2", *GIVEN, "--", "data", status=1)
    assert "not a readable image" in text and not (tree.path / IMAGENET).exists()
    assert of_photos(tree.dry_run(*GIVEN))
    new.unlink()  # as it was
    text = tree.run("snakemake", "--dry-run", *GIVEN)
    assert f"{IMAGENET} was missing; its data set has not changed" in text and "Nothing to be done" in text


def test_a_manifest_that_is_missing_alone_is_written_again(tree):
    before = {path: (tree.path / path).read_bytes() for path in (IMAGENET, ADE20K)}
    shutil.rmtree(tree.path / "data")
    text = tree.run("snakemake", "--cores", "2", *GIVEN)
    assert "Nothing to be done" in text
    assert {path: (tree.path / path).read_bytes() for path in before} == before


def test_a_damaged_manifest_is_made_anew(tree):
    for text in ("{", "{}"):
        (tree.path / IMAGENET).write_text(text)
        assert of_photos(tree.dry_run(*GIVEN))


def test_results_are_drawn_where_data_sets_are_not(tree):
    """As after `dvc pull results/mine/analyze .snakemake/metadata-mine`, with the data sets here, and elsewhere."""
    figure = "reports/mine/figures/figure5.png"
    shutil.rmtree(tree.path / "data")
    assert tree.dry_run(*GIVEN, "--force", "--", figure).keys() == {"figure figure5"}
    shutil.rmtree(tree.photos)
    shutil.rmtree(tree.scenes)
    shutil.rmtree(tree.path / "data", ignore_errors=True)
    assert tree.dry_run(*GIVEN, "--force", "--", figure).keys() == {"figure figure5"}


def test_more_images_than_were_listed_may_be_asked_for_at_once(tree):
    """A batch is compared with the images that are there, not with those of an earlier list."""
    listed = json.loads((tree.path / IMAGENET).read_text())
    listed["splits"]["train"] = {key: values[:200] for key, values in listed["splits"]["train"].items()}
    (tree.path / IMAGENET).write_text(json.dumps(listed))
    assert of_photos(tree.dry_run(*GIVEN))  # probes take 256 images at a time


def test_the_plain_command_makes_all_of_a_changed_data_set_anew(tree):
    picture(tree.photos / "train/a/new.png")
    tree.run("snakemake", "--cores", "2", *GIVEN)
    assert "train/a/new.png" in json.loads((tree.path / IMAGENET).read_text())["splits"]["train"]["images"]
    text = tree.run("snakemake", "--dry-run", *GIVEN)
    assert "Nothing to be done" in text and "changed:" not in text
    # And back: what was made of other images is made anew, though there was once a list of these.
    (tree.photos / "train/a/new.png").unlink()
    (tree.path / IMAGENET).unlink()
    assert of_photos(tree.dry_run(*GIVEN))


def test_dvc_repro_sees_changed_data(tree):
    stages = "import sys; from cae.cli import main; main(['stages', '--params', 'params/mine.yaml'])"
    tree.run(sys.executable, "-c", stages)
    tree.run("git", "init", "--quiet")
    target = "dvc/mine/dvc.yaml:pretrain"
    tree.run("dvc", "repro", target)
    text = tree.run("dvc", "repro", target)
    assert text.count("Nothing to be done") == 1 and "pretrain' didn't change, skipping" in text
    picture(tree.photos / "train/a/new.png")
    text = tree.run("dvc", "repro", target)
    assert "train: 1 images new" in text and "Running stage 'dvc/mine/dvc.yaml:pretrain'" in text
    assert tree.dry_run(*GIVEN, "--", "pretrain") == {} and "pretrain' didn't change" in tree.run(
        "dvc", "repro", target
    )
