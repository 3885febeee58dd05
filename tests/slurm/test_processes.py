"""One training as several processes, which srun starts on the nodes of one job."""

import shutil

import pytest
import torch
import yaml

from cae.training.run import load_checkpoint
from tests.slurm.project import CHAIN, MODEL, PRETRAINED, Project

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
