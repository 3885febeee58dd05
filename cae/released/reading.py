"""Released weights: their file found and verified, read without running what it holds, loaded to the last tensor.

A file of torch.save is a pickle, which can name any function to call. torch's weights-only unpickler calls none but
those that rebuild tensors. A class that a known checkpoint holds besides is replaced by `Inert`, which only keeps the
state it is given; any other name is refused.
"""

import os
import pickle
import re
import warnings
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType, SimpleNamespace

import torch
from torch import Tensor, nn

from cae.errors import UserError
from cae.files import file_hash
from cae.weights import not_finite

INERT = (  # what training scripts save beside the weights
    "argparse.Namespace",
    "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint",
)
# Keys under which training scripts keep the weights, and what wraps a model in parallel or in a training module.
CONTAINERS = ("model", "state_dict", "module", "model_state_dict", "model_state", "network")
WRAPPERS = ("module", "model", "net", "network", "backbone", "trunk", "vit")
# What PyTorch and Fabric put around a module, at any depth (torch.compile, FSDP, recomputed activations).
INNER_WRAPPERS = re.compile(r"(^|(?<=\.))(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|_forward_module)\.")


class Inert:
    """Stands in for a class of a checkpoint: takes any arguments and any state, and does nothing."""

    dump_patches = False  # torch asks this of a module's class

    def __new__(cls, *args, **kwargs):
        self = super().__new__(cls)
        self.state = {}
        return self

    def __setstate__(self, state):
        self.state = state if isinstance(state, dict) else {}


def verified(file: str, sha256: str | None, remedy: str) -> tuple[Path, str]:
    """The path that params' `file` names, environment variables filled in, and its hash, once it is there and has this one.

    `sha256`: all of the hash or its beginning; where it is None, the file's own is printed, ready for params.
    `remedy`: a sentence that says where to get the file, without its full stop. Raises UserError.
    """
    path = Path(os.path.expandvars(file)).expanduser()
    if not path.is_file():
        unset = "".join(
            f" (the environment variable {name} is not set)" for name in re.findall(r"\$\{?(\w+)", str(path))
        )
        raise UserError(f"{path}: not found{unset}. {remedy}, and put it there, or name another `file` in params")
    actual = file_hash(path)
    if sha256 is None:
        print(f"{path}: sha256 {actual}; name it in params, and no other file is accepted", flush=True)
    elif not actual.startswith(sha256):
        raise UserError(f"{path}: sha256 is {actual}, params say {sha256}. {remedy}, or correct `sha256` in params")
    return path, actual


def read_weights(path: Path, inert: Iterable[str] = ()) -> dict:
    """What a checkpoint holds, on the CPU; of a whole pickled module, its state dict.

    `path`: a file of torch.save, or of safetensors by its suffix. `inert`: full names of further classes that it
    may hold, to be replaced by `Inert`. Raises UserError where it is damaged, no checkpoint, or asks for anything else.
    """
    inert = {*INERT, *inert}
    try:
        with torch.serialization.safe_globals([(Inert, name) for name in inert]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{path}: not found") from None
    except Exception as error:  # a damaged file fails anywhere in the unpickler
        if "persistent_load" not in str(error):
            raise _refusal(path, error) from None
        content = _read_old_module(path, inert)
    if isinstance(content, Inert):
        content = dict(_tensors(content.state))
    if not isinstance(content, Mapping):
        raise UserError(f"{path}: holds a {type(content).__name__}, not a state dict")
    return dict(content)


def state_dict(checkpoint: Mapping, containers: Iterable[str] = ()) -> tuple[dict[str, Tensor], list[str]]:
    """The weights that a checkpoint holds, by names without wrappers; and the keys of what stands beside them.

    `containers`: keys that are looked into before `CONTAINERS`. Of the names go what `INNER_WRAPPERS` matches, and each of
    `WRAPPERS` that all names begin with. Raises UserError where a value is no tensor, or where two names become one.
    """
    state, beside = checkpoint, []
    while found := next((key for key in (*containers, *CONTAINERS) if isinstance(state.get(key), Mapping)), None):
        beside += [str(key) for key in state if key != found]
        state = state[found]
    if alien := [str(name) for name, value in state.items() if not isinstance(value, Tensor)]:
        raise UserError(f"no state dict: {some(alien)} {'is' if len(alien) == 1 else 'are'} no tensor")
    names = {str(name): INNER_WRAPPERS.sub("", str(name)) for name in state}
    while shared := next((w for w in WRAPPERS if all(name.startswith(f"{w}.") for name in names.values())), None):
        if not names:
            break
        names = {old: new.removeprefix(f"{shared}.") for old, new in names.items()}
    out, origin = {}, {}
    for (old, new), value in zip(names.items(), state.values()):
        if new in out:
            raise UserError(f"{origin[new]} and {old} are the same tensor twice")
        out[new], origin[new] = value, old
    return out, beside


def as_float32(weights: Mapping[str, Tensor], origin: Mapping[str, str] = MappingProxyType({})) -> dict[str, Tensor]:
    """Return weights as float32. Raise UserError for integers, NaN or infinite values; `origin`: names in the file."""
    names = {name: origin.get(name, name) for name in weights}
    if other := [f"{names[name]} ({value.dtype})" for name, value in weights.items() if not value.is_floating_point()]:
        raise UserError(
            f"{some(other)}: not of floating-point numbers. Is the model quantised? Take the one that was published"
        )
    out = {name: value.float() for name, value in weights.items()}
    if broken := not_finite({names[name]: value for name, value in out.items()}):
        raise UserError(
            f"{some(broken)}: NaN or infinite. Its training diverged, or the file is damaged: get it again, or take another"
        )
    return out


def compare(module: nn.Module, weights: Mapping) -> tuple[list[str], list[str], list[str]]:
    """Names that the module has and `weights` lack, that these have besides, and whose shapes differ: all empty where one
    can be loaded into the other."""
    own = {name: value.shape for name, value in module.state_dict().items()}
    differ = [name for name in own if name in weights and getattr(weights[name], "shape", ()) != own[name]]
    return [name for name in own if name not in weights], [str(name) for name in weights if name not in own], differ


def some(names: list[str], n: int = 3) -> str:
    return ", ".join(names[:n]) + (f" and {len(names) - n} more" if len(names) > n else "")


def load_all(module: nn.Module, weights: Mapping, path: Path) -> None:
    """Give `module` the weights of the file `path`: each of its tensors, and none left over, or UserError names them."""
    lacks, besides, differ = compare(module, weights)
    own = module.state_dict()
    shapes = [f"{name} {tuple(getattr(weights[name], 'shape', ()))}, not {tuple(own[name].shape)}" for name in differ]
    problems = {"lacks": lacks, "has besides": besides, "differs in shape at": shapes}
    if said := [f"{words} {some(names)}" for words, names in problems.items() if names]:
        raise UserError(f"{path}: not the weights of a {type(module).__name__}: it {'; it '.join(said)}")
    numbers = {name: weights[name] for name, value in own.items() if value.is_floating_point()}
    try:
        module.load_state_dict({**weights, **as_float32(numbers)})
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _read_old_module(path: Path, inert: set[str]):
    """A whole module in the format before torch 1.6, which the weights-only unpickler does not know.

    It names its classes in another way. Here too nothing is called but what rebuilds tensors.
    """
    rebuild = {
        "collections.OrderedDict": OrderedDict, "__builtin__.set": set, "torch.device": torch.device,
        "torch._utils._rebuild_tensor_v2": torch._utils._rebuild_tensor_v2,
        "torch._utils._rebuild_parameter": torch._utils._rebuild_parameter,
    }  # fmt: skip

    class Unpickler(pickle.Unpickler):
        def find_class(self, module, name):
            full = f"{module}.{name}"
            if full in rebuild:
                return rebuild[full]
            if full in inert:
                return Inert
            raise pickle.UnpicklingError(f"GLOBAL {full}")

    unpickling = SimpleNamespace(Unpickler=Unpickler, load=lambda file, **o: Unpickler(file, **o).load(), __name__="")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that Inert's source is not that of the class it replaces
            return torch.load(path, map_location="cpu", weights_only=False, pickle_module=unpickling)
    except Exception as error:
        raise _refusal(path, error) from None


def _refusal(path: Path, error: Exception) -> UserError:
    message = str(error)
    if asked := re.search(r"GLOBAL (\S+)", message):
        return UserError(
            f"{path}: refused, as it asks for {asked[1]}, which weights do not need; get the original file, or, where "
            "you trust this one, save its state dict alone (torch.save) and name that file in params"
        )
    if isinstance(error, pickle.UnpicklingError):
        return UserError(f"{path}: not a file of torch.save or safetensors; get it again")
    first = message.split("\n")[0].split(". ")[0] or type(error).__name__
    return UserError(f"{path}: not a readable checkpoint ({first}); get it again")


def _tensors(state: dict, prefix: str = ""):
    """(name, tensor) of a module's state, named as state_dict() does."""
    for kind in ("_parameters", "_buffers"):
        for name, tensor in state.get(kind, {}).items():
            if isinstance(tensor, Tensor):
                yield prefix + name, tensor.detach()
    for name, module in state.get("_modules", {}).items():
        if isinstance(module, Inert):
            yield from _tensors(module.state, f"{prefix}{name}.")
