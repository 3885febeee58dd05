"""Several processes are one that holds more images: their gradients are equal, and a run goes on with more or fewer."""

import json
import os
import subprocess
import sys

import pytest
import torch

from cae.training.run import Run, load_checkpoint
from tests.conftest import MODELS, ROOT

pytestmark = pytest.mark.slow

PLAIN = {
    "drop_path": 0.0,
    "mixup": 0.0,
    "cutmix": 0.0,
    "erasing": 0.0,
    "attention_drop": 0.0,
}  # no draws that differ by process


def start(jobs, folder, processes):
    """The jobs as so many processes, begun."""
    file = folder / f"{processes}.json"
    file.write_text(json.dumps([[str(part) if part is not None else None for part in job] for job in jobs]))
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    words = [sys.executable, *launcher, "-m", "tests.training.processes", str(file)]
    with open(folder / f"{processes}.log", "w") as log:
        return subprocess.Popen(words, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=log, stderr=log)


def finished(process, folder, processes):
    assert process.wait(timeout=300) == 0, (folder / f"{processes}.log").read_text()[-3000:]


@pytest.fixture(scope="module")
def gradients(tiny, data, tokenizer, tokens, pretrained, tmp_path_factory):
    """Of each command, gradients of the first step: of one process, and of two that hold half of its images each."""
    folder, encoder = tmp_path_factory.mktemp("processes"), pretrained("cae-b-300")
    shared, cell = {"seed": 0, "precision": "float32"}, ["--encoder", encoder, "--metrics", folder / "cell.json"]
    finetuning = tiny.finetuning("cae-b-300").model_dump()
    (segmenting, *_) = tiny.segmenting("cae-b-300").values()
    detecting = tiny.detecting("cae-b-300").model_dump() | {"cascade": False, "heads": "torchvision"}
    commands = {  # name: data set, params, batch size, command
        model: ("imagenet", tiny.pretraining(model).model_dump(), 32, ["pretrain", "--tokenizer", tokenizer, "--tokens", tokens])
        for model in MODELS.values()
    } | {
        "finetune": ("imagenet", shared | finetuning, 32, ["finetune", *cell, "--protocol", "finetune"]),
        "segment": ("ade20k", shared | segmenting.model_dump(), 4, ["segment", "--encoder", encoder]),
        "detect": ("coco", shared | detecting, 4, ["detect", *cell, "--protocol", "coco-mask"]),
    }  # fmt: skip

    def job(name, processes):
        images, params, batch, command = commands[name]
        # A detector pads the images of a pass to one size, and draws from each: one process has passes of half a step.
        micro = batch // (2 if name == "detect" else processes)
        plain = {key: value for key, value in PLAIN.items() if key in params}
        words = json.dumps(params | plain | {"batch_size": batch, "micro_batch": micro})
        return [*command, "--data", data[images], "--params", words, "--threads", processes, "--output", folder / name,
                "--work", folder / f"work-{processes}" / name, folder / f"{name}-{processes}.pt"]  # fmt: skip

    running = [(start([job(name, n) for name in commands], folder, n), folder, n) for n in (1, 2)]
    for each in running:
        finished(*each)
    return {name: [torch.load(folder / f"{name}-{n}.pt") for n in (1, 2)] for name in commands}


@pytest.mark.parametrize("name", [*MODELS.values(), "finetune", "segment", "detect"])
def test_two_processes_have_the_gradients_of_one(gradients, name):
    one, two = gradients[name]
    assert len(one) == len(two) > 10 and any(grad is not None and grad.abs().max() > 0 for grad in one)
    largest = max(grad.abs().max() for grad in one if grad is not None)
    for a, b in zip(one, two):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(b, a, rtol=1e-3, atol=1e-5 * float(largest))


def test_a_run_goes_on_with_another_number_of_processes(tiny, data, run, tmp_path, monkeypatch):
    """Begun by one, ended by two: the same images in the same order, the same weights but for the order of sums."""
    job = tiny.pretraining("mae-b-300").model_copy(update={"epochs": 4}).model_dump_json()

    def command(name, threads):
        return ["pretrain", "--data", data["imagenet"], "--params", job, "--threads", threads,
                "--work", tmp_path / "work" / name, "--output", tmp_path / name]  # fmt: skip

    run(*command("straight", 1))
    with monkeypatch.context() as patched:
        patched.setattr(Run, "save_if_asked", stop_at_step_7)
        with pytest.raises(SystemExit, match="interrupted"):
            run(*command("resumed", 1))
    finished(start([[*command("resumed", 2), None]], tmp_path, 2), tmp_path, 2)
    one, two = (load_checkpoint(tmp_path / name / "last.ckpt") for name in ("straight", "resumed"))
    assert two["step"] == one["step"] == 16 and len(one["rows"]) == len(two["rows"])
    for a, b in zip(one["rows"], two["rows"]):
        assert a["images"] == b["images"] and a["loss"] == pytest.approx(b["loss"], rel=1e-5)
    for name, value in one["model"].items():
        torch.testing.assert_close(two["model"][name], value, rtol=0, atol=1e-5, msg=name)


def stop_at_step_7(run):
    if run.step == 7:
        run.save()
        raise KeyboardInterrupt
