"""Take a released checkpoint into the place of a pretrained model: `results/<scale>/pretrain/<model>/`."""

from pathlib import Path

import torch

from cae.errors import UserError
from cae.files import atomic, text_hash
from cae.models.card import grouped
from cae.models.encoders import save_encoder
from cae.models.vit import create_encoder
from cae.options import OutputFolder, params_of
from cae.params import METHODS, Release
from cae.released.models import PAGES, Converted, convert
from cae.released.reading import read_weights, verified


def main(*, params: params_of(Release), output: OutputFolder) -> None:
    """Import a released model from its file.

    Its encoder and, where the file holds a whole CAE, `last.ckpt`. Raises UserError where the file is missing, damaged or another
    than params name, or does not fit the model exactly.
    """
    p = params
    file, sha256 = verified(p.file, p.sha256, f"Download it from {PAGES[p.method]}")
    try:
        converted = convert(read_weights(file), p)
    except UserError as error:
        raise UserError(f"{file}: {str(error).removeprefix(f'{file}: ')}") from None
    classes = converted.outputs if METHODS[p.method].learns_labels else 0
    encoder = create_encoder(p, classes)
    encoder.load_state_dict(converted.encoder)
    whole = output / "last.ckpt"
    if converted.whole is None:
        whole.unlink(missing_ok=True)  # of another file, imported before
    else:
        with atomic(whole) as temporary:
            torch.save({"model": converted.whole}, temporary)
    provenance = {
        "model": output.name, "source": p.source, "file": file.name, "sha256": sha256, "page": PAGES[p.method],
        "epochs": p.epochs, "outputs": converted.outputs, "notes": converted.notes, "dropped": converted.dropped,
        "params_hash": text_hash(p.model_dump_json() + sha256),
    }  # fmt: skip
    save_encoder(output, encoder, p, provenance)
    print(summary(output.name, file, converted), flush=True)


def summary(model: str, file: Path, converted: Converted) -> str:
    """What was taken and what was left out."""
    left = grouped(converted.dropped)
    taken = f"an encoder of {len(converted.encoder)} tensors"
    if converted.whole is not None:
        taken = f"a whole model of {len(converted.whole)} tensors, {len(converted.encoder)} of them the encoder's,"
    return "\n".join([f"{model}: {taken} imported from {file}; not needed or computed: {left}", *converted.notes])
