import pytest

from cae.cli import COMMANDS, main, parser
from tests.conftest import text


def test_every_command_explains_itself(capsys):
    for command in COMMANDS:
        with pytest.raises(SystemExit) as done:
            parser().parse_args([command, "--help"])
        assert done.value.code == 0 and "--" in capsys.readouterr().out


@pytest.mark.parametrize(
    "params,message",
    [
        ('{"seed": 0}', "--params: figure3: Field required"),
        ('{"sed": 0}', "unknown key 'sed'; did you mean 'seed'?"),
        ("{", "--params: Invalid JSON"),
    ],
)
def test_bad_params_are_told_without_a_traceback(tmp_path, params, message):
    with pytest.raises(SystemExit) as done:
        main(["masks-and-crops", "--data", "x.json", "--params", params, "--output", str(tmp_path / "x.npz")])
    assert message in done.value.code


def test_missing_manifest_is_named(tiny, tmp_path):
    job = text(figure3=tiny.analyses.figure3, image=tiny.image, view=tiny.view, mask=tiny.shared_mask, seed=0)
    with pytest.raises(SystemExit, match="none.json: no such file; make it with `snakemake"):
        main(["masks-and-crops", "--data", f"{tmp_path}/none.json", "--params", job, "--output", f"{tmp_path}/x.npz"])
