import os
import subprocess
import sys

import pytest
import torch

from cae.errors import UserError
from cae.training.devices import arithmetic, autocast, precision_of, start
from cae.training.run import load_checkpoint
from tests.conftest import MODELS, ROOT
from tests.methods.examples import batch_of, make
from tests.training.test_loop import Toy, fit


class Product(Toy):
    """A loss of a matrix product, which autocast makes a bfloat16 one."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 4)
        self.types = set()

    def forward(self, batch):
        terms = super().forward(batch)
        out = self.layer(self.weight.new_ones(2, 4) * batch["x"].mean())
        self.types.add(out.dtype)
        return terms | {"loss": terms["loss"] + out.float().square().mean()}


@pytest.mark.parametrize("features, expected", [
    ({"amx_bf16": True}, "bfloat16"), ({"avx512_bf16": True}, "bfloat16"), ({"avx512_f": True}, "float32"), ({}, "float32"),
])  # fmt: skip
def test_auto_is_what_the_processor_has(features, expected, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: features)
    assert arithmetic("cpu") == arithmetic("cpu", "auto") == expected
    with autocast("cpu"):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == getattr(torch, expected)


@pytest.mark.parametrize("named", ["float32", "bfloat16"])
def test_a_named_precision_is_kept_to(named, monkeypatch):
    for features in ({"amx_bf16": True}, {}):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda features=features: features)
        assert arithmetic("cpu", named) == named
    fabric = start(1, 0, named)
    assert fabric.strategy.precision.precision == {"float32": "32-true", "bfloat16": "bf16-mixed"}[named]
    assert precision_of(fabric) == named


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_run_computes_in_its_precision_and_resumes_to_the_same_bits(tmp_path, precision):
    straight = fit(tmp_path / "a", model=Product(), precision=precision)
    assert straight.types == {getattr(torch, precision)}
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "b", model=Product(), precision=precision, stop_after=17, minutes=0.0)
    resumed = fit(tmp_path / "b", model=Product(), precision=precision)
    assert all(torch.equal(a, b) for a, b in zip(straight.parameters(), resumed.parameters()))


def test_a_run_is_not_continued_in_another_precision(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path, precision="bfloat16", stop_after=17, minutes=0.0)
    with pytest.raises(UserError, match="began in bfloat16.*computes in float32.*`precision: bfloat16`"):
        fit(tmp_path, precision="float32")


@pytest.mark.parametrize("method", MODELS)
def test_a_run_of_a_compiled_model_compiles_nothing_after_its_first_step(
    run, tiny, data, tokenizer, tokens, tmp_path, monkeypatch, method
):
    """A run through the loop, of two epochs. All of a step is one graph, but for erasing and mixing, which are timm's."""
    params = tiny.pretraining(MODELS[method]).model_copy(update={"compile": True})
    graphs, by_step = [], []

    def backend(graph, _):
        graphs.append(graph)
        return graph.forward

    compiled, step = torch.compile, torch.optim.AdamW.step
    monkeypatch.setattr(torch, "compile", lambda model, **options: compiled(model, **options | {"backend": backend}))
    monkeypatch.setattr(
        torch.optim.AdamW, "step", lambda *given, **named: by_step.append(len(graphs)) or step(*given, **named)
    )
    torch._dynamo.reset()
    run("pretrain", "--data", data["imagenet"], "--tokenizer", tokenizer, "--tokens", tokens,
        "--params", params.model_dump_json(), "--work", tmp_path / "work", "--output", tmp_path / method)  # fmt: skip
    assert by_step == [2 if params.learns_labels else 1] * 8


@pytest.mark.slow
@pytest.mark.parametrize("method", MODELS)
def test_a_compiled_model_has_the_loss_of_a_plain_one(tiny, method):
    model = make(tiny, MODELS[method], drop_path=0.1)
    torch._dynamo.reset()
    compiled = torch.compile(model, backend="eager", dynamic=False)
    for step in range(3):
        losses = []
        for each in (model, compiled):
            torch.manual_seed(step)
            losses.append(each(batch_of(model.params))["loss"])
        torch.testing.assert_close(*losses, rtol=1e-6, atol=0)


def test_processes_of_torchrun_share_a_batch(run, tiny, data, tmp_path):
    """Two over gloo end where one ends that sees the same batches: sums are added in another order, no more."""
    job = tiny.pretraining("mae-b-300").model_dump_json()

    def command(name, processes):
        return ["pretrain", "--data", data["imagenet"], "--params", job, "--threads", processes,
                "--work", tmp_path / "work" / name, "--output", tmp_path / name]  # fmt: skip

    run(*command("one", 1))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "cae"]
    words = [*torchrun, *map(str, command("two", 2))]
    subprocess.run(words, check=True, timeout=300, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"})
    one, two = (load_checkpoint(tmp_path / name / "last.ckpt") for name in ("one", "two"))
    for a, b in zip(one["rows"], two["rows"]):
        assert a["images"] == b["images"] and a["loss"] == pytest.approx(b["loss"], rel=1e-5)
    for name, value in one["model"].items():
        torch.testing.assert_close(two["model"][name], value, rtol=0, atol=1e-5, msg=name)
