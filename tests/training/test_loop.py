"""The training loop: order of images, accumulation, resuming, and what stops it."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

from cae.data.batches import micro_batches
from cae.data.schedule import Schedule
from cae.errors import UserError
from cae.tasks.pretrain import build
from cae.training.devices import start
from cae.training.loop import recompute_blocks, train
from cae.training.optim import Optimisation
from cae.training.run import Runtime, Settings, load_checkpoint
from tests.conftest import ROOT
from tests.methods.test_cae import batch


class Toy(torch.nn.Module):
    """A loss that uses random numbers, as drop path does."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.weight = torch.nn.Parameter(torch.randn(3))

    def forward(self, batch):
        noise = torch.randn(3)
        loss = ((self.weight - batch["x"].mean() + 0.1 * noise) ** 2).sum()
        return {"loss": loss, "half": loss.detach() / 2}


def toy_batches(schedule, bad_at=None):
    def batches(step):
        for i, (epoch, indices) in enumerate(micro_batches(schedule, 0, step), step * schedule.accumulate):
            x = torch.from_numpy(indices).float() / 100 + epoch
            yield {"x": x * float("nan") if bad_at == i else x}

    return batches


def fit(
    work,
    schedule=None,
    model=None,
    stop_after=None,
    params_hash="a",
    minutes=10.0,
    bad_at=None,
    precision="auto",
    seed=0,
    clip=3.0,
):
    schedule = schedule or Schedule(40, 8, 4, 3)
    model = model or Toy()
    batches = toy_batches(schedule, bad_at)
    if stop_after is not None:
        inner = batches

        def batches(step):
            for i, batch in enumerate(inner(step)):
                if i == stop_after:
                    raise KeyboardInterrupt
                yield batch

    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    train(
        start(1, 0, precision), model, batches, schedule,
        Settings(Runtime(work=work, checkpoint_minutes=minutes), seed, params_hash),
        Optimisation(optimizer, lambda step: 0.1 / (1 + step), clip=clip),
    )  # fmt: skip
    return model


def test_each_epoch_is_a_permutation_whatever_the_step_it_starts_at():
    schedule = Schedule(50, 8, 4, 2)
    keys = list(micro_batches(schedule, 0, 0))
    assert len(keys) == schedule.steps * 2 == 24
    first = np.concatenate([indices for epoch, indices in keys if epoch == 0])
    assert len(set(first)) == 48  # the last two images of the permutation are left out
    for step in (1, 5, 6, 11):
        rest = list(micro_batches(schedule, 0, step))
        assert len(rest) == len(keys) - 2 * step
        for (e1, i1), (e2, i2) in zip(rest, keys[2 * step :]):
            assert e1 == e2
            np.testing.assert_array_equal(i1, i2)


def test_devices_share_a_step():
    whole = list(micro_batches(Schedule(40, 8, 8, 1), 0, 0))
    ranks = [list(micro_batches(Schedule(40, 8, 2, 1, devices=2), 0, 0, rank)) for rank in (0, 1)]
    for step, (_, indices) in enumerate(whole):
        mine = [i for rank in ranks for _, part in rank[2 * step : 2 * step + 2] for i in part]
        assert sorted(mine) == sorted(indices)


def test_accumulated_gradients_are_those_of_the_whole_batch(tmp_path):
    class Mean(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(()))

        def forward(self, batch):
            return {"loss": (self.weight * batch["x"]).square().mean()}

    whole = fit(tmp_path / "a", Schedule(40, 8, 8, 2), Mean()).weight
    split = fit(tmp_path / "b", Schedule(40, 8, 2, 2), Mean()).weight
    torch.testing.assert_close(whole, split)


@pytest.mark.parametrize("stop_after", [1, 7, 16, 29])
def test_interrupted_run_ends_with_the_same_bits(tmp_path, stop_after):
    straight = fit(tmp_path / "a").weight
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "b", stop_after=stop_after, minutes=0.0)
    resumed = fit(tmp_path / "b").weight
    assert torch.equal(straight, resumed)
    rows = [[json.loads(line) for line in (tmp_path / name / "metrics.jsonl").open()] for name in "ab"]
    timeless = [[{k: v for k, v in row.items() if "second" not in k} for row in part] for part in rows]
    assert timeless[0] == timeless[1] and len(rows[0]) == 15


def drawn_by_step(work, monkeypatch, seed=0, rank=0, stop_after=None):
    """What a model draws in each forward pass of a run on the CPU, and the seed that CUDA's generators get."""

    class Drawing(Toy):
        def forward(self, batch):
            draws.append(float(torch.rand(())))
            return super().forward(batch)

    draws, cuda = [], []
    with monkeypatch.context() as patched:
        patched.setattr(Fabric, "global_rank", rank)
        patched.setattr(torch.cuda, "manual_seed_all", cuda.append)
        try:
            fit(work, model=Drawing(), seed=seed, stop_after=stop_after, minutes=0.0)
        except KeyboardInterrupt:
            pass
    return draws, cuda[-len(draws) :]


def test_random_numbers_differ_by_seed_by_process_and_by_step(tmp_path, monkeypatch):
    """On a CPU, where a generator takes 32 bits of a seed, and on CUDA, which takes 64."""
    runs = {(seed, rank): drawn_by_step(tmp_path / f"{seed}-{rank}", monkeypatch, seed, rank)
            for seed in (0, 1) for rank in (0, 1)}  # fmt: skip
    draws, cuda = ([each for run in runs.values() for each in run[part]] for part in (0, 1))
    assert len(set(draws)) == len(draws) == len(set(cuda)) == len(cuda) == 4 * 30
    assert all(seed > 2**32 for seed in cuda)
    again, _ = drawn_by_step(tmp_path / "again", monkeypatch)
    assert again == runs[0, 0][0]


def test_a_run_that_goes_on_draws_as_one_that_was_never_stopped(tmp_path, monkeypatch):
    straight = drawn_by_step(tmp_path / "a", monkeypatch, seed=3)
    first = drawn_by_step(tmp_path / "b", monkeypatch, seed=3, stop_after=17)
    step = load_checkpoint(tmp_path / "b" / "state.ckpt")["step"]
    rest = drawn_by_step(tmp_path / "b", monkeypatch, seed=3)
    for whole, before, after in zip(straight, first, rest):
        assert before[: 2 * step] + after == whole and 0 < step < 15


def test_a_row_that_a_stop_fell_into_tells_the_mean_of_all_its_steps(tmp_path):
    schedule = Schedule(40, 8, 4, 60)  # 300 steps, a row every third
    fit(tmp_path / "a", schedule)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "b", schedule, stop_after=17, minutes=0.0)
    assert load_checkpoint(tmp_path / "b" / "state.ckpt")["step"] == 8
    fit(tmp_path / "b", schedule)
    rows = [[json.loads(line)["loss"] for line in (tmp_path / name / "metrics.jsonl").open()] for name in "ab"]
    assert rows[0] == rows[1] and len(rows[0]) == 100


@pytest.mark.parametrize("left", [0, 100, None], ids=["empty", "truncated", "missing"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path, capsys, left):
    straight = fit(tmp_path / "a").weight
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "b", stop_after=21, minutes=0.0)
    last, previous = (tmp_path / "b" / name for name in ("state.ckpt", "previous.ckpt"))
    assert load_checkpoint(previous)["step"] == load_checkpoint(last)["step"] - 1 == 9
    if left is None:  # a kill between the two renamings leaves it so
        last.unlink()
    else:
        os.truncate(last, left)
    assert torch.equal(fit(tmp_path / "b").weight, straight)
    said = f"{last}: not a readable checkpoint; going on from the one before, of step 9" in capsys.readouterr().out
    assert said == (left is not None)
    assert not previous.exists()  # after the end only one is kept


def test_a_run_without_a_readable_checkpoint_is_refused(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path, stop_after=21, minutes=0.0)
    for name in ("state.ckpt", "previous.ckpt"):
        os.truncate(tmp_path / name, 100)
    with pytest.raises(
        UserError, match=r"state\.ckpt: not a readable checkpoint .*; delete it and run the same command"
    ):
        fit(tmp_path)


def test_finished_run_is_not_run_again(tmp_path):
    first = fit(tmp_path).weight
    model = Toy()
    assert torch.equal(fit(tmp_path, model=model, stop_after=0).weight, first)


def test_state_of_an_unfinished_run_with_other_params_is_refused(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path, stop_after=9, minutes=0.0)
    with pytest.raises(UserError, match="other params or code; delete"):
        fit(tmp_path, params_hash="b")


def test_state_of_a_finished_run_with_other_params_is_written_over(tmp_path):
    first = fit(tmp_path).weight
    again = fit(tmp_path, params_hash="b").weight
    assert torch.equal(first, again) and load_checkpoint(tmp_path / "state.ckpt")["params_hash"] == "b"
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 15


def test_batches_are_moved_to_the_device(tmp_path, monkeypatch):
    moved = []
    monkeypatch.setattr(Fabric, "to_device", lambda self, value: moved.append(value) or value)
    fit(tmp_path)
    assert len([value for value in moved if isinstance(value, dict) and "x" in value]) == 30


def test_non_finite_loss_stops_and_keeps_the_last_good_checkpoint(tmp_path):
    with pytest.raises(UserError, match=r"not finite .* last good checkpoint is .*state\.ckpt"):
        fit(tmp_path, minutes=0.0, bad_at=11)
    state = load_checkpoint(tmp_path / "state.ckpt")
    assert state["step"] == 5 and torch.isfinite(state["model"]["weight"]).all()
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").open()]
    assert all(np.isfinite(row["loss"]) for row in rows)


def test_another_runs_checkpoint_is_not_called_the_last_good_one(tmp_path):
    fit(tmp_path)
    with pytest.raises(UserError, match="not finite by step 1; there is no checkpoint yet"):
        fit(tmp_path, params_hash="b", bad_at=0)


def test_a_weight_that_is_not_finite_is_not_saved(tmp_path):
    """Of a gradient whose norm nobody measures, of a loss that is finite."""

    class Kink(Toy):
        def forward(self, batch):
            loss = super().forward(batch)["loss"]
            return {"loss": loss + (0 * torch.sqrt(0 * self.weight.sum()) if batch["progress"] >= 0.5 else 0)}

    with pytest.raises(UserError, match=r"a weight is not finite by step 9; the last good checkpoint is .*state\.ckpt"):
        fit(tmp_path, model=Kink(), minutes=0.0, clip=None)
    assert load_checkpoint(tmp_path / "state.ckpt")["step"] == 8


def test_gradient_that_is_not_finite_is_caught_before_the_checkpoint(tmp_path):
    """The loss of that very step is finite, the weights after it are not."""

    class Kink(Toy):
        def forward(self, batch):
            loss = super().forward(batch)["loss"]
            bad = batch["progress"] >= 0.5
            return {"loss": loss + 0 * torch.sqrt(0 * self.weight.sum()) if bad else loss}

    with pytest.raises(UserError, match="gradient or a weight is not finite"):
        fit(tmp_path, model=Kink(), minutes=0.0)
    assert torch.isfinite(load_checkpoint(tmp_path / "state.ckpt")["model"]["weight"]).all()


def test_data_smaller_than_a_batch_is_refused_before_work():
    with pytest.raises(UserError, match="batch_size 64 is above the 40 training images"):
        Schedule(40, 64, 4, 1)
    with pytest.raises(UserError, match="not a multiple of micro_batch"):
        Schedule(40, 8, 4, 1, devices=3)


def test_full_disk_keeps_the_old_checkpoint(tmp_path, monkeypatch):
    fit(tmp_path, Schedule(40, 8, 4, 1))
    before = (tmp_path / "state.ckpt").read_bytes()

    def full(state, path):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(UserError, match=r"state\.ckpt: the disk is full; make room"):
        fit(tmp_path, Schedule(40, 8, 4, 2))
    assert (tmp_path / "state.ckpt").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lock", "metrics.jsonl", "state.ckpt"]


@pytest.fixture(scope="module")
def longer(run, tiny, data, tokenizer, tokens):
    """A function (folder, minutes between checkpoints): a command of 80 steps. It has been run below run.folder / "straight"."""
    job = tiny.pretraining("cae-b-300").model_copy(update={"epochs": 20}).model_dump_json()

    def longer(folder, minutes=10):
        return ["pretrain", "--data", data["imagenet"], "--tokenizer", tokenizer, "--tokens", tokens, "--params", job,
                "--checkpoint-minutes", minutes, "--work", folder / "work", "--output", folder / "out"]  # fmt: skip

    run(*longer(run.folder / "straight"))
    return longer


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_killed_pretraining_ends_with_the_same_bytes(run, longer, tmp_path, sent):
    """The whole command, killed once it has saved a checkpoint, then run again."""
    words = [sys.executable, "-m", "cae", *map(str, longer(tmp_path, minutes=0))]
    quiet = dict(stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    killed = subprocess.Popen(words, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, **quiet)
    state, straight = tmp_path / "work" / "state.ckpt", run.folder / "straight" / "out"
    for _ in range(1200):
        if state.exists() or killed.poll() is not None:
            break
        time.sleep(0.05)
    time.sleep(0.2)
    killed.send_signal(sent)
    _, message = killed.communicate()
    assert killed.returncode == (-sent if sent == signal.SIGKILL else 1), "ended before it could be killed"
    if sent != signal.SIGKILL:
        assert re.search(r"\nout: saved at step \d+ of 80; run the same command to go on\n$", message)
    assert load_checkpoint(state)["step"] < 80 and not (tmp_path / "out").exists()
    run(*longer(tmp_path))
    assert (tmp_path / "out/model.safetensors").read_bytes() == (straight / "model.safetensors").read_bytes()
    first, second = (load_checkpoint(folder / "last.ckpt") for folder in (tmp_path / "out", straight))
    for name, value in first["model"].items():
        assert torch.equal(value, second["model"][name]), name


@pytest.mark.parametrize("sent, before", [(signal.SIGTERM, "trap '' TERM; "), (signal.SIGINT, "set -euo pipefail; ")])
def test_a_signal_to_the_whole_group_still_saves(run, tiny, data, tmp_path, sent, before):
    """A batch system signals every process of a job, the shell too; so does Ctrl-C."""
    job = tiny.pretraining("cae-b-300-pixels").model_copy(update={"epochs": 200}).model_dump_json()
    words = [sys.executable, "-m", "cae", "pretrain", "--data", data["imagenet"], "--params", job,
             "--work", tmp_path / "work", "--output", tmp_path / "out"]  # fmt: skip
    command = " ".join(shlex.quote(str(word)) for word in words)
    output = "> {log:q} 2>&1"
    rules = [rule for file in (ROOT / "workflow" / "rules").iterdir() for rule in file.read_text().split("\nrule ")]
    runs = [rule for rule in rules if "--code {params.code}" in rule]
    assert len(runs) == 6 and all(output in rule for rule in runs)
    log = tmp_path / "log"
    shell = subprocess.Popen(
        ["bash", "-c", f"{before}{command} {output.replace('{log:q}', str(log))}"],
        start_new_session=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    metrics = tmp_path / "work" / "metrics.jsonl"
    for _ in range(1200):
        if metrics.exists() and metrics.read_text():
            break
        time.sleep(0.05)
    os.killpg(shell.pid, sent)
    assert shell.wait(60) == 1
    assert re.search(r"\nout: saved at step \d+ of 800; run the same command to go on\n$", log.read_text())
    assert load_checkpoint(tmp_path / "work" / "state.ckpt")["step"] > 0


def test_no_second_process_trains_the_same_state(run, longer, tmp_path):
    """It is refused while the first is at work, spoils nothing, and is let in when the first was killed."""
    words = [sys.executable, "-m", "cae", *map(str, longer(tmp_path, minutes=0))]
    first = subprocess.Popen(words, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.DEVNULL)
    state = tmp_path / "work" / "state.ckpt"
    while not state.exists():
        assert first.poll() is None
        time.sleep(0.05)
    first.send_signal(signal.SIGSTOP)
    before = {path.name: path.read_bytes() for path in state.parent.iterdir()}
    with pytest.raises(SystemExit, match=f"process {first.pid} on host .* works in {state.parent} "):
        run(*longer(tmp_path))
    assert before == {path.name: path.read_bytes() for path in state.parent.iterdir()}
    first.kill()
    first.wait()
    run(*longer(tmp_path))
    trained, straight = (folder / "out/model.safetensors" for folder in (tmp_path, run.folder / "straight"))
    assert trained.read_bytes() == straight.read_bytes()


@pytest.mark.parametrize("name", ["cae-b-300-pixels", "dino-b-400", "deit-b-300"])
def test_workers_change_nothing(tiny, data, name):
    """The same micro-batches, in the same order, from this process and from two others."""
    from cae.data.batches import loader
    from cae.data.datasets import Images
    from cae.tasks.pretrain import build

    images, params = Images(data["imagenet"], 0), tiny.pretraining(name)
    batches = build(params, params.choices(32, 10)).batches(images, params)
    schedule = Schedule(len(images), 32, 16, 1)
    repeats = getattr(params, "repeats", 1)
    ours, theirs = (list(loader(batches, micro_batches(schedule, 0, 0, 0, repeats), n)) for n in (0, 2))
    assert len(ours) == len(theirs) == 8
    for a, b in zip(ours, theirs):
        assert a.keys() == b.keys()
        for x, y in zip(a.values(), b.values()):
            for one, other in zip(x, y) if isinstance(x, list) else [(x, y)]:
                assert torch.equal(one, other)


def test_repeated_augmentation_shows_a_third_of_the_images_three_times():
    schedule = Schedule(50, 8, 4, 2)
    keys = list(micro_batches(schedule, 0, 0, repeats=3))
    assert len(keys) == 2 * schedule.steps
    epochs = []
    for epoch in (0, 1):
        shown = [(i, d) for draws, indices in keys[12 * epoch : 12 * epoch + 12] for i, d in zip(indices, draws)]
        assert len(set(shown)) == 48 and {d for _, d in shown} == {3 * epoch, 3 * epoch + 1, 3 * epoch + 2}
        images = [i for i, _ in shown]
        assert {images.count(i) for i in images} == {3}
        epochs.append(set(images))
    assert epochs[0] != epochs[1]
    for (_, one), (_, other) in zip(micro_batches(schedule, 0, 5, repeats=3), keys[10:]):
        np.testing.assert_array_equal(one, other)


def test_hooks_frame_each_step_and_weight_decay_follows_its_schedule(tmp_path):
    class Hooked(Toy):
        calls = []

        def before_step(self, progress):
            assert self.weight.grad is not None
            self.calls.append(("before", progress, self.weight.detach().clone()))

        def after_step(self, progress):
            self.calls.append(("after", progress, self.weight.detach().clone()))

    model, schedule = Hooked(), Schedule(40, 8, 4, 1)
    decays = []
    groups = [
        {"params": [model.weight], "weight_decay": 0.1},
        {"params": [torch.nn.Parameter(torch.ones(1))], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=0.1)
    train(
        start(1, 0), model, toy_batches(schedule), schedule, Settings(Runtime(work=tmp_path), 0, "a"),
        Optimisation(optimizer, lambda step: 0.1, lambda step: decays.append(step) or 0.1 + step),
    )  # fmt: skip
    assert [(name, progress) for name, progress, _ in model.calls[:4]] == [
        ("before", 0.0), ("after", 0.2), ("before", 0.2), ("after", 0.4)]  # fmt: skip
    assert not torch.equal(model.calls[0][2], model.calls[1][2]) and torch.equal(model.calls[1][2], model.calls[2][2])
    assert decays == [0, 1, 2, 3, 4]
    assert [group["weight_decay"] for group in optimizer.param_groups] == [4.1, 0.0]


@pytest.mark.parametrize("name", ["cae-b-300", "mae-b-300", "data2vec-b-800"])
def test_recomputed_activations_change_no_bit(tiny, data, run, tokenizer, tokens, pretrained, tmp_path, name):
    """Drop path is drawn again, too."""
    job = tiny.pretraining(name).model_dump_json()
    cache = ["--tokenizer", tokenizer, "--tokens", tokens]
    run("pretrain", "--data", data["imagenet"], *cache, "--params", job, "--work", tmp_path / "work", "--output",
        tmp_path / name, "--recompute")  # fmt: skip
    kept, again = (load_checkpoint(folder / "last.ckpt")["model"] for folder in (pretrained(name), tmp_path / name))
    assert kept.keys() == again.keys() and all(torch.equal(kept[key], again[key]) for key in kept)


def test_a_block_that_is_recomputed_keeps_its_inputs_alone(tiny):
    params = tiny.pretraining("cae-b-300")
    kept = []
    for recompute in (False, True):
        model, bytes_ = build(params, 32), []
        if recompute:
            recompute_blocks(model)
        with torch.autograd.graph.saved_tensors_hooks(lambda x, b=bytes_: b.append(x.nbytes) or x, lambda x: x):
            model(batch(params, vocabulary=32) | {"progress": 0.0})
        kept.append(sum(bytes_))
    assert kept[1] < kept[0] / 3
