"""Params: the paper's numbers are there, scales are differences, and mistakes are named."""

import pytest
import yaml

from cae.errors import UserError
from cae.params import load, load_tables, merge, read
from tests.conftest import ROOT

PARAMS = ROOT / "params"


@pytest.fixture(scope="module")
def paper():
    return load(PARAMS / "paper.yaml")


@pytest.mark.parametrize(
    "model,width,depth,epochs,warmup",
    [
        ("cae-s-300", 384, 12, 300, 10),
        ("cae-b-300", 768, 12, 300, 10),
        ("cae-b-800", 768, 12, 800, 20),
        ("cae-b-1600", 768, 12, 1600, 40),
        ("cae-l-1600", 1024, 24, 1600, 40),
    ],
)
def test_appendix_a_pretraining(paper, model, width, depth, epochs, warmup):
    p = paper.pretraining(model)
    assert (p.width, p.depth, p.epochs, p.warmup_epochs) == (width, depth, epochs, warmup)
    assert (p.batch_size, p.lr, p.weight_decay, p.drop_path) == (2048, 1.5e-3, 0.05, 0.1)
    assert (p.alignment_weight, p.regressor_depth, p.decoder_depth, p.target) == (2.0, 4, 4, "tokens")
    assert (p.image.size, p.image.grid, p.mask.count) == (224, 14, 98)
    assert paper.tokenizers[p.tokenizer].input_size == 112 and paper.tokenizers[p.tokenizer].vocabulary == 8192


def test_appendix_a_probing(paper):
    p = paper.probes
    assert (p.epochs, p.warmup_epochs) == (90, 10)
    assert (p.linear.batch_size, p.linear.lr) == (16384, 6.4)
    assert (p.attentive.batch_size, p.attentive.lr) == (8192, 0.4)


def test_recipes_of_other_methods(paper):
    beit, mae, moco, dino, deit = map(
        paper.pretraining, ("beit-b-300", "mae-b-300", "moco-v3-b-300", "dino-b-400", "deit-b-300")
    )
    assert (beit.mask.kind, beit.mask.count, beit.view.jitter, beit.layer_scale) == ("block", 75, 0.4, 0.1)
    assert (mae.mask.kind, mae.mask.count, mae.view.scale, mae.batch_size) == ("random", 147, [0.2, 1.0], 4096)
    assert (moco.temperature, moco.momentum, moco.view.scale) == (0.2, 0.99, [0.08, 1.0])
    assert (dino.local_crops, dino.teacher_temperature, dino.view.scale) == (10, [0.04, 0.07], [0.4, 1.0])
    assert (deit.mixup, deit.cutmix, deit.repeats, deit.drop_path) == (0.8, 1.0, 3, 0.1)
    for model in (mae, moco, dino, deit):  # in place of the size's
        assert model.layer_scale == 0.0
    for model in (beit, mae, moco, dino, deit):  # what a recipe does not say of views and masks is everyone's
        assert model.view.ratio == paper.view.ratio and (model.width, model.depth) == (768, 12)
    assert beit.mask.min_aspect == mae.mask.min_aspect == paper.mask.min_aspect


def test_a_released_model_names_its_file_and_needs_no_tokens(paper):
    released = {name for name in paper.models if paper.pretraining(name).source == "released"}
    assert released == {
        "mae-b-1600",
        "mae-l-1600",
        "moco-v3-s-300",
        "moco-v3-b-300",
        "dino-b-400",
        "deit-s-300",
        "deit-b-300",
    }
    assert all(paper.pretraining(name).file.startswith("$CHECKPOINTS/") for name in released)
    needs = {name: paper.pretraining(name).target_tokenizer for name in paper.models}
    assert needs["beit-b-300"] == needs["cae-b-300"] == "dalle" and needs["cae-b-800-vqgan"] == "vqgan-openimages"
    assert {needs[name] for name in (*released, "random-b", "cae-b-300-pixels", "mae-b-300")} == {None}
    imported = load(PARAMS / "paper.yaml", {"models": {"cae-b-300": {"source": "released", "file": "cae.pth"}}})
    assert imported.pretraining("cae-b-300").target_tokenizer is None


@pytest.mark.parametrize("scale", ["demo", "small"])
def test_smaller_scales_build_everything(scale):
    params = load(PARAMS / f"{scale}.yaml")
    assert {params.pretraining(name).source for name in params.models} == {"built"}
    assert params.pretraining("beit-b-300").view == params.view  # one token cache


def test_rows_say_the_epochs_of_their_models(paper):
    rows = [row for table in load_tables(PARAMS / "tables.yaml", paper.models).values() for row in table.rows]
    said = [row for row in rows if row.model and "epochs" in row.paper]  # the others are quoted
    assert len(said) > 20
    for row in said:
        assert row.paper["epochs"] == paper.pretraining(row.model).epochs, row


def test_quoted_rows_have_numbers_and_no_job(paper):
    table = load_tables(PARAMS / "tables.yaml", paper.models)["table1"]
    quoted = {row.method: row.paper for row in table.rows if not row.model}
    assert quoted == {"MoCo v3†": {"epochs": 300, "crops": 2, "finetune": 84.1},
                      "BEiT†": {"epochs": 1600, "crops": 1, "finetune": 85.2}}  # fmt: skip
    assert not any(table.cells_of(row) for row in table.rows if not row.model)


def test_cells_are_every_column_unless_a_row_says_which(paper):
    table = load_tables(PARAMS / "tables.yaml", paper.models)["table1"]
    cells = {row.model: table.cells_of(row) for row in table.rows}
    assert cells["mae-b-300"] == {column: column for column in ("finetune", "linear", "attentive")}
    assert cells["deit-b-300"] == {"attentive": "supervised"}


def test_ablations_of_table_2_differ_in_what_they_ablate_alone(paper):
    base = paper.pretraining("cae-b-300").model_dump()
    for name, change in {
        "cae-b-300-no-align": {"alignment_weight": 0.0},
        "cae-b-300-no-align-no-decoder": {"alignment_weight": 0.0, "decoder_depth": 0},
        "cae-b-300-pixels": {"target": "pixels"},
        "cae-b-300-pixels-no-align": {"target": "pixels", "alignment_weight": 0.0},
    }.items():
        assert paper.pretraining(name).model_dump() == {**base, **change}


@pytest.mark.parametrize("scale", ["demo", "small"])
def test_scales_are_differences_to_the_paper(scale):
    raw = yaml.safe_load((PARAMS / f"{scale}.yaml").read_text())
    assert raw["base"] == "paper.yaml"
    paper = read(PARAMS / "paper.yaml")

    def repeated(part, base, path=""):
        for key, value in part.items():
            if isinstance(value, dict) and isinstance(base.get(key), dict):
                yield from repeated(value, base[key], f"{path}{key}.")
            elif key in base and base[key] == value:
                yield path + key

    allowed = {"resources", "probes"}  # a machine's needs are written out whole
    said_twice = [key for key in repeated(raw, paper) if key.split(".")[0] not in allowed]
    assert said_twice == []
    assert load(PARAMS / f"{scale}.yaml").models.keys() == load(PARAMS / "paper.yaml").models.keys()


@pytest.mark.parametrize(
    "change,message",
    [
        ({"sede": 1}, "paper.yaml: unknown key 'sede'; did you mean 'seed'?"),
        (
            {"recipes": {"cae": {"aligment_weight": 2.0}}},
            "recipes.cae: unknown key 'aligment_weight'; did you mean 'alignment_weight'?",
        ),
        ({"recipes": {"cae": {"lr": "1e-3"}}}, "recipes.cae.lr: Input should be a valid number (found '1e-3')"),
        ({"models": {"cae-b-300": {"epoch": 3}}}, "models.cae-b-300: unknown key 'epoch'; did you mean 'epochs'?"),
        (
            {"models": {"cae-b-300": {"size": "bass"}}},
            "models.cae-b-300: size: unknown key 'bass'; did you mean 'base'?",
        ),
        (
            {"models": {"cae-b-300": {"epochs": "many"}}},
            "models.cae-b-300: epochs: Input should be a valid integer (found 'many')",
        ),
        (
            {"models": {"cae-b-300": {"tokenizer": "dale"}}},
            "models.cae-b-300: tokenizer: unknown key 'dale'; did you mean 'dalle'?",
        ),
        ({"models": {"cae-b-300": {"micro_batch": 100}}}, "batch_size 2048 is not a multiple of micro_batch 100"),
        (
            {"analyses": {"figure5": {"models": ["cae-b-160", "random-b"]}}},
            "unknown key 'cae-b-160'; did you mean 'cae-b-1600'?",
        ),
        ({"probes": {"micro_batch": 1000}}, "probes: linear.batch_size 16384 is not a multiple of micro_batch 1000"),
        (
            {"resources": {"pretrain": {"gpus": 7}}},
            "resources.pretrain.gpus: batch_size of random-s is not a multiple of micro_batch x 7 GPUs",
        ),
        ({"tokenizers": {"dalle": {"input_size": 224}}}, "tokenizers.dalle.input_size 224 does not give"),
        ({"mask": {"count": 196}}, "mask.count leaves no patch visible"),
        ({"models": {"mae-b-300": {"mask": {"count": 196}}}}, "models.mae-b-300: mask.count leaves no patch visible"),
        (
            {"recipes": {"beit": {"view": {"jiter": 0.1}}}},
            "recipes.beit.view: unknown key 'jiter'; did you mean 'jitter'?",
        ),
        (
            {"models": {"mae-b-300": {"mask": {"cuont": 1}}}},
            "models.mae-b-300: mask: unknown key 'cuont'; did you mean",
        ),
        (
            {"models": {"dino-b-400": {"method": "dinno"}}},
            "models.dino-b-400: method: unknown key 'dinno'; did you mean",
        ),
        ({"models": {"mae-b-1600": {"source": "built"}}}, "models.mae-b-1600: a released model names its `file`"),
        ({"models": {"mae-b-300": {"file": "mae.pth"}}}, "models.mae-b-300: a released model names its `file`"),
        ({"models": {"mae-b-1600": {"sha256": "8cad7c"}}}, "models.mae-b-1600: sha256: String should match"),
        ({"models": {"mae-b-300": {"heads": 5}}}, "models.mae-b-300: width 768 is not a multiple of heads 5"),
        ({"models": {"mae-b-300": {"momentum": 0.9}}}, "models.mae-b-300: unknown key 'momentum'"),
        (
            {"models": {"moco-v3-b-300": {"source": "built", "file": None, "micro_batch": 256}}},
            "models.moco-v3-b-300: batch_size must be micro_batch x 8 GPUs",
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
        ({"models": {"mae-b-300": {"lr": 0.0}}}, "models.mae-b-300: lr: Input should be greater than 0"),
        ({"models": {"cae-b-300": {"image": {"size": 256}}}}, "does not give this tokenizer 16 tokens a side"),
        ({"seed": 2**20}, "seed: Input should be less than 1048576"),
        ({"seed": -1}, "seed: Input should be greater than or equal to 0"),
        ({"datasets": {"imagenet": {"layout": "coco"}}}, "datasets.imagenet.layout: coco: this data set is read in"),
        (
            {"analyses": {"figure4": {"models": ["cae-b-300", "mae-b-300"]}}},
            "analyses.figure4.models: cae-b-300 is not a CAE that is trained here to predict pixels",
        ),
        ({"image": {"size": 225}}, "size is not a multiple of patch"),
        (
            {"image": {"size": 240}, "mask": {"count": 98}},
            "tokenizers.dalle.input_size 112 does not give this tokenizer 15 tokens a side",
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
        ("{method: cae, size: small, epochs: 0}", "{method: cae, size: smal, epochs: 0}"),
    ):
        assert old in text
        (tmp_path / "paper.yaml").write_text(text.replace(old, new, 1))
        (tmp_path / "demo.yaml").write_text((PARAMS / "demo.yaml").read_text())
        with pytest.raises(UserError) as error:
            load(tmp_path / "demo.yaml")
        assert "paper.yaml: " in str(error.value) and "demo.yaml" not in str(error.value)


@pytest.mark.parametrize(
    "old,new,message",
    [
        (
            "model: cae-b-800,",
            "model: cae-b-8000,",
            "table1: model: unknown key 'cae-b-8000'; did you mean 'cae-b-800'?",
        ),
        ("linear: LIN,", "linaer: LIN,", "table1: columns"),
        ("linear: 51.8", "linaer: 51.8", "table1: CAE: paper: unknown key 'linaer'; did you mean 'linear'?"),
        ("title: The decoder", "titel: The decoder", "table2: unknown key 'titel'; did you mean 'title'?"),
        ("cells: {attentive:", "cells: {supervised:", "table1: DeiT: cells: unknown key 'supervised'"),
        ("attentive: supervised}", "attentive: supervise}", "table1: rows.1.cells.attentive: Input should be"),
        ("facts: [tokenizer,", "facts: [tokeniser,", "table7: facts.0: Input should be"),
        ("crops: 2,", "corps: 2,", "table1: MoCo v3: paper: unknown key 'corps'; did you mean 'crops'?"),
    ],
)
def test_mistakes_in_tables_are_named(tmp_path, paper, old, new, message):
    text = (PARAMS / "tables.yaml").read_text()
    assert old in text
    load_tables(PARAMS / "tables.yaml", paper.models)
    (tmp_path / "tables.yaml").write_text(text.replace(old, new, 1))
    with pytest.raises(UserError) as error:
        load_tables(tmp_path / "tables.yaml", paper.models)
    assert "tables.yaml: " in str(error.value) and message in str(error.value)


def test_files_that_cannot_be_read_are_named(tmp_path):
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00scale")
    with pytest.raises(UserError, match="binary.yaml: not valid YAML"):
        load(tmp_path / "binary.yaml")
    with pytest.raises(UserError, match=f"{tmp_path}: no such params file"):
        load(tmp_path)
    with pytest.raises(UserError, match="none.yaml: no such params file"):
        load(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("a: [1,")
    with pytest.raises(UserError, match="bad.yaml: not valid YAML"):
        load(tmp_path / "bad.yaml")
    (tmp_path / "list.yaml").write_text("- 1")
    with pytest.raises(UserError, match="list.yaml: expected a mapping"):
        load(tmp_path / "list.yaml")


def test_merge_lays_one_mapping_over_another():
    assert merge({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": 9}, "e": 4, "d": None}) == {"a": {"b": 9, "c": 2}, "e": 4}


def test_a_null_removes_what_the_recipe_says(tmp_path):
    assert load(PARAMS / "paper.yaml").pretraining("cae-b-300").clip == 3.0
    change = {"base": str(PARAMS / "paper.yaml"), "models": {"cae-b-300": {"clip": None}}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(change))
    assert load(tmp_path / "mine.yaml").pretraining("cae-b-300").clip is None


def test_what_a_method_does_not_see_is_none_of_its_params():
    """So that another mask, or number of cached views, trains no contrastive model again."""
    other = load(PARAMS / "demo.yaml", {"mask": {"count": 10}, "view": {"views": 3, "jitter": 0.1}})
    demo = load(PARAMS / "demo.yaml")
    same = {name for name in demo.models if demo.pretraining(name) == other.pretraining(name)}
    assert same == {"moco-v3-s-300", "moco-v3-b-300", "dino-b-400", "deit-s-300", "deit-b-300"}


def test_a_released_model_is_not_held_to_how_it_would_be_trained():
    change = {"mae-b-1600": {"batch_size": 10, "warmup_epochs": 2000, "mask": {"count": 196}}}
    assert load(PARAMS / "paper.yaml", {"models": change}).pretraining("mae-b-1600").source == "released"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ade20k": {"lrs": [0.1]}}, "ade20k: unknown key 'lrs'"),
        ({"ade20k": {"sizes": {"base": {"lrs": []}}}}, "ade20k.sizes.base.lrs: List should have at least 1 item"),
        ({"ade20k": {"micro_batch": 3}}, "ade20k: batch_size 16 is not a multiple of micro_batch 3"),
        ({"ade20k": {"warmup_steps": 160000}}, "ade20k: warmup_steps 160000 leaves none of the 160000 steps"),
        ({"ade20k": {"stride": 513}}, "ade20k: stride 513 is above crop 512: windows would leave gaps"),
        ({"ade20k": {"scale": [512, 2048]}}, "ade20k: scale [512, 2048] is not the long side and then the short one"),
        ({"ade20k": {"micro_batch": 1}}, "ade20k.micro_batch: Input should be greater than or equal to 2"),
        ({"ade20k": {"crop": 520}}, "ade20k: crop 520 is not a multiple of two patches of 16 pixels"),
        ({"ade20k": {"sizes": {"bass": {"lrs": [0.1], "layer_decay": 0.5, "drop_path": 0.0, "channels": 8}}}},
         "ade20k.sizes: unknown key 'bass'; did you mean 'base'?"),
        ({"resources": {"segment": {"gpus": 3}}}, "ade20k.batch_size 16 is not a multiple of micro_batch x 3 GPUs"),
        ({"coco": {"heads": "publik"}}, "coco.heads"),
        ({"coco": {"milestones": [9, 12]}}, "coco: milestones: 12 is not before the last of 12 epochs"),
        ({"coco": {"short_sides": [800, 480]}}, "coco: short_sides: not in increasing order"),
        ({"coco": {"crop": {"sides": [1]}}}, "coco.crop: unknown key 'sides'"),
        ({"resources": {"detect": {"gpus": 3}}}, "coco.batch_size 32 is not a multiple of micro_batch x 3 GPUs"),
        ({"panels": ["cae-b-16000"]}, "panels: unknown key 'cae-b-16000'; did you mean 'cae-b-1600'?"),
    ],
)  # fmt: skip
def test_mistakes_of_dense_prediction_are_named(change, message):
    with pytest.raises(UserError) as error:
        load(PARAMS / "paper.yaml", change)
    assert message in str(error.value)


@pytest.mark.parametrize("protocol", ["segmenting", "detecting"])
def test_a_size_without_a_recipe_of_dense_prediction_is_named(protocol):
    own = {"sizes": {"tiny": {"width": 192, "depth": 12, "heads": 12, "layer_scale": 0.1}},
           "models": {"cae-t": {"method": "cae", "size": "tiny", "epochs": 1}}}  # fmt: skip
    with pytest.raises(UserError, match="sizes: no recipe for the size 'tiny' of cae-t; there is: small, base, large"):
        getattr(load(PARAMS / "paper.yaml", own), protocol)("cae-t")


def test_columns_name_a_protocol_and_one_of_its_metrics(paper):
    tables = load_tables(PARAMS / "tables.yaml", paper.models)
    columns = {
        name: {key: (c.protocol, c.metric) for key, c in table.columns.items()} for name, table in tables.items()
    }
    assert columns["table1"]["finetune"] == ("finetune", "top1")
    assert columns["table2"] == {"attentive": ("attentive", "top1"), "ade20k": ("ade20k", "miou"),
                                 "coco-mask": ("coco-mask", "box_ap")}  # fmt: skip
    assert columns["table4"]["mask_ap75"] == ("coco-mask", "mask_ap75") and len(columns["table4"]) == 6
    assert columns["table5"]["box_ap"] == ("coco-cascade", "box_ap")
    assert list(columns) == [f"table{i}" for i in range(1, 8)]
