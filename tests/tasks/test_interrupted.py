"""Ctrl-C in each command that trains: what it saves, what it says, and that the same command ends as if nothing had been."""

import json
import signal

import pytest

from cae.training.run import Run
from tests.conftest import text


@pytest.fixture
def commands(tiny, data, pretrained):
    """A function (folder, name): a command that writes below the folder, and its file to compare."""
    encoder, shared = pretrained("cae-b-300-pixels"), {"seed": 0, "precision": "float32"}
    (segmenting, *_) = tiny.segmenting("cae-b-300").values()
    detecting = tiny.detecting("cae-b-300").model_dump() | {"cascade": False, "heads": "torchvision"}

    def command(folder, name):
        cell = ["--encoder", encoder, "--metrics", folder / "cell.json", "--protocol", name]
        words, job, images = {
            "pretrain": (["pretrain"], tiny.pretraining("cae-b-300-pixels").model_dump(), "imagenet"),
            "train-tokenizer": (["train-tokenizer"], {"tokenizer": tiny.tokenizers["dvae"].model_dump(),
                "image": tiny.image.model_dump(), "view": tiny.view.model_dump(), "seed": 0}, "imagenet"),
            "finetune": (["finetune", *cell], shared | tiny.finetuning("cae-b-300").model_dump(), "imagenet"),
            "segment": (["segment", "--encoder", encoder], shared | segmenting.model_dump(), "ade20k"),
            "detect": (["detect", *cell], shared | detecting, "coco"),
        }[name]  # fmt: skip
        return [*words, "--data", data[images], "--params", json.dumps(job), "--work", folder / "work",
                "--output", folder / "out"]  # fmt: skip

    return command


@pytest.mark.parametrize("name, title", [
    ("pretrain", "out"), ("train-tokenizer", "tokenizer out"), ("finetune", "finetune cae-b-300-pixels"),
    ("segment", "ade20k cae-b-300-pixels 0.001"), ("detect", "detect cae-b-300-pixels"),
])  # fmt: skip
def test_ctrl_c_saves_and_the_same_command_goes_on(run, commands, tmp_path, monkeypatch, name, title):
    add = Run.add

    def interrupted(self, terms):
        if self.step == 1:
            signal.raise_signal(signal.SIGINT)
        add(self, terms)

    run(*commands(tmp_path / "straight", name))
    with monkeypatch.context() as patched, pytest.raises(SystemExit) as ended:
        patched.setattr(Run, "add", interrupted)
        run(*commands(tmp_path / "again", name))
    assert ended.value.code.startswith(f"{title}: saved at step 2 of ")
    assert ended.value.code.endswith("; run the same command to go on")
    run(*commands(tmp_path / "again", name))
    straight, again = (tmp_path / each / "out/model.safetensors" for each in ("straight", "again"))
    assert straight.read_bytes() == again.read_bytes()


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_tokenizing_saves_what_it_has(run, tiny, data, tokenizer, tmp_path, monkeypatch, sent):
    from cae.tasks import tokenize

    views, drawn = tokenize.Chunks.views, []

    def interrupted(self, index):
        drawn.append(index)
        if len(drawn) == 40:
            signal.raise_signal(sent)
        return views(self, index)

    def command(name):
        return ["tokenize", "--data", data["imagenet"], "--tokenizer", tokenizer, "--params",
                text(seed=0, view=tiny.view, image=tiny.image), "--shard", "1/1", "--work", tmp_path / name,
                "--output", tmp_path / f"{name}.npy"]  # fmt: skip

    monkeypatch.setattr(tokenize, "CHUNK", 16)  # of 8 images
    run(*command("straight"))
    with monkeypatch.context() as patched, pytest.raises(SystemExit) as ended:
        patched.setattr(tokenize.Chunks, "views", interrupted)
        run(*command("again"))
    assert ended.value.code == "tokens 1/1: saved at image 40 of 128; run the same command to go on"
    drawn.clear()
    monkeypatch.setattr(tokenize.Chunks, "views", lambda self, index: drawn.append(index) or views(self, index))
    run(*command("again"))
    assert drawn == list(range(40, 128))
    assert (tmp_path / "straight.npy").read_bytes() == (tmp_path / "again.npy").read_bytes()


def test_a_command_without_state_ends_with_one_line(run, tiny, monkeypatch, tmp_path):
    monkeypatch.setattr("cae.analysis.masks_and_crops.Images", lambda *_: signal.raise_signal(signal.SIGTERM))
    job = text(figure3=tiny.analyses.figure3, image=tiny.image, view=tiny.view, mask=tiny.shared_mask, seed=0)
    with pytest.raises(SystemExit, match="^cae masks-and-crops: interrupted; run the same command again$"):
        run("masks-and-crops", "--data", "none", "--params", job, "--output", tmp_path / "x.npz")
