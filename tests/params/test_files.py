"""Params files that cannot be read, and files laid over each other."""

import pytest
import yaml

from cae.errors import UserError
from cae.params import load, load_claims, load_tables, merge, parse_yaml, read, read_yaml
from tests.params.conftest import PARAMS


def test_files_that_cannot_be_read_are_named(tmp_path):
    (tmp_path / "binary.yaml").write_bytes(b"scale: \xff\x00")
    with pytest.raises(UserError, match="binary.yaml: not valid YAML"):
        load(tmp_path / "binary.yaml")
    with pytest.raises(UserError, match=f"{tmp_path}: no such params file"):
        load(tmp_path)
    with pytest.raises(UserError, match="none.yaml: no such params file"):
        load(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("b: 2\na: [1,")
    with pytest.raises(UserError, match="bad.yaml: line 3: not valid YAML"):
        load(tmp_path / "bad.yaml")
    for text, found in (("- 1", "list"), ("", "nothing"), ("demo", "str")):
        (tmp_path / "list.yaml").write_text(text)
        with pytest.raises(UserError, match=f"list.yaml: expected a mapping of params, found {found}"):
            load(tmp_path / "list.yaml")


def test_merge_lays_one_mapping_over_another():
    assert merge({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": 9}, "e": 4, "d": None}) == {"a": {"b": 9, "c": 2}, "e": 4}


TWICE = """\
only: [a]
models:
  cae: {epochs: 9}
probes: {epochs: 3, lr: 1, epochs: 4}
models:
  mae: {epochs: 4}
lists: [{x: {y: 1, z: 2, y: 3}}]
"""


def test_every_key_that_a_mapping_has_twice_is_told_with_file_and_line(tmp_path):
    (tmp_path / "mine.yaml").write_text(TWICE)
    with pytest.raises(UserError) as error:
        read(tmp_path / "mine.yaml")
    assert str(error.value).splitlines() == [
        f"{tmp_path}/mine.yaml: line 4: probes.epochs is there twice, first in line 4; put both into one",
        f"{tmp_path}/mine.yaml: line 5: models is there twice, first in line 2; put both into one",
        f"{tmp_path}/mine.yaml: line 7: lists.x.y is there twice, first in line 7; put both into one",
    ]


def test_a_key_twice_in_the_base_in_tables_or_in_claims_is_told_of_that_file(tmp_path):
    (tmp_path / "mine.yaml").write_text("base: other.yaml\n")
    (tmp_path / "other.yaml").write_text("scale: a\nscale: b\n")
    for file, reads in (("mine.yaml", load), ("other.yaml", lambda path: load_tables(path, []))):
        with pytest.raises(UserError, match="other.yaml: line 2: scale is there twice, first in line 1"):
            reads(tmp_path / file)
    with pytest.raises(UserError, match="other.yaml: line 2: scale is there twice"):
        load_claims(tmp_path / "other.yaml", {}, {})


def test_anchors_and_merge_keys_are_what_yaml_says():
    """Own keys over merged ones, the first of several merged mappings over the later, whatever the order of reading."""
    text = """
x: &x {a: 1, b: 2}
y: &y {<<: *x, b: 3, c: 4}
z: {d: 5, <<: *y, c: 6}
w: {<<: [*y, *x], e: 7}
v: {deep: {<<: {<<: *x, a: 8}}}
same: [*x, *x]
"""
    found = parse_yaml(text)
    assert found["y"] == {"a": 1, "b": 3, "c": 4} and found["z"] == {"a": 1, "b": 3, "c": 6, "d": 5}
    assert found["w"] == {"a": 1, "b": 3, "c": 4, "e": 7} and found["v"] == {"deep": {"a": 8, "b": 2}}
    assert found["same"] == [{"a": 1, "b": 2}] * 2
    with pytest.raises(
        UserError, match=r"line 7: z.<< is there twice, first in line 7; write <<: \[\*first, \*second\]"
    ):
        parse_yaml("\n".join(["x: &x {a: 1}", "", "", "", "", "", "z: {<<: *x, <<: *x}"]))
    for text in ("a: &a {b: *a}", "a: &a [1, *a]"):
        with pytest.raises(UserError, match="line 1: a(.b)?: an anchor that holds itself"):
            parse_yaml(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3), ("1E5", 1e5), ("-1.5e+3", -1500.0), ("1.0e-5", 1e-5), (".5", 0.5), ("5.", 5.0), ("0.9", 0.9),
        ("010", 10), ("08", 8), ("0o10", 8), ("0x1F", 31), ("-7", -7), ("+7", 7), ("0", 0), ("16384", 16384),
        ("true", True), ("False", False), ("null", None), ("~", None), ("", None),
        ("yes", "yes"), ("no", "no"), ("on", "on"), ("Off", "Off"), ("y", "y"), ("1:30", "1:30"), ("1_000", "1_000"),
        ("2026-01-02", "2026-01-02"), ("0b11", "0b11"), ("cd65a155", "cd65a155"), ("rand-m9-n1", "rand-m9-n1"),
        ("'1e-3'", "1e-3"), ('"true"', "true"), ("!!str 12", "12"), ("$CHECKPOINTS/a.pth", "$CHECKPOINTS/a.pth"),
    ],
)  # fmt: skip
def test_plain_scalars_are_those_of_yaml_1_2(text, value):
    found = parse_yaml(f"key: {text}")["key"]
    assert found == value and type(found) is type(value)


def test_the_params_files_mean_the_same_to_readers_of_yaml_1_1():
    for path in sorted(PARAMS.glob("*.yaml")):
        assert repr(read_yaml(path)) == repr(yaml.safe_load(path.read_text())), path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("recipes: {cae: {lr: '1e-3'}}", "recipes.cae.lr: Input should be a valid number; write 0.001 (found '1e-3')"),
        (
            "finetune: {sizes: {base: {lr: 1_000}}}",
            "finetune.sizes.base.lr: Input should be a valid number; write 1000",
        ),
        ("ade20k: {steps: 1e5}", "ade20k.steps: Input should be a valid integer; write 100000 (found 100000.0)"),
        ("transfer: {batch_size: 1e3}", "transfer.batch_size: Input should be a valid integer; write 1000"),
        ("seed: 1.5", "seed: Input should be a valid integer (found 1.5)"),
        ("compile: yes", "compile: Input should be a valid boolean; write true (found 'yes')"),
        ("resources: {pretrain: {recompute: off}}", "recompute: Input should be a valid boolean; write false"),
        ("models: {mae-b-1600: {sha256: 12345678}}", "sha256: Input should be a valid string; write it in quotes"),
        ("models: {mae-b-1600: {sha256: 12345e67}}", "sha256: Input should be a valid string; write it in quotes"),
        ("scale: 2026", "scale: Input should be a valid string; write it in quotes (found 2026)"),
        ("recipes: {cae: {lr: .inf}}", "recipes.cae.lr: Input should be a finite number (found inf)"),
        (
            "recipes: {cae: {weight_decay: .nan}}",
            "recipes.cae.weight_decay: Input should be a finite number (found nan)",
        ),
    ],
)
def test_a_value_of_another_type_is_told_with_what_to_write(tmp_path, change, message):
    (tmp_path / "mine.yaml").write_text(f"base: {PARAMS}/paper.yaml\n{change}\n")
    with pytest.raises(UserError) as error:
        load(tmp_path / "mine.yaml")
    assert f"mine.yaml: {message}" in str(error.value) or message in str(error.value)


def test_numbers_of_yaml_1_2_are_read_in_params(tmp_path):
    (tmp_path / "mine.yaml").write_text(
        f"base: {PARAMS}/paper.yaml\nrecipes: {{cae: {{lr: 1e-3, batch_size: 01024}}}}\n"
    )
    model = load(tmp_path / "mine.yaml").pretraining("cae-b-300")
    assert (model.lr, model.batch_size) == (1e-3, 1024)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"mine": "base: mine.yaml"}, "mine.yaml: base: mine.yaml leads back to "),
        ({"mine": "base: a.yaml", "a": "base: b.yaml", "b": "base: ./a.yaml"}, "b.yaml: base: ./a.yaml leads back to "),
        ({"mine": "base: [a]"}, "mine.yaml: base: ['a'] is not the name of one file"),
        ({"mine": "base: 3"}, "mine.yaml: base: 3 is not the name of one file"),
        ({"mine": "base: {file: a}"}, "mine.yaml: base: {'file': 'a'} is not the name of one file"),
        ({"mine": "base: false"}, "mine.yaml: base: False is not the name of one file"),
        ({"mine": "base: ''"}, "mine.yaml: base: '' is not the name of one file"),
        ({"mine": "base: none.yaml"}, "mine.yaml: base: none.yaml: no such params file"),
        ({"mine": "base: ."}, "mine.yaml: base: .: no such params file"),
        ({"mine": "base: a.yaml", "a": "- 1"}, "a.yaml: expected a mapping of params, found list"),
    ],
)
def test_a_base_that_leads_nowhere_is_told_of_the_file_that_names_it(tmp_path, files, message):
    for name, text in files.items():
        (tmp_path / f"{name}.yaml").write_text(text + "\n")
    with pytest.raises(UserError) as error:
        load(tmp_path / "mine.yaml")
    assert str(error.value).startswith(f"{tmp_path}/{message}")


def test_bases_lie_under_each_other_and_an_empty_one_is_none(tmp_path):
    (tmp_path / "below").mkdir()
    (tmp_path / "a.yaml").write_text("base: below/b.yaml\nx: 1\n")
    (tmp_path / "below/b.yaml").write_text("base: ../c.yaml\nx: 2\ny: 2\n")
    (tmp_path / "c.yaml").write_text("base:\nx: 3\ny: 3\nz: 3\n")
    assert read(tmp_path / "a.yaml") == {"x": 1, "y": 2, "z": 3}
