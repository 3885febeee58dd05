"""Take a released tokenizer's weights into the project's own form."""

import os
from pathlib import Path

from cae.errors import UserError
from cae.files import file_hash
from cae.params import DALLE, Image, Strict
from cae.tokenizers import store
from cae.training.loop import load_checkpoint


class ImportJob(Strict):
    image: Image
    tokenizer: DALLE


def main(params: ImportJob, output: Path) -> None:
    """Raises UserError where the file is missing, has another sha256 or holds other weights."""
    p, grid = params.tokenizer, params.image.grid
    file = Path(os.path.expandvars(p.file))
    if not file.is_file():
        raise UserError(
            f"tokenizer file {p.file} ({file}): not found. Save the state dict of the published DALL-E encoder "
            f"(encoder.pkl of openai/DALL-E) with torch.save and name the file in the environment variable or in params"
        )
    if p.sha256 and file_hash(file) != p.sha256:
        raise UserError(f"{file}: sha256 is {file_hash(file)}, params say {p.sha256}")
    tokenizer = store.build(p, grid)
    weights = load_checkpoint(file)
    missing, unexpected = set(tokenizer.state_dict()) - set(weights), set(weights) - set(tokenizer.state_dict())
    if missing or unexpected:
        raise UserError(
            f"{file}: not a DALL-E encoder: lacks {sorted(missing)[:3]}, has {sorted(unexpected)[:3]} besides"
        )
    try:
        tokenizer.load_state_dict(weights)
    except RuntimeError as error:
        raise UserError(f"{file}: {error}") from None
    store.save(output, tokenizer, p, grid)
