"""What each job of the DAG costs: FLOPs on a GPU, and bytes that it leaves on disk. From params and sizes of data sets alone."""

from pathlib import Path
from typing import NamedTuple

from cae.data.layouts import layout_of
from cae.files import read_json
from cae.models import flops
from workflow.plan import SEEN, Plan, as_json

SCENE = 4 / 3  # width over height of an image of ADE20K or COCO, here
KEPT = 4 << 30  # bytes of encoder tokens that probing keeps in memory (cae.tasks.probe)
PUBLISHED = "as published"  # the source of sizes of a data set that is not listed
FLOAT, ADAM = 4, 12  # bytes of a parameter as weights, and in `last.ckpt` with AdamW's two moments


class Size(NamedTuple):
    train: int
    val: int
    classes: int
    bytes: float
    source: str  # of these numbers


class Work(NamedTuple):
    """Of one job."""

    flops: float = 0.0
    unit: float = 0.0  # FLOPs of one image as its images/s count: of a training step, of a view's tokens, of one pass
    weights: float = 0.0  # bytes of checkpoints that stay
    tokens: float = 0.0  # bytes of token caches that stay
    data: float = 0.0  # bytes of images that are read
    name: str = ""  # by which a rate is given: of a model or a tokenizer
    precision: str = ""


def sizes(plan: Plan) -> dict[str, Size]:
    """Of each data set: its manifest's where there is one, the project's own, or as published."""
    return {name: _size(plan, name) for name in plan.params.datasets}


def _size(plan: Plan, name: str) -> Size:
    data, manifest = plan.params.datasets[name], Path(f"data/{plan.params.scale}/{name}.json")
    published = layout_of(data.layout).PUBLISHED
    if manifest.exists():
        listed = read_json(manifest)
        train, val = listed["splits"].values()
        volume = sum(train.get("bytes", [])) + sum(val.get("bytes", []))
        return Size(len(train["images"]), len(val["images"]), len(listed["classes"]), volume, str(manifest))
    if name in plan.made:
        from cae.data.demo import SIZES  # which draws, by libraries that nothing else here needs

        scenes = data.scenes or SIZES[data.layout]
        return Size(*scenes, data.classes or 10, sum(scenes) * 2e3, "made by the project")
    return Size(published.train, published.val, data.classes or published.classes, published.bytes, PUBLISHED)


class Costs:
    """A method a rule that costs anything, by the rule's name and with its wildcards."""

    def __init__(self, plan: Plan):
        self.plan, self.p, self.sizes = plan, plan.params, sizes(plan)
        self.precision = "bfloat16" if self.p.precision == "auto" else self.p.precision

    def of(self, rule: str, wildcards: dict[str, str]) -> Work:
        method = getattr(self, rule, None)
        return method(**{key: value for key, value in wildcards.items() if key != "scale"}) if method else Work()

    def names(self, rule: str) -> list[str]:
        """What a rule's jobs are called by where a rate is given of them."""
        return list(self.p.tokenizers if rule in ("tokenize", "train_tokenizer") else self.plan.recipes)

    def unit(self, rule: str, name: str) -> float | None:
        """FLOPs of one image in the rule's step; None where there is no such rule, or nothing of that name."""
        if name not in self.names(rule):
            return None
        by_name = {
            "tokenize": lambda: self.tokenized(name, 1),
            "train_tokenizer": lambda: self.train_tokenizer(name),
            "pretrain_model": lambda: self.pretrain_model(name),
            "probe": lambda: self.probe(name),
            "classify": lambda: self.classify(name),
            "finetune": lambda: self.finetune("finetune", name),
            "segment": lambda: self.segment(name, str(next(iter(self.p.segmenting(name))))),
            "detect": lambda: self.detect("coco-mask", name),
        }
        return by_name[rule]().unit if rule in by_name else None

    def _trained(self, step: float, images: float, name: str, **more) -> Work:
        return Work(step * images, step, name=name, **{"precision": self.precision} | more)

    def index_data(self, indexed: str) -> Work:
        return Work(data=self.sizes[indexed].bytes)

    def make_data(self, made: str) -> Work:
        return Work(data=self.sizes[made].bytes)

    def train_tokenizer(self, tokenizer: str) -> Work:
        t, data = self.p.tokenizers[tokenizer], self.sizes["imagenet"]
        step = flops.dvae_step(t, self.p.image.grid)
        return self._trained(step.flops, t.epochs * data.train, tokenizer, weights=FLOAT * step.trained)

    def import_tokenizer(self, tokenizer: str) -> Work:
        return Work(weights=FLOAT * flops.tokenizer(self.p.tokenizers[tokenizer], self.p.image.grid).weights)

    def tokenize(self, cache: str, k: str, n: str) -> Work:
        views = self.plan.views_of(cache) * self.sizes["imagenet"].train
        return self.tokenized(self.plan.caches[cache][0], views / int(n))

    def tokenized(self, tokenizer: str, views: float) -> Work:
        net = flops.tokenizer(self.p.tokenizers[tokenizer], self.p.image.grid)
        return self._trained(net.flops, views, tokenizer, precision="float32")  # to the last digit, on any device

    def list_tokens(self, cache: str) -> Work:
        views = self.plan.views_of(cache) * self.sizes["imagenet"].train
        return Work(tokens=2 * self.p.image.grid**2 * views)

    def pretrain_model(self, model: str) -> Work:
        recipe = self.plan.recipes[model]
        step = flops.pretraining_step(recipe, self._outputs(model))
        kept = FLOAT * flops.encoder(recipe).weights + ADAM * step.trained + FLOAT * step.frozen
        return self._trained(step.flops, recipe.epochs * self.sizes["imagenet"].train, model, weights=kept)

    def _outputs(self, model: str) -> int:
        """How many tokens or classes it would choose from, were it pretrained here."""
        recipe = self.plan.recipes[model].model_copy(update={"source": "built"})
        name = recipe.target_tokenizer
        vocabulary = self.p.tokenizers[name].vocabulary if name else 0
        return recipe.choices(vocabulary, self.sizes["imagenet"].classes) or 0

    def initialise_model(self, model: str) -> Work:
        return Work(weights=FLOAT * flops.encoder(self.plan.recipes[model]).weights)

    def import_model(self, model: str) -> Work:
        return Work(weights=FLOAT * flops.encoder(self.plan.recipes[model]).weights)

    def probe(self, model: str) -> Work:
        """Passes of the frozen encoder, and both heads; tokens that fit into memory are made once a view."""
        recipe, probes, data = self.plan.recipes[model], self.p.probes, self.sizes["imagenet"]
        forward, head = flops.encoder(recipe), flops.attentive_probe(recipe, data.classes)
        a_view = 2 * (1 + recipe.image.grid**2) * recipe.width
        views = probes.views if probes.views * data.train * a_view <= KEPT else probes.epochs
        every = max(1, probes.epochs // 10)
        passes = 1 if data.val * a_view <= KEPT else len({*range(every, probes.epochs + 1, every), probes.epochs})
        encoded = (views * data.train + passes * data.val) * forward.flops
        trained = probes.epochs * data.train * 3 * head.flops
        kept = FLOAT * (head.weights + recipe.width * data.classes)
        step = forward.flops + 3 * head.flops
        return Work(encoded + trained, step, weights=kept, name=model, precision=self.precision)

    def classify(self, model: str) -> Work:
        data = self.sizes["imagenet"]
        return self._trained(flops.classifier(self.plan.recipes[model], data.classes).flops, data.val, model)

    def finetune(self, protocol: str, model: str) -> Work:
        recipe, data = self.p.finetuning(model, protocol), self.sizes[self.plan.data_of(protocol)]
        net = flops.classifier(self.plan.recipes[model], data.classes)
        images = recipe.epochs * data.train + data.val / 3
        return self._trained(3 * net.flops, images, model, weights=FLOAT * net.weights)

    def segment(self, model: str, lr: str) -> Work:
        """Tests see an image in windows."""
        recipe, data = self.p.segmenting(model)[float(lr)], self.sizes["ade20k"]
        net = flops.segmenter(self.plan.recipes[model], recipe, data.classes)
        short = min(recipe.scale[1], recipe.scale[0] / SCENE)
        windows = self._windows(short, recipe) * self._windows(short * SCENE, recipe)
        images = recipe.steps * recipe.batch_size + data.val * windows / 3
        return self._trained(3 * net.flops, images, model, weights=FLOAT * net.weights)

    @staticmethod
    def _windows(length: float, recipe) -> int:
        return -(-max(0, round(length) - recipe.crop) // recipe.stride) + 1

    def detect(self, protocol: str, model: str) -> Work:
        """Sides are drawn evenly; a quarter of the regions hold objects. Tests see each image alone, at its largest."""
        recipe, data, cascade = self.p.detecting(model), self.sizes["coco"], protocol == "coco-cascade"

        def net(short: float, masks: float):
            width = min(short * SCENE, recipe.long_side)
            pretrained = self.plan.recipes[model]
            return flops.detector(pretrained, recipe, data.classes, cascade, width / SCENE, width, masks)

        steps = [3 * net(short, recipe.regions / 4).flops for short in recipe.short_sides]
        step, last = sum(steps) / len(steps), net(recipe.short_sides[-1], 100)
        images = recipe.epochs * data.train + data.val * last.flops / step
        return self._trained(step, images, model, weights=FLOAT * last.weights)

    def attention(self, figure: str) -> Work:
        """One pass over the validation images of ImageNet, and of COCO where it is there."""
        images = sum(self.sizes[name].val for name in ("imagenet", "coco") if name in self.sizes)
        return self._passes(self.plan.shown[figure].models, images)

    def tsne(self) -> Work:
        shown = self.p.analyses.figure5
        return self._passes(shown.models, shown.images)

    def _passes(self, models: list[str], images: int) -> Work:
        forward = sum(flops.encoder(self.plan.recipes[model]).flops for model in models)
        return self._trained(forward, images, models[0])

    def released(self) -> dict[str, Work]:
        """What the released models would cost if they were pretrained here: the models, and tokens that none built needs."""
        found = {model: self.pretrain_model(model) for model in self.plan.models if model in self.plan.released_models}
        wanted = {self.plan.caches[cache] for cache in self.plan.wanted_caches}
        for model in list(found):
            recipe = self.plan.recipes[model].model_copy(update={"source": "built"})
            if name := recipe.target_tokenizer:
                cache = name, as_json({key: getattr(recipe, key) for key in SEEN})
                if cache not in wanted:
                    wanted.add(cache)
                    found[f"tokens of {name}"] = self.tokenized(name, recipe.view.views * self.sizes["imagenet"].train)
        return found
