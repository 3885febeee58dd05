"""What tests of methods share: a model of each method, batches of random images, what is left out of weight decay."""

import numpy as np
import torch

from cae.data.masks import draw_masks, split_ids
from cae.params import METHODS, load
from cae.tasks.pretrain import build
from cae.training.optim import adamw
from tests.conftest import MODELS, ROOT

PAPER = load(ROOT / "params" / "paper.yaml")
MASKED = [name for name in MODELS.values() if hasattr(PAPER.pretraining(name), "mask")]
CONTRASTIVE = [name for name in MODELS.values() if (PAPER.pretraining(name).crops or 0) > 1]
MASK_TOKENS = [name for method, name in MODELS.items() if METHODS[method].timm_class == "Beit"]
TOKENS, CLASSES = 32, 10


def count(parameters) -> int:
    return sum(p.numel() for p in parameters)


def make(tiny, name, **change):
    """A tiny model of the tests' scale, without drop path unless that is changed, with 32 tokens or 10 classes."""
    torch.manual_seed(0)
    params = tiny.pretraining(name).model_copy(update={"drop_path": 0.0, **change})
    return build(params, params.choices(TOKENS, CLASSES))


def batch_of(params, n=4):
    """A batch such as the method's loader gives."""
    return masked_batch(params, n) if hasattr(params, "mask") else view_batch(params, n, params.crops or 1)


def masked_batch(params, n=4, vocabulary=TOKENS):
    """A batch of random pixels, masks as the params say, random tokens."""
    generator = torch.Generator().manual_seed(1)
    g, size = params.image.grid, params.image.size
    visible, masked = split_ids(draw_masks(params.mask, np.arange(n), seed=0, epoch=0, grid=g))
    return {
        "pixels": torch.randint(0, 256, (n, size, size, 3), dtype=torch.uint8, generator=generator),
        "visible": torch.from_numpy(visible),
        "masked": torch.from_numpy(masked),
        "tokens": torch.randint(0, vocabulary, (n, g * g), generator=generator),
    }


def view_batch(params, n=6, views=2):
    """A batch of random crops, the first two of them large, and labels."""
    generator = torch.Generator().manual_seed(2)
    sizes = [params.image.size] * min(views, 2) + [getattr(params, "local_size", 0)] * (views - 2)
    pixels = [torch.randint(0, 256, (n, size, size, 3), dtype=torch.uint8, generator=generator) for size in sizes]
    return {"views": pixels, "labels": torch.arange(n) % CLASSES, "epoch": torch.tensor(1)}


def disturb(pixels, ids, patch):
    """Pixels with the patches `ids` [B, m] of each image replaced by their negatives."""
    out, g = pixels.clone(), pixels.shape[1] // patch
    for image, patches in zip(out, ids):
        for index in patches.tolist():
            y, x = divmod(index, g)
            square = image[y * patch : (y + 1) * patch, x * patch : (x + 1) * patch]
            square.copy_(255 - square)
    return out


def without_decay(model) -> set[str]:
    """Names of the parameters that weight decay leaves out."""
    _, left = adamw(model, lr=1.0, betas=(0.9, 0.99), weight_decay=0.1).param_groups
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {names[id(parameter)] for parameter in left["params"]}


def matrices_without_decay(model) -> set[str]:
    """Those of them that are no biases, norms or scales."""
    left = without_decay(model)
    parameters = dict(model.named_parameters())
    found = {name for name in left if parameters[name].ndim > 1}
    assert all(name.endswith(("bias", "weight", "gamma", "gamma_1", "gamma_2")) for name in left - found)
    return found


def assert_masked_patches_reach_targets_alone(tiny, name):
    """What the head makes of masked patches hangs on visible pixels; the loss on masked ones, too."""
    model = make(tiny, name)
    data, seen = masked_batch(model.params), []
    model.head.register_forward_hook(lambda module, inputs, output: seen.append(output.detach()))
    changed = [disturb(data["pixels"], data[which], 8) for which in ("masked", "visible")]
    losses = [model({**data, "pixels": pixels})["loss"] for pixels in (data["pixels"], *changed)]
    assert torch.equal(seen[0], seen[1]) and not torch.allclose(seen[0], seen[2])
    assert losses[0] != losses[1]
