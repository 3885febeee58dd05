"""Leave an encoder with its first weights: a model of no epochs, which evaluations compare trained ones with."""

import importlib

import torch
from torch import nn

from cae.files import text_hash
from cae.models.encoders import save_encoder
from cae.options import OutputFolder, params_of
from cae.params import Untrained, UntrainedModel


def main(*, params: params_of(Untrained), output: OutputFolder) -> None:
    """Draw the first weights of an encoder.

    Writes its folder, as of a trained model: what a model of no epochs is, and what a trained one of this seed starts from.
    """
    torch.manual_seed(params.seed)
    about = {"model": output.name, "epochs": 0, "images": 0, "params_hash": text_hash(params.model_dump_json())}
    save_encoder(output, encoder_of(params), params, about)


def encoder_of(params: UntrainedModel) -> nn.Module:
    """Draw an encoder: by its method's `build_encoder`, where it has one, or else as a part of the whole model.

    The module is named at run time, so that no method's code counts as part of another's.
    """
    method = importlib.import_module(f"cae.methods.{params.method}")
    return method.build_encoder(params) if hasattr(method, "build_encoder") else method.build(params).encoder
