"""Mistakes are told with the file and the key they stand in."""

import pytest
import yaml

from cae.errors import UserError
from cae.params import load
from tests.params.conftest import PARAMS


@pytest.mark.parametrize(
    "change,message",
    [
        (
            {"view": {"scale": [0.5, 1.5]}},
            "paper.yaml: view.scale: [0.5, 1.5]: a crop has from 0 (not with it) to 1 of",
        ),
        ({"recipes": {"mae": {"view": {"scale": [0.0, 1.0]}}}}, "recipes.mae.view.scale: [0.0, 1.0]: a crop has"),
        ({"models": {"dino-b-400": {"local_scale": [0.4, 0.2]}}}, "models.dino-b-400.local_scale: [0.4, 0.2]: a crop"),
        (
            {"analyses": {"figure6": {"models": ["moco-v3-b-30"]}}},
            "analyses.figure6.models: unknown key 'moco-v3-b-30'",
        ),
        ({"analyses": {"figure7": {"models": []}}}, "analyses.figure7.models: List should have at least 1 item"),
        ({"sede": 1}, "paper.yaml: unknown key 'sede'; did you mean 'seed'?"),
        (
            {"recipes": {"cae": {"aligment_weight": 2.0}}},
            "recipes.cae: unknown key 'aligment_weight'; did you mean 'alignment_weight'?",
        ),
        ({"recipes": {"cae": {"lr": "fast"}}}, "recipes.cae.lr: Input should be a valid number (found 'fast')"),
        ({"models": {"cae-b-300": {"epoch": 3}}}, "models.cae-b-300: unknown key 'epoch'; did you mean 'epochs'?"),
        (
            {"models": {"cae-b-300": {"size": "bass"}}},
            "models.cae-b-300.size: unknown key 'bass'; did you mean 'base'?",
        ),
        (
            {"models": {"cae-b-300": {"epochs": "many"}}},
            "models.cae-b-300.epochs: Input should be a valid integer (found 'many')",
        ),
        (
            {"models": {"cae-b-300": {"tokenizer": "dale"}}},
            "models.cae-b-300.tokenizer: unknown key 'dale'; did you mean 'dalle'?",
        ),
        ({"models": {"cae-b-300": {"micro_batch": 100}}}, "batch_size 2048 is not a multiple of micro_batch 100"),
        (
            {"analyses": {"figure5": {"models": ["cae-b-160", "random-b"]}}},
            "unknown key 'cae-b-160'; did you mean 'cae-b-1600'?",
        ),
        ({"probes": {"micro_batch": 1000}}, "probes.linear.batch_size: 16384 is not a multiple of micro_batch 1000"),
        (
            {"resources": {"pretrain": {"gpus": 7}}},
            "resources.pretrain.gpus: batch_size of cae-s-300 is not a multiple of micro_batch x 7 GPUs",
        ),
        ({"tokenizers": {"dalle": {"input_size": 224}}}, "tokenizers.dalle.input_size: 224 does not give"),
        ({"mask": {"count": 196}}, "mask.count: 196 masked of 196 patches leave none visible"),
        ({"models": {"mae-b-300": {"mask": {"count": 196}}}}, "models.mae-b-300.mask.count: 196 masked of 196 patches"),
        (
            {"recipes": {"beit": {"view": {"jiter": 0.1}}}},
            "recipes.beit.view: unknown key 'jiter'; did you mean 'jitter'?",
        ),
        (
            {"models": {"mae-b-300": {"mask": {"cuont": 1}}}},
            "models.mae-b-300.mask: unknown key 'cuont'; did you mean",
        ),
        (
            {"models": {"dino-b-400": {"method": "dinno"}}},
            "models.dino-b-400.method: unknown key 'dinno'; did you mean",
        ),
        ({"models": {"mae-b-1600": {"source": "built"}}}, "models.mae-b-1600: a released model names its `file`"),
        ({"models": {"mae-b-300": {"file": "mae.pth"}}}, "models.mae-b-300: a released model names its `file`"),
        ({"models": {"mae-b-1600": {"sha256": "8cad7c"}}}, "models.mae-b-1600.sha256: String should match"),
        ({"models": {"mae-b-300": {"heads": 5}}}, "models.mae-b-300: width 768 is not a multiple of heads 5"),
        ({"models": {"mae-b-300": {"momentum": 0.9}}}, "models.mae-b-300: unknown key 'momentum'"),
        (
            {"models": {"moco-v3-b-300": {"source": "built", "file": None, "micro_batch": 256}}},
            "models.moco-v3-b-300.batch_size: must be micro_batch x 8 GPUs",
        ),
        (
            {"models": {"dino-b-400": {"local_size": 100}}},
            "models.dino-b-400: local_size 100 is not a multiple of image.patch",
        ),
        ({"recipes": {"deit": {"mixup": -0.1}}}, "recipes.deit.mixup: Input should be greater than or equal to 0"),
        ({"recipes": {"dino": {"mask": {"count": 3}}}}, "recipes.dino: unknown key 'mask'"),
        (
            {"models": {"mae-b-300": {"decoder_heads": 5}}},
            "models.mae-b-300: decoder_width 512 is not a multiple of 4 and of",
        ),
        ({"models": {"mae-b-300": {"epochs": 40}}}, "models.mae-b-300: warmup_epochs 40 leaves none of the 40 epochs"),
        ({"models": {"mae-b-300": {"lr": 0.0}}}, "models.mae-b-300.lr: Input should be greater than 0"),
        ({"models": {"cae-b-300": {"image": {"size": 256}}}}, "does not give this tokenizer 16 tokens a side"),
        ({"seed": 2**32}, "seed: Input should be less than 4294967296"),
        ({"seed": -1}, "seed: Input should be greater than or equal to 0"),
        ({"datasets": {"imagenet": {"layout": "coco"}}}, "datasets.imagenet.layout: coco: this data set is read in"),
        (
            {"analyses": {"figure4": {"models": ["cae-b-300", "mae-b-300"]}}},
            "analyses.figure4.models: cae-b-300 is not a CAE that is trained here to predict pixels",
        ),
        ({"image": {"size": 225}}, "image: size 225 is not a multiple of patch 16"),
        (
            {"image": {"size": 240}, "mask": {"count": 98}},
            "tokenizers.dalle.input_size: 112 does not give this tokenizer 15 tokens a side",
        ),
        ({"seed": True}, "seed: Input should be a valid integer"),
        ({"datasets": {"imagenet": {"layout": "cifar"}}}, "datasets.imagenet.layout"),
        ({"view": {"scale": [0.1]}}, "view.scale"),
        ({"seed": None}, "seed: Field required"),
    ],
)
def test_mistakes_are_named_with_file_and_key(tmp_path, change, message):
    """In the file that holds them: the scale's own, over the paper's."""
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"base": str(PARAMS / "paper.yaml"), **change}))
    with pytest.raises(UserError) as error:
        load(tmp_path / "mine.yaml")
    assert message.replace("paper.yaml: ", "mine.yaml: ") in str(error.value)
    between_two = "does not give" in message or "micro_batch 1000" in message  # the other key is the paper's
    assert "mine.yaml: " in str(error.value) or between_two


def test_a_mistake_in_the_base_is_told_of_the_base(tmp_path):
    text = (PARAMS / "paper.yaml").read_text()
    for old, new in (
        ("clip: 3.0", "klip: 3.0"),
        ("min_aspect: 0.3", "min_aspect: low"),
        ("{method: cae, size: base, epochs: 0}", "{method: cae, size: bas, epochs: 0}"),
    ):
        assert old in text
        (tmp_path / "paper.yaml").write_text(text.replace(old, new, 1))
        (tmp_path / "demo.yaml").write_text((PARAMS / "demo.yaml").read_text())
        with pytest.raises(UserError) as error:
            load(tmp_path / "demo.yaml")
        assert "paper.yaml: " in str(error.value) and "demo.yaml" not in str(error.value)


NAMED = {
    "models": {"method": "cae", "size": "base", "epochs": 1},
    "sizes": {"width": 8, "depth": 1, "heads": 1, "layer_scale": 1.0},
    "tokenizers": {"kind": "dalle", "source": "released", "file": "a b", "input_size": 112, "vocabulary": 8192},
    "datasets": {"layout": "coco", "root": "/data/$(any text) is quoted"},
}


@pytest.mark.parametrize("section", ["scale", *NAMED])
def test_what_becomes_a_part_of_paths_and_commands_is_a_name(section):
    def load_with(name):
        load(PARAMS / "demo.yaml", {section: {name: NAMED[section]} if section in NAMED else name})

    load_with("x.1_y-Z")
    for name in ("x$(touch pwned)", "a b", "../evil", ".", "..", ".x", "-x", "", "a/b", "a\n", "ä", "{x}"):
        with pytest.raises(UserError) as error:
            load_with(name)
        key = f"{section}.{name}" if section in NAMED else section
        assert str(error.value).startswith(f"overrides: {key}: not a name: {name!r}; ")


def test_a_count_of_masked_patches_that_does_not_fit_is_told_where_it_is_said(tmp_path):
    """Not of a model that nobody asked for; and shares fit any image."""
    text = f"base: {PARAMS}/small.yaml\nimage: {{size: 64}}\n"
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(
        UserError, match=r"small.yaml: recipes.beit.mask.count: 26 masked of 16 patches leave none visible$"
    ):
        load(tmp_path / "mine.yaml")
    (tmp_path / "mine.yaml").write_text(text + "recipes: {beit: {mask: {share: 0.4}}}\n")
    params = load(tmp_path / "mine.yaml")
    counts = [params.pretraining(name).mask.count for name in ("cae-b-300", "mae-b-300", "beit-b-300")]
    assert counts == [8, 12, 6] and params.shared_mask == params.pretraining("cae-b-300").mask


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ("only: [cae-b-30]", "mine.yaml: only: unknown key 'cae-b-30'; did you mean 'cae-b-300'?"),
        ("only: []", "mine.yaml: only: List should have at least 1 item"),
        ("only: cae-b-300", "mine.yaml: only: Input should be a valid list"),
        (
            "models: {cae-b-80: null}",
            "mine.yaml: models.cae-b-80: there is none of this name (a new one has a `method`); did",
        ),
        ("only: [CAE-B-300]", "mine.yaml: only: unknown key 'CAE-B-300'; did you mean 'cae-b-300'?"),
        ("only: [Mae_B_300]", "mine.yaml: only: unknown key 'Mae_B_300'; did you mean 'mae-b-300'?"),
        ("{only: [cae-b-300], panels: [cae-b-160]}", "mine.yaml: panels: unknown key 'cae-b-160'; did you mean"),
    ],
)
def test_a_model_that_is_left_out_is_one_that_there_is(tmp_path, changes, message):
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(yaml.safe_load(changes) | {"base": str(PARAMS / "paper.yaml")}))
    with pytest.raises(UserError) as error:
        load(tmp_path / "mine.yaml")
    assert message in str(error.value)


ANOTHER = "there is none of this name (a new one has a"


@pytest.mark.parametrize("only", ["", "only: [cae-b-300]\n"], ids=["all", "only"])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ("models: {cae-b-3000: {epochs: 3}}", f"models.cae-b-3000: {ANOTHER} `method`); did you mean 'cae-b-300'?"),
        ("models: {Mae-B-300: {lr: 1e-3}}", f"models.Mae-B-300: {ANOTHER} `method`); did you mean 'mae-b-300'?"),
        ("models: {zebra: {epochs: 3}}", f"models.zebra: {ANOTHER} `method`)"),
        ("models: {my-cae: {method: ca, size: base, epochs: 3}}", "models.my-cae.method: unknown key 'ca'; did you mean 'cae'?"),
        ("models: {my-cae: {method: cae, size: bass, epochs: 3}}", "models.my-cae.size: unknown key 'bass'; did you mean"),
        ("models: {my-cae: {method: cae, epochs: 3}}", "models.my-cae.size: missing; one of: small, base, large"),
        ("models: {my-cae: {method: cae, size: base}}", "models.my-cae.epochs: Field required"),
        ("models: {my-cae: {method: cae, size: base, epochs: 3, tokenizer: dale}}",
         "models.my-cae.tokenizer: unknown key 'dale'; did you mean 'dalle'?"),
        ("models: {mae-b-300: {epohcs: 3}}", "models.mae-b-300: unknown key 'epohcs'; did you mean 'epochs'?"),
        ("models: {mae-b-300: {epochs: many}}", "models.mae-b-300.epochs: Input should be a valid integer (found 'many')"),
        ("models: {mae-b-300: {epochs: 40}}", "models.mae-b-300: warmup_epochs 40 leaves none of the 40 epochs"),
        ("models: {mae-b-300: {mask: {cuont: 3}}}", "models.mae-b-300.mask: unknown key 'cuont'; did you mean 'count'?"),
        ("models: {mae-b-300: {seeds: [1]}}", "models.mae-b-300.seeds: the first must be 0"),
        ("models: {mae-b-300: {file: a}}", "models.mae-b-300: a released model names its `file`"),
        ("models: {dino-b-400: {source: built, file: null, frozen_epochs: 400}}",
         "models.dino-b-400: frozen_epochs 400 leaves the head's last layer none of 400 epochs"),
        ("models: {dino-b-400: {source: built, file: null, teacher_warmup_epochs: 401}}",
         "models.dino-b-400: teacher_warmup_epochs 401 is above epochs 400"),
        ("models: {mae-b-300: 3}", "models.mae-b-300: "),
        ("tokenizers: {dale: {shards: 3}}", f"tokenizers.dale: {ANOTHER} `kind`); did you mean 'dalle'?"),
        ("tokenizers: {dalle: {kind: dale}}", "tokenizers.dalle.kind: unknown key 'dale'; did you mean 'dalle'?"),
        ("sizes: {bass: {heads: 3}}", f"sizes.bass: {ANOTHER} `width`); did you mean 'base'?"),
        ("datasets: {imagnet: {root: /data}}", f"datasets.imagnet: {ANOTHER} `layout`); did you mean 'imagenet'?"),
        ("datasets: {imagnet: null}", f"datasets.imagnet: {ANOTHER} `layout`); did you mean 'imagenet'?"),
        ("probes: {epochs: 3}", "probes: warmup_epochs 10 leaves none of the 3 epochs"),
        ("probes: {linear: {lr: -1.0}}", "probes.linear.lr: Input should be greater than 0"),
        ("finetune: {warmup_epochs: 50}", "finetune: warmup_epochs 50 leaves none of the 50 epochs of large"),
        ("transfer: {warmup_epochs: 60}", "transfer: warmup_epochs 60 leaves none of the 50 epochs of large"),
        ("few_labels: {finetune-1: {sizes: {large: {epochs: 5}}}}",
         "few_labels.finetune-1: warmup_epochs 5 leaves none of the 5 epochs of large"),
        ("ade20k: {steps: 100}", "ade20k: warmup_steps 1500 leaves none of the 100 steps"),
        ("coco: {epochs: 9}", "coco: milestones: 9 is not before the last of 9 epochs"),
        ("coco: {milestones: [11, 9]}", "coco: milestones: not in increasing order, each once"),
        ("coco: {milestones: [9, 9]}", "coco: milestones: not in increasing order, each once"),
    ],
)  # fmt: skip
def test_mistakes_are_told_of_what_is_run_and_of_what_only_leaves_out(tmp_path, only, changes, message):
    (tmp_path / "mine.yaml").write_text(f"base: {PARAMS}/paper.yaml\n{only}{changes}\n")
    with pytest.raises(UserError) as error:
        load(tmp_path / "mine.yaml")
    assert f"{tmp_path}/mine.yaml: {message}" in str(error.value)


def test_every_typo_is_told_at_once(tmp_path):
    (tmp_path / "mine.yaml").write_text(
        f"base: {PARAMS}/demo.yaml\nmodels: {{cae-b-3000: {{epochs: 3}}, mae-b-16: {{epochs: 3}}}}\n"
        "sizes: {bas: {heads: 1}}\n"
    )
    with pytest.raises(UserError) as error:
        load(tmp_path / "mine.yaml")
    places = ("models.cae-b-3000: ", "models.mae-b-16: ", "sizes.bas: ")
    lines = str(error.value).splitlines()
    assert len(lines) == 3 and all(line.startswith(f"{tmp_path}/mine.yaml: {at}") for line, at in zip(lines, places))


def test_models_of_ones_own_may_be_named_nearly_as_others(tmp_path):
    new = {"method": "cae", "size": "base", "epochs": 7, "warmup_epochs": 1}
    text = {"base": f"{PARAMS}/paper.yaml", "models": {"cae-b-3000": new, "x": {**new, "epochs": 9}}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(text))
    (tmp_path / "over.yaml").write_text(
        "base: mine.yaml\nonly: [cae-b-3000]\nmodels: {cae-b-3000: {epochs: 8}, x: {lr: 1e-3}}\n"
    )
    params = load(tmp_path / "over.yaml")
    assert list(params.pretrainings()) == ["cae-b-3000"] and params.pretraining("cae-b-3000").epochs == 8


@pytest.mark.parametrize(
    "changes",
    [
        # BEiT's 75 patches of 36, DINO's crops of 96 pixels in patches of 13: of models that are left out
        "image: {size: 78, patch: 13}\ntokenizers: {dalle: {input_size: 48}}\nade20k: {crop: 520}",
        "image: {size: 96}\ntokenizers: {dalle: {input_size: 48}}",
        "tokenizers: {vqgan-openimages: null, dvae-imagenet: null}",
        "sizes: {large: null}\n"
        + "\n".join(f"{key}: {{sizes: {{large: null}}}}" for key in ("finetune", "ade20k", "coco", "transfer"))
        + "\nfew_labels: null",
    ],
)
def test_a_model_that_is_left_out_need_not_fit_the_scale(tmp_path, changes):
    (tmp_path / "mine.yaml").write_text(f"base: {PARAMS}/paper.yaml\nonly: [cae-b-300, random-b]\n{changes}\n")
    assert list(load(tmp_path / "mine.yaml").pretrainings()) == ["random-b", "cae-b-300"]


def test_what_one_layer_left_out_another_may_leave_out_too(tmp_path):
    (tmp_path / "few.yaml").write_text(
        f"base: {PARAMS}/paper.yaml\ndatasets: {{coco: null}}\nfew_labels: {{finetune-1: null}}\nonly: [cae-b-300]\n"
        "tokenizers: {vqgan-openimages: null}\n"
    )
    (tmp_path / "mine.yaml").write_text(
        "base: few.yaml\ndatasets: {coco: null, sketch: null}\nfew_labels: {finetune-1: null}\n"
        "tokenizers: {vqgan-openimages: null}\n"
    )
    params = load(tmp_path / "mine.yaml")
    assert not {"coco", "sketch"} & params.datasets.keys() and list(params.few_labels) == ["finetune-10"]
