"""Benchmarks of a GPU, at sizes of a CPU: all of it runs, counts what a step multiplies, and asks for few packages."""

import json
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location

import pytest

from tests.conftest import ROOT


@pytest.fixture(scope="module")
def gpu():
    spec = spec_from_file_location("gpu", ROOT / "benchmarks" / "gpu.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_line_of_the_gpus_benchmark_is_measured_at_tiny_sizes(gpu, tmp_path):
    lines = gpu.main(["--tiny", "--device", "cpu", "--json", str(tmp_path / "lines.json")])
    told = json.loads((tmp_path / "lines.json").read_text())
    assert told["lines"] == lines
    rates = {
        (rule, name) for rule, names in told["images_per_second"].items() for name in names
    }  # of `cae cost --rates`
    assert rates == {("pretrain_model", name) for name in ("cae-b-300", "cae-l-1600", *gpu.METHODS)} | {
        ("tokenize", "dalle"), ("segment", "cae-b-300"), ("detect", "cae-b-300")
    }  # fmt: skip
    missing = {line["what"]: line["more"] for line in lines if line["measured"] is None}
    assert all(what.endswith("synchronisations in a step") for what in missing), missing  # which only CUDA tells
    goals = {line["what"].partition(":")[0]: line["goal"] for line in lines if line["goal"]}
    assert (
        goals.items() >= {"cae-b-300": 45, "cae-l-1600": 55, "UperNet at 64": 30, "Mask R-CNN at 64 x 96": 30}.items()
    )
    equal = [line["measured"] for line in lines if line["what"] == "  tokens that are float32's"]
    assert equal[:2] == [100, 100] and len(equal) == 3  # on a CPU there is no TF32
    assert {line["verdict"] for line in lines} == {"", "not measured"}  # tiny sizes meet no goal


def test_flops_are_those_of_the_formula(gpu):
    """Products of CAE's step, each counted by hand: 2 x rows x inputs x outputs, and as much for each of two gradients."""
    params = gpu.small(gpu.PAPER.pretraining("cae-b-300"))
    d, pixels, (visible, masked) = params.width, 3 * params.image.patch**2, (8, 8)

    def block(queries, keys, projected):
        """Attention of `queries` to `keys`, `projected` rows for the queries, keys and values, and the MLP."""
        return 2 * d * d * (projected + queries) + 2 * 2 * queries * keys * d + 2 * 2 * queries * d * 4 * d

    def encoder(patches):
        return params.depth * block(1 + patches, 1 + patches, 3 * (1 + patches))

    embedding = 2 * visible * pixels * d
    regressor = block(masked, visible + masked, masked + 2 * (visible + masked))
    decoder = block(masked, masked, 3 * masked) + 2 * masked * d * 8192
    trained = 3 * (encoder(visible) + regressor + decoder) + 2 * embedding  # pixels need no gradient
    expected = trained + encoder(masked) + 2 * masked * pixels * d  # the alignment's targets
    assert gpu.flops_of(gpu.build(params), gpu.batch_of(params, 1)) == pytest.approx(expected, rel=0.01)


def test_the_gpus_benchmark_asks_for_few_packages():
    """A machine with a GPU has other packages than this project's environment."""
    script = """
import sys
sys.path.insert(0, "benchmarks")
import gpu
for name in ("cae-b-300", *gpu.METHODS):
    gpu.build(gpu.small(gpu.PAPER.pretraining(name)))
import cae.models.detector
absent = {"lightning_fabric", "dall_e", "segmentation_models_pytorch", "pycocotools", "skimage", "snakemake", "jinja2"}
assert not absent & sys.modules.keys(), absent & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)
