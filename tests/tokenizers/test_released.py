"""Released tokenizers, from randomly initialised weights in the published formats."""

import json
import sys
import warnings
from collections import OrderedDict
from contextlib import contextmanager
from types import ModuleType

import dall_e
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cae.files import file_hash
from cae.params import DALLE, VQGAN
from cae.tokenizers import store, vqgan
from cae.tokenizers.dalle import DALLEEncoder
from cae.tokenizers.vqgan import VQGANEncoder

KINDS = {"dalle": (DALLE, DALLEEncoder), "vqgan": (VQGAN, VQGANEncoder)}


@pytest.fixture
def narrow(monkeypatch):
    wide = dall_e.Encoder.__init__
    monkeypatch.setattr(dall_e.Encoder, "__init__", lambda self, **options: wide(self, n_hid=16, **options))
    monkeypatch.setattr(vqgan, "WIDTH", 32)
    monkeypatch.setattr(vqgan, "LATENT", 8)
    torch.manual_seed(0)


COLOURS = torch.randint(0, 256, (3, 6, 6, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
PIXELS = COLOURS.repeat_interleave(8, 1).repeat_interleave(8, 2)
IMAGES = (PIXELS.double() / 255).permute(0, 3, 1, 2)


# What the two papers' encoders compute, written anew from their descriptions on a plain state dict, in float64


def dalle_logits(weights: dict, x: torch.Tensor) -> torch.Tensor:
    def conv(x, name):
        w, b = weights[f"{name}.w"].double(), weights[f"{name}.b"].double()
        return F.conv2d(x, w, b, padding=(w.shape[2] - 1) // 2)

    x = conv(0.8 * x + 0.1, "blocks.input")
    for group in range(1, 5):
        for block in (1, 2):
            name = f"blocks.group_{group}.block_{block}"
            y = x
            for i in range(1, 5):
                y = conv(y.clamp(min=0), f"{name}.res_path.conv_{i}")
            x = (conv(x, f"{name}.id_path") if group > 1 and block == 1 else x) + y / 64
        if group < 4:
            x = F.max_pool2d(x, 2)
    return conv(x.clamp(min=0), "blocks.output.conv")


def vqgan_logits(weights: dict, x: torch.Tensor) -> torch.Tensor:
    weights = {name: value.double() for name, value in weights.items()}

    def conv(x, name, **options):
        w = weights[f"{name}.weight"]
        return F.conv2d(x, w, weights[f"{name}.bias"], **{"padding": w.shape[2] // 2, **options})

    def norm(x, name):
        groups = x.reshape(len(x), 32, -1)
        groups = (groups - groups.mean(2, keepdim=True)) / (groups.var(2, unbiased=False, keepdim=True) + 1e-6).sqrt()
        w, b = (weights[f"{name}.{part}"][:, None, None] for part in ("weight", "bias"))
        return groups.reshape(x.shape) * w + b

    def swish(x):
        return x * x.sigmoid()

    def block(x, name):
        y = conv(swish(norm(x, f"{name}.norm1")), f"{name}.conv1")
        y = conv(swish(norm(y, f"{name}.norm2")), f"{name}.conv2")
        return y + (conv(x, f"{name}.nin_shortcut") if f"{name}.nin_shortcut.weight" in weights else x)

    def attention(x, name):
        y = norm(x, f"{name}.norm")
        q, k, v = (conv(y, f"{name}.{part}").flatten(2) for part in "qkv")
        share = (torch.einsum("bci,bcj->bij", q, k) / x.shape[1] ** 0.5).softmax(2)
        return x + conv(torch.einsum("bij,bcj->bci", share, v).reshape(x.shape), f"{name}.proj_out")

    x = conv(2 * x - 1, "encoder.conv_in")
    for level in range(4):
        for i in range(2):
            x = block(x, f"encoder.down.{level}.block.{i}")
            if level == 3:
                x = attention(x, f"encoder.down.3.attn.{i}")
        if level < 3:
            x = conv(F.pad(x, (0, 1, 0, 1)), f"encoder.down.{level}.downsample.conv", padding=0, stride=2)
    x = block(attention(block(x, "encoder.mid.block_1"), "encoder.mid.attn_1"), "encoder.mid.block_2")
    x = conv(swish(norm(x, "encoder.norm_out")), "encoder.conv_out")
    return conv(conv(x, "quant_conv"), "quantize.proj")


LOGITS = {"dalle": dalle_logits, "vqgan": vqgan_logits}


def random(kind: str) -> nn.Module:
    """A tokenizer with no parameter left at 0 or 1, residual branches as strong as what they are added to, and logits
    that vary over the images more than over the vocabulary."""
    tokenizer = KINDS[kind][1](64).requires_grad_(False)
    for name, value in tokenizer.named_parameters():
        scale = value[0].numel() ** -0.5 if value.ndim > 1 else 0.1
        nn.init.normal_(value, mean=float("norm" in name), std=scale * (64 if "conv_4.w" in name else 1))
    *_, last = tokenizer.parameters()
    last -= LOGITS[kind](tokenizer.state_dict(), IMAGES).mean((0, 2, 3))
    return tokenizer.eval()


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_are_the_argmax_of_the_published_logits(narrow, kind):
    tokenizer = random(kind)
    tokens = tokenizer.tokens(PIXELS)
    expected = LOGITS[kind](tokenizer.state_dict(), IMAGES)
    assert tokens.shape == (3, 6, 6) and tokens.dtype == torch.int64 and len(tokens.unique()) > 10
    margin = expected.topk(2, dim=1).values.diff(dim=1).abs().squeeze(1)
    clear = margin > 1e-3 * expected.std()
    assert clear.float().mean() > 0.9 and torch.equal(tokens[clear], expected.argmax(1)[clear])


@pytest.mark.parametrize("kind", KINDS)
def test_logits_are_the_published_ones(narrow, kind):
    tokenizer = random(kind)
    if kind == "dalle":  # the package takes float32 alone
        logits, close = tokenizer(dall_e.map_pixels(IMAGES.float())), 1e-5
    else:
        tokenizer.double()
        logits, close = tokenizer.quantize["proj"](tokenizer.quant_conv(tokenizer.encoder(2 * IMAGES - 1))), 1e-9
    expected = LOGITS[kind](tokenizer.state_dict(), IMAGES)
    torch.testing.assert_close(logits.double(), expected, rtol=close, atol=close)


def test_dalle_computes_in_float32_on_a_gpu_too(narrow):
    """Where the package rounds to float16."""
    convs = [module for module in DALLEEncoder(64).modules() if isinstance(module, dall_e.utils.Conv2d)]
    assert len(convs) == 37 and not any(conv.use_float16 for conv in convs)
    assert sum(conv.use_float16 for conv in dall_e.Encoder().modules() if isinstance(conv, dall_e.utils.Conv2d)) == 36


def test_tokens_do_not_depend_on_chance(narrow):
    """The published VQGAN samples them."""
    tokenizer = random("vqgan")
    first = tokenizer.tokens(PIXELS)
    torch.manual_seed(1)
    assert torch.equal(tokenizer.tokens(PIXELS), first)
    assert torch.equal(tokenizer.train().tokens(PIXELS), first)


# Size and names of the published weights


def test_dalle_has_the_published_size_and_names():
    encoder = DALLEEncoder()
    assert encoder.tokens(torch.zeros(1, 112, 112, 3, dtype=torch.uint8)).shape == (1, 14, 14)
    convs = {"input": (3, 256, 7), "output.conv": (2048, 8192, 1)}
    for group, (inputs, outputs) in enumerate([(256, 256), (256, 512), (512, 1024), (1024, 2048)], 1):
        for block, width in ((1, inputs), (2, outputs)):
            name, hidden = f"group_{group}.block_{block}", outputs // 4
            sizes = [(width, hidden, 3), (hidden, hidden, 3), (hidden, hidden, 3), (hidden, outputs, 1)]
            convs |= {f"{name}.res_path.conv_{i}": size for i, size in enumerate(sizes, 1)}
            if width != outputs:
                convs[f"{name}.id_path"] = (width, outputs, 1)
    expected = {f"blocks.{name}.w": (o, i, k, k) for name, (i, o, k) in convs.items()}
    expected |= {f"blocks.{name}.b": (o,) for name, (_, o, _) in convs.items()}
    assert {name: tuple(value.shape) for name, value in encoder.state_dict().items()} == expected
    assert sum(p.numel() for p in encoder.parameters()) == 53_786_240


def test_vqgan_has_the_published_size_and_names():
    with torch.device("meta"):
        tokenizer = VQGANEncoder()
        assert tokenizer.tokens(torch.empty(1, 112, 112, 3, dtype=torch.uint8)).shape == (1, 14, 14)
        assert tokenizer.tokens(torch.empty(1, 256, 256, 3, dtype=torch.uint8)).shape == (1, 32, 32)
    convs = {"encoder.conv_in": (3, 128, 3), "encoder.conv_out": (512, 256, 3)}
    convs |= {"quant_conv": (256, 256, 1), "quantize.proj": (256, 8192, 1)}
    norms = {"encoder.norm_out": 512}

    def block(name, inputs, outputs):
        norms.update({f"{name}.norm1": inputs, f"{name}.norm2": outputs})
        convs.update({f"{name}.conv1": (inputs, outputs, 3), f"{name}.conv2": (outputs, outputs, 3)})
        if inputs != outputs:
            convs[f"{name}.nin_shortcut"] = (inputs, outputs, 1)

    def attention(name):
        norms[f"{name}.norm"] = 512
        convs.update({f"{name}.{part}": (512, 512, 1) for part in ("q", "k", "v", "proj_out")})

    for level, (inputs, outputs) in enumerate([(128, 128), (128, 128), (128, 256), (256, 512)]):
        block(f"encoder.down.{level}.block.0", inputs, outputs)
        block(f"encoder.down.{level}.block.1", outputs, outputs)
        if level < 3:
            convs[f"encoder.down.{level}.downsample.conv"] = (outputs, outputs, 3)
    for name in ("encoder.down.3.attn.0", "encoder.down.3.attn.1", "encoder.mid.attn_1"):
        attention(name)
    for name in ("encoder.mid.block_1", "encoder.mid.block_2"):
        block(name, 512, 512)
    expected = {f"{name}.weight": (o, i, k, k) for name, (i, o, k) in convs.items()}
    expected |= {f"{name}.bias": (o,) for name, (_, o, _) in convs.items()}
    expected |= {f"{name}.{part}": (width,) for name, width in norms.items() for part in ("weight", "bias")}
    assert {name: tuple(value.shape) for name, value in tokenizer.state_dict().items()} == expected
    assert sum(p.numel() for p in tokenizer.parameters()) == 28_516_864


# The published formats


@contextmanager
def package(**classes: type):
    """Modules that hold `classes` (by full name, dots as __) for as long as it takes to pickle them."""
    before = dict(sys.modules)
    for full, cls in classes.items():
        module, _, cls.__name__ = full.replace("__", ".").rpartition(".")
        cls.__qualname__, cls.__module__ = cls.__name__, module
        for i in range(module.count(".") + 1):
            path = module.rsplit(".", i)[0]
            sys.modules.setdefault(path, ModuleType(path))
        setattr(sys.modules[module], cls.__name__, cls)
    yield
    sys.modules.clear()
    sys.modules.update(before)


def publish_dalle(path, encoder: DALLEEncoder, zipped=True) -> None:
    """Save `encoder` as openai/DALL-E does: the whole module, of classes of the package, with their attributes."""
    published = dall_e.Encoder(vocab_size=64)
    published.load_state_dict(encoder.state_dict())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save(published, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(Exception, match="dall_e.encoder.Encoder|persistent_load"):  # its classes are not weights
        torch.load(path, weights_only=True)


def publish_openmmlab(path, encoder: DALLEEncoder) -> None:
    torch.save({"meta": {"epoch": 0}, "state_dict": encoder.state_dict()}, path)


def publish_hugging_face(path, encoder: DALLEEncoder) -> None:
    names = {".w": ".weight", ".b": ".bias"}
    state = {}
    for name, value in encoder.state_dict().items():
        for group in range(1, 5):
            name = name.replace(f"group_{group}.", f"group_{group}.group.")
        name = name.replace("res_path.", "res_path.path.")
        state[name[:-2] + names[name[-2:]]] = value
    torch.save(state, path)


def publish_vqgan(path, tokenizer: VQGANEncoder) -> None:
    """Save `tokenizer` as PyTorch Lightning does: with the decoder, the loss and the trainer's state."""

    class ModelCheckpoint:
        pass

    beside = {"quantize.embed.weight": torch.zeros(64, 8), "post_quant_conv.weight": torch.zeros(8, 8, 1, 1),
              "decoder.conv_in.weight": torch.zeros(8), "decoder.up.0.block.0.norm1.bias": torch.zeros(8),
              "loss.discriminator.main.0.weight": torch.zeros(8)}  # fmt: skip
    with package(pytorch_lightning__callbacks__model_checkpoint__ModelCheckpoint=ModelCheckpoint):
        state = {"epoch": 1, "global_step": 2, "pytorch-lightning_version": "1.0.8", "lr_schedulers": [],
                 "callbacks": {ModelCheckpoint: {"monitor": "val/rec_loss", "best_model_score": torch.zeros(())}},
                 "optimizer_states": [{"state": {0: {"step": 1, "exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 1.0}]}],
                 "state_dict": OrderedDict({**beside, **tokenizer.state_dict()})}  # fmt: skip
        torch.save(state, path)


FORMATS = {
    "dalle": publish_dalle,
    "dalle before torch 1.6": lambda path, encoder: publish_dalle(path, encoder, zipped=False),
    "dalle state dict": lambda path, encoder: torch.save(encoder.state_dict(), path),
    "dalle OpenMMLab": publish_openmmlab,
    "dalle Hugging Face": publish_hugging_face,
    "vqgan": publish_vqgan,
    "vqgan state dict": lambda path, tokenizer: torch.save(tokenizer.state_dict(), path),
    "vqgan compiled, in parallel": lambda path, tokenizer: torch.save(
        {"state_dict": {f"module._orig_mod.{name}": value for name, value in tokenizer.state_dict().items()}}, path
    ),
}


@pytest.fixture
def imported(run, tmp_path, monkeypatch):
    """A function that imports $CHECKPOINTS/weights.pt as a tokenizer of some kind and loads it."""
    monkeypatch.setenv("CHECKPOINTS", str(tmp_path))

    def imported(kind, **options):
        params = KINDS[kind][0](kind=kind, source="released", file="$CHECKPOINTS/weights.pt", input_size=48,
                                vocabulary=64, **options)  # fmt: skip
        job = json.dumps({"tokenizer": params.model_dump(), "image": {"size": 96, "patch": 16}})
        run("import-tokenizer", "--params", job, "--output", tmp_path / "out")
        return store.load(tmp_path / "out")

    return imported


@pytest.mark.parametrize("published", FORMATS)
def test_published_weights_give_their_tokens(narrow, imported, tmp_path, published):
    kind = published.split()[0]
    original = random(kind)
    FORMATS[published](tmp_path / "weights.pt", original)
    tokenizer, about = imported(kind, sha256=file_hash(tmp_path / "weights.pt")[:16])
    assert about["params"]["kind"] == kind and about["grid"] == 6
    assert torch.equal(tokenizer.tokens(PIXELS), original.tokens(PIXELS))
    assert all(torch.equal(value, original.state_dict()[name]) for name, value in tokenizer.state_dict().items())


def test_what_only_training_needs_is_left_out_and_counted(narrow, imported, tmp_path, capsys):
    publish_vqgan(tmp_path / "weights.pt", VQGANEncoder(64))
    tokenizer, _ = imported("vqgan")
    taken = f"{len(tokenizer.state_dict())} tensors taken; not needed: "
    said = capsys.readouterr().out
    assert taken in said and all(part in said for part in ("1 of quantize", "2 of decoder", "1 of loss"))


@pytest.mark.parametrize("kind,source", [
    ("dalle", "https://cdn.openai.com/dall-e/encoder.pkl"),
    ("vqgan", "https://heibox.uni-heidelberg.de/d/2e5662443a6b4307b470/"),
])  # fmt: skip
def test_a_missing_file_is_named_with_its_source(imported, tmp_path, kind, source):
    with pytest.raises(SystemExit, match=f"{tmp_path}/weights.pt: not found. Get .*{source}.* and put it there"):
        imported(kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("spoil,message", [
    (lambda state, name: state.pop(name), "weights.pt: not the weights of a .*: it lacks {}$"),
    (lambda state, name: state.update(x=torch.zeros(1)), "it has besides x$"),
    (lambda state, name: state.update({name: state[name][:1]}), r"it differs in shape at {} \(1, .*\), not \("),
    (lambda state, name: state[name][:1].fill_(torch.nan), r"weights.pt: {} \(\d+ of \d+\): NaN or infinite"),
])  # fmt: skip
def test_weights_that_do_not_fit_are_named(narrow, imported, tmp_path, kind, spoil, message):
    state = KINDS[kind][1](64).state_dict()
    name = {"dalle": "blocks.group_2.block_1.res_path.conv_2.w", "vqgan": "encoder.mid.attn_1.q.weight"}[kind]
    spoil(state, name)
    torch.save({"state_dict": state}, tmp_path / "weights.pt")
    with pytest.raises(SystemExit, match=message.format(name)):
        imported(kind)
    assert not (tmp_path / "out").exists()


def test_weights_of_the_other_tokenizer_are_refused(narrow, imported, tmp_path):
    publish_vqgan(tmp_path / "weights.pt", VQGANEncoder(64))
    with pytest.raises(
        SystemExit, match="not the weights of a DALLEEncoder: it lacks blocks.input.w, .* more; it has besides"
    ):
        imported("dalle")


def test_a_file_with_another_hash_is_refused(imported, tmp_path):
    torch.save({}, tmp_path / "weights.pt")
    with pytest.raises(SystemExit, match="sha256 is .*, params say 00000000. Get the DALL-E encoder"):
        imported("dalle", sha256="00000000")
