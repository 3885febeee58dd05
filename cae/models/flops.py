"""What networks multiply and how many parameters they have, from params alone: no network is built, no torch needed.

Counted are matrix products, convolutions and attention; norms, biases and positions are below a hundredth of either. A
multiplication with its addition is two FLOPs. Tests compare with what PyTorch counts of the networks themselves.
"""

from typing import NamedTuple

from cae.params import DVAE, Detection, Pretraining, Segmentation, Tokenizer


class Net(NamedTuple):
    weights: float = 0.0
    flops: float = 0.0  # of one forward pass over one image

    def __add__(self, other: "Net") -> "Net":
        return Net(self.weights + other.weights, self.flops + other.flops)

    def times(self, n: float) -> "Net":
        """As many such layers."""
        return Net(n * self.weights, n * self.flops)

    def seen(self, often: float) -> "Net":
        """The same layers, run that often."""
        return Net(self.weights, often * self.flops)


def linear(inputs: int, outputs: int, rows: float = 1) -> Net:
    return Net(inputs * outputs, 2 * inputs * outputs * rows)


def conv(inputs: int, outputs: int, side: int, cells: float) -> Net:
    """A convolution of `side` x `side` that gives `cells` positions; transposed, one that is given as many."""
    return linear(inputs * side**2, outputs, cells)


def attention(width: int, queries: int, keys: int) -> Net:
    """Both products of the attention, without projections."""
    return Net(0, 4 * width * queries * keys)


def block(width: int, tokens: int) -> Net:
    """Of a ViT: projections, attention, an MLP of four times the width."""
    return linear(width, 12 * width, tokens) + attention(width, tokens, tokens)


def embedding(p: Pretraining, patches: float) -> Net:
    return linear(3 * p.image.patch**2, p.width, patches)


def encoder(p: Pretraining, patches: float | None = None) -> Net:
    """A model's encoder on so many patches, all of the image where None, and its class token."""
    patches = p.image.grid**2 if patches is None else patches
    return embedding(p, patches) + block(p.width, 1 + patches).times(p.depth)


class Step(NamedTuple):
    """A step of pretraining: what it multiplies of each image, forward and backward; parameters that are trained, and that
    follow as a moving average or stand still."""

    flops: float
    trained: float
    frozen: float = 0.0


def pretraining_step(p: Pretraining, outputs: int = 0) -> Step:
    """`outputs`: tokens or classes that the model chooses from. A backward pass costs two forward passes, but that pixels
    need no gradient."""
    of = {
        "cae": _cae,
        "beit": _beit,
        "simmim": _simmim,
        "data2vec": _data2vec,
        "mae": _mae,
        "moco_v3": _moco,
        "dino": _dino,
        "deit": _deit,
    }
    return of[p.method](p, outputs)


def _cae(p, outputs: int) -> Step:
    masked, visible = p.mask.count, p.image.grid**2 - p.mask.count
    outputs = outputs if p.target == "tokens" else 3 * p.image.patch**2
    cross = linear(p.width, 10 * p.width, masked) + linear(p.width, 2 * p.width, visible + masked)  # queries, MLP; keys
    regressor = (cross + attention(p.width, masked, visible + masked)).times(p.regressor_depth)
    decoder = block(p.width, masked).times(p.decoder_depth) + linear(p.width, outputs, masked)
    trained = encoder(p, visible) + regressor + decoder
    targets = encoder(p, masked).flops if p.alignment_weight else 0
    average = encoder(p).weights if p.alignment_momentum else 0
    return Step(3 * trained.flops - embedding(p, visible).flops + targets, trained.weights, average)


def _beit(p, outputs: int) -> Step:
    trained = encoder(p) + linear(p.width, outputs, p.mask.count)
    return Step(3 * trained.flops - embedding(p, p.image.grid**2).flops, trained.weights)


def _simmim(p, outputs: int) -> Step:
    return _beit(p, 3 * p.image.patch**2)


def _data2vec(p, outputs: int) -> Step:
    """The teacher sees the whole image."""
    student, teacher = _beit(p, p.width), encoder(p)
    return Step(student.flops + teacher.flops, student.trained, teacher.weights)


def _mae(p, outputs: int) -> Step:
    patches = p.image.grid**2
    visible, tokens = patches - p.mask.count, 1 + patches
    decoder = linear(p.width, p.decoder_width, 1 + visible) + block(p.decoder_width, tokens).times(p.decoder_depth)
    pixels = linear(p.decoder_width, 3 * p.image.patch**2, tokens)
    head = pixels if p.target == "pixels" else linear(p.decoder_width, outputs, p.mask.count)
    trained = encoder(p, visible) + decoder + head
    return Step(3 * trained.flops - embedding(p, visible).flops, trained.weights)


def _moco(p, outputs: int) -> Step:
    """Two views; the patch embedding stands still."""
    h, o = p.hidden_width, p.output_width
    keys = encoder(p) + linear(p.width, h) + linear(h, h) + linear(h, o)
    queries = keys + linear(o, h) + linear(h, o)
    flops = 2 * (3 * queries.flops - 2 * embedding(p, p.image.grid**2).flops + keys.flops)
    return Step(flops, queries.weights, keys.weights)


def _dino(p, outputs: int) -> Step:
    """The student sees all crops, the teacher the two large ones."""
    small = (p.local_size // p.image.patch) ** 2
    head = linear(p.width, p.hidden_width) + linear(p.hidden_width, p.hidden_width)
    head += linear(p.hidden_width, p.bottleneck) + linear(p.bottleneck, p.outputs)
    large, local = encoder(p) + head, encoder(p, small) + head
    student = 2 * large.flops + p.local_crops * local.flops
    pixels = 2 * embedding(p, p.image.grid**2).flops + p.local_crops * embedding(p, small).flops
    return Step(3 * student - pixels + 2 * large.flops, large.weights, large.weights)


def _deit(p, outputs: int) -> Step:
    trained = encoder(p) + linear(p.width, outputs)
    return Step(3 * trained.flops - embedding(p, p.image.grid**2).flops, trained.weights, trained.weights)


def classifier(p: Pretraining, classes: int) -> Net:
    return encoder(p) + linear(p.width, classes)


def attentive_probe(p: Pretraining, classes: int) -> Net:
    tokens = 1 + p.image.grid**2
    return linear(p.width, 2 * p.width, tokens) + linear(p.width, 2 * p.width + classes) + attention(p.width, 1, tokens)


def necks(width: int, cells: float) -> Net:
    """Transposed convolutions that make two finer maps of a ViT's (`cae.models.backbone`)."""
    return conv(width, width, 2, cells).times(2) + conv(width, width, 2, 4 * cells)


def segmenter(p: Pretraining, recipe: Segmentation, classes: int) -> Net:
    """UperNet, of one crop; its auxiliary head, which tests do without, too."""
    cells, c, width = (recipe.crop // p.image.patch) ** 2, recipe.channels, p.width
    pyramid = linear(width, c, 1 + 4 + 9 + 36) + Net(3 * width * c) + conv(width + 4 * c, c, 3, cells / 4)
    lateral = [linear(width, c, n * cells) + conv(c, c, 3, n * cells) for n in (16, 4, 1)]
    top = conv(4 * c, c, 3, 16 * cells) + linear(c, classes, 16 * cells)
    auxiliary = conv(width, 256, 3, cells) + linear(256, classes, cells)
    return sum([*lateral, top, auxiliary, pyramid, necks(width, cells)], encoder(p, cells))


def detector(
    p: Pretraining, recipe: Detection, classes: int, cascade: bool, height: float, width: float, masks: float
) -> Net:
    """Mask or Cascade Mask R-CNN, of an image so large; `masks`: regions that its mask head sees."""
    cells, c, stages = height * width / p.image.patch**2, recipe.channels, 3 if cascade else 1
    levels = [16 * cells, 4 * cells, cells, cells / 4]
    pyramid = sum((linear(p.width, c, n) + conv(c, c, 3, n) for n in levels), Net())
    proposing = (conv(c, c, 3, 1) + linear(c, 3 * 5)).seen(sum(levels) + cells / 16)
    boxes = linear(49 * c, recipe.head_width) + linear(recipe.head_width, 5 * (classes + 1))
    if recipe.heads == "public":
        boxes += conv(c, c, 3, 49).times(4)
    else:
        boxes += linear(recipe.head_width, recipe.head_width)
    shapes = conv(c, c, 3, 196).times(4) + conv(c, c, 2, 196) + linear(c, classes + 1, 784)
    heads = (boxes.seen(recipe.regions) + shapes.seen(masks)).times(stages)
    return encoder(p, cells) + necks(p.width, cells) + pyramid + proposing + heads


def tokenizer(t: Tokenizer, grid: int) -> Net:
    """What gives an image's tokens: of a d-VAE its encoder."""
    return {"dvae": lambda: _dvae(t, grid), "dalle": lambda: _dalle(t, grid), "vqgan": lambda: _vqgan(t, grid)}[
        t.kind
    ]()


def _dvae(t: DVAE, grid: int) -> Net:
    patch, cells, net = t.input_size // (grid * 2**t.layers), grid**2, Net()
    if patch > 1:
        net += conv(3, t.width, patch, cells * 4**t.layers)
    for i in range(t.layers):
        net += conv(3 if patch == 1 and i == 0 else t.width, t.width, 4, cells * 4 ** (t.layers - 1 - i))
    return net + _dvae_blocks(t, cells) + linear(t.width, t.vocabulary, cells)


def _dvae_blocks(t: DVAE, cells: int) -> Net:
    return (conv(t.width, t.width, 3, cells).times(2) + linear(t.width, t.width, cells)).times(t.blocks)


def dvae_step(t: DVAE, grid: int) -> Step:
    """A step of a d-VAE's training, its decoder included."""
    patch, cells = t.input_size // (grid * 2**t.layers), grid**2
    net = tokenizer(t, grid) + linear(t.vocabulary, t.codebook_dim, cells) + linear(t.codebook_dim, t.width, cells)
    net += _dvae_blocks(t, cells)
    for i in range(t.layers):
        net += conv(t.width, t.width, 4, cells * 4**i)
    net += conv(t.width, 3, patch, cells * 4**t.layers)
    return Step(3 * net.flops, net.weights)


def _dalle(t: Tokenizer, grid: int) -> Net:
    """Four groups of two residual blocks, 256 to 2048 channels; a quarter of them inside (`dall_e.Encoder`)."""
    cells, inputs = 64 * grid**2, 256
    net = conv(3, 256, 7, cells)
    for i, outputs in enumerate((256, 512, 1024, 2048)):
        for width in (inputs, outputs):
            hidden, n = outputs // 4, cells / 4**i
            path = conv(width, hidden, 3, n) + conv(hidden, hidden, 3, n).times(2) + linear(hidden, outputs, n)
            net += path + (linear(width, outputs, n) if width != outputs else Net())
        inputs = outputs
    return net + linear(2048, t.vocabulary, grid**2)


def _vqgan(t: Tokenizer, grid: int) -> Net:
    """128 to 512 channels at four resolutions, two residual blocks each, attention at the last (cae.tokenizers.vqgan)."""
    cells, inputs = 64 * grid**2, 128
    net = conv(3, 128, 3, cells)

    def residual(a: int, b: int, n: float) -> Net:
        return conv(a, b, 3, n) + conv(b, b, 3, n) + (linear(a, b, n) if a != b else Net())

    def attend(width: int, n: float) -> Net:
        return linear(width, 4 * width, n) + attention(width, n, n)

    for i, outputs in enumerate((128, 128, 256, 512)):
        n = cells / 4**i
        net += residual(inputs, outputs, n) + residual(outputs, outputs, n)
        net += attend(outputs, n).times(2) if i == 3 else conv(outputs, outputs, 3, n / 4)
        inputs = outputs
    n = grid**2
    net += residual(512, 512, n).times(2) + attend(512, n) + conv(512, 256, 3, n)
    return net + linear(256, 256, n) + linear(256, t.vocabulary, n)
