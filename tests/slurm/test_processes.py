"""One training as several processes, which srun starts on the nodes of one job."""

import shutil

import pytest
import torch
import yaml

from cae.training.run import load_checkpoint
from tests.slurm.cluster import wait
from tests.slurm.project import CHAIN, MODEL, PRETRAINED, TIMES, Project

SHORT = {"recipes": {"cae": {"drop_path": 0.0}}, "models": {MODEL: {"epochs": 2}, CHAIN: {"epochs": 2}}}
CHECKPOINT = PRETRAINED.replace("model.safetensors", "last.ckpt")


def test_a_job_of_two_nodes_is_the_run_of_one_process(copied, with_data, tmp_path):
    """They share each batch, over gloo; only sums are added in another order: losses and weights are equal to 1e-5."""
    alone = Project(tmp_path / "alone")
    shutil.copytree(with_data.path, alone.path)
    for project, more in ((alone, {}), (copied, {"resources": {"pretrain": {"nodes": 2}}})):
        (project.path / "params/short.yaml").write_text(yaml.safe_dump(SHORT | more))
        project.more = ["params/short.yaml"]
        project.run(PRETRAINED)
    assert list(copied.submitted().values()) == [("COMPLETED", "one,two")]
    one, two = (load_checkpoint(project.path / CHECKPOINT) for project in (alone, copied))
    assert len(one["rows"]) == len(two["rows"]) > 0
    for a, b in zip(one["rows"], two["rows"]):
        assert a["images"] == b["images"] and a["loss"] == pytest.approx(b["loss"], rel=1e-5)
    for name, value in one["model"].items():
        torch.testing.assert_close(two["model"][name], value, rtol=0, atol=1e-5, msg=name)


def test_a_slow_write_of_two_nodes_is_waited_for(copied):
    """srun ends all processes of a job once one has ended with an error, and kills them ten seconds later (KillWait)."""
    code = copied.path / "cae/training/run.py"
    text = code.read_text()
    assert text.count("torch.save(state, temporary)") == 1
    code.write_text(text.replace("torch.save(state, temporary)", "time.sleep(20), torch.save(state, temporary)"))
    (copied.path / "params/short.yaml").write_text(yaml.safe_dump({"resources": {"pretrain": {"nodes": 2}}}))
    copied.more = ["params/short.yaml"]
    work = copied.path / f"work/tiny/pretrain/{MODEL}"
    with copied.snakemake(PRETRAINED) as running:
        wait(lambda: (work / "metrics.jsonl").exists() and (work / "metrics.jsonl").read_text(), "the first row", 300)
        (job,) = copied.submitted()
        copied.cluster.run("scancel", "--signal=TERM", job)
        wait(lambda: copied.submitted()[job][0] == "FAILED", "the job to end", 120)
        saved = load_checkpoint(work / "state.ckpt")
        copied.end(running)
    assert list(copied.submitted().values()) == [("FAILED", "one,two"), ("COMPLETED", "one,two")]
    assert not saved["finished"] and saved["step"] > 0
    rows = copied.rows()
    assert rows[: len(saved["rows"])] == [{k: v for k, v in row.items() if k not in TIMES} for row in saved["rows"]]
    assert len(rows) > len(saved["rows"])
