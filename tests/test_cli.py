import pytest

from cae.cli import COMMANDS, main, parser
from tests.conftest import text


def test_every_command_explains_itself(capsys):
    for command in COMMANDS:
        with pytest.raises(SystemExit) as done:
            parser().parse_args([command, "--help"])
        assert done.value.code == 0 and "--" in capsys.readouterr().out


JOB = "masks-and-crops", "--data", "x.json", "--output", "x.npz", "--params"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ([*JOB, '{"seed": 0}'], "--params: missing: figure3, image, view, mask"),
        ([*JOB, '{"sed": 0}'], "--params: unknown key 'sed'; did you mean 'seed'?"),
        ([*JOB, "{"], "--params: not JSON (EOF while parsing an object at line 1 column 1); `snakemake -n -p <target>` prints"),
        ([*JOB, "params/demo.yaml"], "--params: not JSON (expected value at line 1 column 1); `snakemake -n -p <target>`"),
        ([*JOB, "[]"], "--params: Input should be an object (found [])"),
        (["pretrain", "--data", "x", "--params", "{}", "--work", "x", "--output", "x"], "--params: method: Field required"),
        (["pretrain", "--data", "x", "--params", '{"method": "cea"}', "--work", "x", "--output", "x"],
         "--params: method: unknown key 'cea'; did you mean 'cae'?"),
        (["import-tokenizer", "--params", '{"image": {"size": 8, "patch": 8}, "tokenizer": {}}', "--output", "x"],
         "--params: tokenizer.kind: Field required"),
        (["import-tokenizer", "--params", '{"image": {"size": 8, "patch": 8}, "tokenizer": {"kind": "dvae"}}', "--output", "x"],
         "--params: tokenizer.kind: unknown key 'dvae'; did you mean 'dalle'?"),
        (["table", "--tables", "x", "--name", "x", "--scale", "x", "--output", "x", "--facts", "x"], "--facts: not JSON ("),
        (["table", "--tables", "x", "--name", "x", "--scale", "x", "--output", "x", "--facts", '{"a": 1}'],
         "--facts: a: Input should be an object (found 1)"),
        (["claims", "--claims", "x", "--tables", "x", "--scale", "x", "--output", "x", "--figures", "x"], "--figures: not JSON"),
        (["metrics", "--params", "[1]", "--output", "x"], "--params: Input should be an object (found [1])"),
        (["page", "--params", "x", "--scale", "x", "--output", "x"], "--params: not JSON ("),
        (["page", "--params", "[]", "--scale", "x", "--output", "x"], "--params: Input should be an object (found [])"),
        (["page", "--params", "{}", "--scale", "x", "--output", "x"], "--params: missing: scale, seed, datasets, "),
        (["index", "--layout", "coco", "--root", "x", "--output", "x", "--batches", "[1]"], "--batches: Input should be"),
    ],
)  # fmt: skip
def test_bad_params_are_told_without_a_traceback(command, message):
    with pytest.raises(SystemExit) as done:
        main(command)
    assert done.value.code.startswith(f"cae {command[0]}: {message}") and "\n" not in done.value.code


@pytest.mark.parametrize("shard", ["x", "3", "0/4", "5/4", "1/4/8", "-1/4", "1/"])
def test_a_shard_is_one_of_so_many(capsys, shard):
    with pytest.raises(SystemExit):
        main(["tokenize", "--data", "x", "--params", "{}", "--work", "x", "--output", "x", f"--shard={shard}"])
    assert f"'{shard}' is not K/N, as in 1/64, with K from 1 to N" in capsys.readouterr().err


def test_missing_manifest_is_named(tiny, tmp_path):
    job = text(figure3=tiny.analyses.figure3, image=tiny.image, view=tiny.view, mask=tiny.shared_mask, seed=0)
    with pytest.raises(SystemExit, match="none.json: no such file; make it with `snakemake"):
        main(["masks-and-crops", "--data", f"{tmp_path}/none.json", "--params", job, "--output", f"{tmp_path}/x.npz"])
