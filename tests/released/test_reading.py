"""Released weights: found, verified, and read without running what the file holds."""

import argparse
import json
import os
import struct
import tarfile
import warnings
import zipfile
from collections import OrderedDict

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from cae.errors import UserError
from cae.files import file_hash
from cae.released.reading import load_all, read_weights, verified
from cae.training.run import load_checkpoint
from cae.weights import load_weights

REMEDY = "Get it from https://example.org"
SEQUENTIAL = "torch.nn.modules.container.Sequential"


class Call:
    """Pickled as a call of `function`."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "weights.pt"
    torch.save({"w": torch.arange(3.0), "args": argparse.Namespace(lr=1)}, path)
    return path


@pytest.fixture(params=["zip", "before torch 1.6"])
def save(request, tmp_path):
    """A function that saves an object in one of torch.save's two formats and gives the path."""

    def save(content):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.save(content, tmp_path / "x.pt", _use_new_zipfile_serialization=request.param == "zip")
        return tmp_path / "x.pt"

    return save


def test_a_missing_file_is_named_with_where_it_comes_from_and_where_it_goes(tmp_path, monkeypatch):
    monkeypatch.setenv("FOLDER", str(tmp_path))
    with pytest.raises(
        UserError, match=f"{tmp_path}/x.pt: not found. Get it from https://example.org, and put it there"
    ):
        verified("$FOLDER/x.pt", None, REMEDY)
    monkeypatch.delenv("FOLDER")
    with pytest.raises(UserError, match=r"the environment variable FOLDER is not set"):
        verified("${FOLDER}/x.pt", None, REMEDY)


def test_the_hash_or_its_beginning_is_checked(file, monkeypatch):
    monkeypatch.setenv("FOLDER", str(file.parent))
    actual = file_hash(file)
    assert verified("$FOLDER/weights.pt", actual, REMEDY) == verified(str(file), actual[:8], REMEDY) == (file, actual)
    for wrong in ("0" * 64, actual[:-1] + "x", actual[1:9]):
        with pytest.raises(UserError, match=f"sha256 is {actual}, params say {wrong}. Get it"):
            verified(str(file), wrong, REMEDY)


def test_without_a_hash_the_files_own_is_printed(file, capsys):
    verified(str(file), None, REMEDY)
    assert file_hash(file) in capsys.readouterr().out


def test_tensors_come_back_and_what_scripts_save_beside_them_is_inert(file, save, tmp_path):
    assert torch.equal(read_weights(file)["w"], torch.arange(3.0))
    assert not hasattr(read_weights(file)["args"], "lr")
    assert torch.equal(read_weights(save({"model": {"w": torch.ones(2)}}))["model"]["w"], torch.ones(2))
    save_file({"w": torch.ones(2)}, tmp_path / "x.safetensors")
    assert torch.equal(read_weights(tmp_path / "x.safetensors")["w"], torch.ones(2))


def test_of_a_whole_module_the_state_dict_is_read(save):
    module = nn.Sequential(OrderedDict(a=nn.Sequential(nn.Sequential()), b=nn.Sequential()))
    module.a[0].weight = nn.Parameter(torch.ones(2), requires_grad=False)
    module.b.register_buffer("mean", torch.zeros(3))
    state = read_weights(save(module), [SEQUENTIAL])
    assert state.keys() == module.state_dict().keys() == {"a.0.weight", "b.mean"}
    assert all(torch.equal(state[name], value) for name, value in module.state_dict().items())
    with pytest.raises(UserError, match=f"refused, as it asks for {SEQUENTIAL}"):
        read_weights(save(module))


def in_a_module(call: Call) -> nn.Module:
    module = nn.Sequential()
    module.extra = call
    return module


@pytest.mark.parametrize("holding", [lambda call: {"w": call}, in_a_module])
@pytest.mark.parametrize("function,name", [(os.system, "posix.system"), (eval, "eval"), (os.makedirs, "os.makedirs")])
def test_a_call_in_the_pickle_is_refused_and_not_made(save, tmp_path, monkeypatch, holding, function, name):
    monkeypatch.chdir(tmp_path)
    argument = {"eval": "open('made', 'w')", "os.makedirs": "made"}.get(name, "touch made")
    path = save(holding(Call(function, argument)))
    with pytest.raises(
        UserError, match=rf"x.pt: refused, as it asks for (__builtin__\.)?{name}, .* save its state dict"
    ):
        read_weights(path, [SEQUENTIAL])
    assert not (tmp_path / "made").exists()
    torch.load(path, weights_only=False)
    assert (tmp_path / "made").exists()  # so the call would have been made


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"version https://git-lfs", b"PK\x03\x04 rest"])
@pytest.mark.parametrize("name", ["x.pt", "x.safetensors"])
def test_what_is_no_checkpoint_is_named(tmp_path, content, name):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=rf"{name}: not a .*; get it again"):
        read_weights(tmp_path / name)


def test_a_truncated_file_is_named(save):
    path = save({"w": torch.zeros(1000)})
    for size in (100, 1000, 4000):
        path.write_bytes(path.read_bytes()[:size])
        with pytest.raises(UserError, match="x.pt: not a .*; get it again"):
            read_weights(path)


def test_what_is_not_a_state_dict_is_named(save):
    with pytest.raises(UserError, match="x.pt: holds a list, not a state dict"):
        read_weights(save([1]))


def test_every_tensor_is_loaded_and_none_is_left_over(tmp_path):
    module, weights = nn.Linear(2, 3), nn.Linear(2, 3).state_dict()
    load_all(module, weights, tmp_path)
    assert torch.equal(module.weight, weights["weight"]) and torch.equal(module.bias, weights["bias"])
    before = {name: value.clone() for name, value in module.state_dict().items()}
    for spoilt, message in (
        ({"weight": torch.zeros(3, 2)}, "not the weights of a Linear: it lacks bias$"),
        ({**weights, "epoch": 3}, "it has besides epoch$"),
        ({**weights, "weight": torch.zeros(2, 3)}, r"it differs in shape at weight \(2, 3\), not \(3, 2\)$"),
        ({**weights, "bias": "text"}, r"it differs in shape at bias \(\), not \(3,\)$"),
        ({f"x{i}": 0 for i in range(5)}, "it lacks weight, bias; it has besides x0, x1, x2 and 2 more$"),
        ({**weights, "bias": torch.tensor([0, float("inf"), 0])}, r"bias \(1 of 3\): NaN or infinite"),
        (
            {**weights, "bias": torch.zeros(3, dtype=torch.uint8)},
            r"bias \(torch.uint8\): not of floating-point numbers",
        ),
    ):
        with pytest.raises(UserError, match=message):
            load_all(module, spoilt, tmp_path)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


HEADERS = {  # of safetensors: length said, where it is not the header's own; header; bytes behind it
    "a length beyond memory": (2**63, {}, 0),
    "a length beyond the file": (2**26, {}, 0),
    "a tensor beyond the file": (None, {"w": {"dtype": "F32", "shape": [2**31], "data_offsets": [0, 2**33]}}, 8),
    "tensors over each other": (None, {n: {"dtype": "F32", "shape": [2], "data_offsets": [at, at + 8]}
                                       for n, at in (("v", 0), ("w", 4))}, 12),
    "a size that overflows": (None, {"w": {"dtype": "F32", "shape": [2**62, 8], "data_offsets": [0, 0]}}, 0),
    "a negative size": (None, {"w": {"dtype": "F32", "shape": [-2], "data_offsets": [8, 0]}}, 8),
    "an unknown type": (None, {"w": {"dtype": "OBJECT", "shape": [2], "data_offsets": [0, 8]}}, 8),
    "bytes that belong to nothing": (None, {"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, 16),
    "brackets without end": (None, "[" * 100_000, 0),
}  # fmt: skip


@pytest.mark.parametrize("case", HEADERS)
def test_a_hostile_header_of_safetensors_is_refused(tmp_path, case):
    length, header, behind = HEADERS[case]
    text = (header if isinstance(header, str) else json.dumps(header)).encode()
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + bytes(behind))
    with pytest.raises(UserError, match="x.safetensors: not a .*; get it again"):
        read_weights(path)
    with pytest.raises(UserError, match="x.safetensors: not the weights of the Linear"):
        load_weights(path, nn.Linear(2, 1))


def test_what_is_packed_unpacks_nowhere_else(tmp_path):
    """Nothing is unpacked at all: torch reads zip files by record, and those of tar, its first format, are refused."""
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    torch.save({"w": torch.ones(2)}, folder / "x.pt")
    with zipfile.ZipFile(folder / "x.pt") as before, zipfile.ZipFile(folder / "y.pt", "w") as file:
        for name in before.namelist():
            file.writestr(name, before.read(name))
        for name in ("../made", "../../made", f"{tmp_path}/made", "x/../../made"):
            file.writestr(name, "")
    with tarfile.open(folder / "z.pt", "w") as file:
        for name in ("pickle", "storages", "tensors", "../made", "../../made"):
            file.addfile(tarfile.TarInfo(name))
    for name in "yz":
        try:
            assert torch.equal(read_weights(folder / f"{name}.pt")["w"], torch.ones(2))
        except UserError as error:
            assert f"{name}.pt: not a readable checkpoint" in str(error)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "b", "x.pt", "y.pt", "z.pt"]


def test_a_checkpoint_to_go_on_from_runs_nothing(save, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = save({"params_hash": "", "model": Call(os.system, "touch made")})
    with pytest.raises(UserError, match="not a readable checkpoint"):
        load_checkpoint(path)
    assert not (tmp_path / "made").exists()
