"""Take a released tokenizer's weights into the project's own form."""

from collections import Counter
from typing import Annotated

from pydantic import Field

from cae.errors import UserError
from cae.options import OutputFolder, params_of
from cae.params import DALLE, VQGAN, Image, Strict
from cae.released.reading import load_all, read_weights, state_dict, verified
from cae.tokenizers import store


class ImportJob(Strict):
    image: Image
    tokenizer: Annotated[DALLE | VQGAN, Field(discriminator="kind")]


def main(*, params: params_of(ImportJob), output: OutputFolder) -> None:
    """Import a released tokenizer from its file.

    Every tensor of the file goes into the tokenizer or is one of those that only training and decoding need. Raises UserError
    where the file is missing, has another sha256, asks for more than weights, or holds other weights.
    """
    p, grid = params.tokenizer, params.image.grid
    release = store.module_of(p.kind)
    file, _ = verified(p.file, p.sha256, release.SOURCE)
    content = read_weights(file, release.CLASSES)
    try:
        state, _ = state_dict(content)  # beside it: epoch, optimizer states, callbacks
    except UserError as error:
        raise UserError(f"{file}: {error}") from None
    weights = {release.published_name(name): value for name, value in state.items()}
    unused = [name for name in weights if name.startswith(release.UNUSED)]
    tokenizer = store.build(p, grid)
    load_all(tokenizer, {name: value for name, value in weights.items() if name not in unused}, file)
    parts = ", ".join(f"{count} of {part}" for part, count in Counter(name.split(".")[0] for name in unused).items())
    print(
        f"{file}: {len(weights) - len(unused)} tensors taken" + (f"; not needed: {parts}" if parts else ""), flush=True
    )
    store.save(output, tokenizer, p, grid)
