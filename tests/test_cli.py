"""The command line: what it lists, what it imports, and what it answers to a mistake."""

import os
import subprocess
import sys
from importlib import import_module

import pytest

from cae.cli import COMMANDS, application, main
from cae.params import LAYOUTS
from tests.conftest import ROOT, text


def help_text(capsys, *words) -> str:
    main([*words, "--help"])
    return capsys.readouterr().out


def test_every_command_is_listed_with_one_line_in_its_group(capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    lines = [line.strip("│ ") for line in help_text(capsys).splitlines() if line.startswith("│")]
    shown = {line.split()[0]: line.split(maxsplit=1)[1] for line in lines}
    assert [name for name in shown if name in COMMANDS] == list(COMMANDS)
    assert len(lines) == len(COMMANDS) + 2  # --help and --version; no line is broken
    for name, (_, function) in COMMANDS.items():
        module, _, function = function.partition(":")
        first = getattr(import_module(module), function).__doc__.split("\n")[0]
        assert shown[name] == first and first.endswith(".") and not first.endswith("..")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_has_a_help_text(command, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    out = help_text(capsys, command)
    arguments = application(command)[command].assemble_argument_collection()
    for argument in (each for each in arguments if each.name != "*"):  # whose fields are options
        assert len(argument.parameter.help or "") > 10 and argument.name in out, argument.name


def test_the_list_of_commands_imports_none_of_them_and_is_there_at_once():
    script = """
import sys
from cae.cli import main
main(["--help"])
loaded = {name.partition(".")[0] for name in sys.modules}
assert not loaded & {"torch", "numpy", "pandas", "pydantic", "snakemake"}, loaded
assert not [name for name in sys.modules if name.startswith(("cae.tasks.", "cae.analysis.", "cae.reporting.", "cae.params"))]
"""
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True)
    spent = []
    for _ in range(3):
        before = os.times()
        subprocess.run([sys.executable, "-m", "cae", "--help"], cwd=ROOT, check=True, capture_output=True)
        spent.append(sum(os.times()[2:4]) - sum(before[2:4]))
    assert min(spent) < 0.8, spent  # seconds of CPU; a quarter where nothing else runs


MISTAKES = {
    "no such command": (["pretrian"], 'cae: Unknown command "pretrian". Did you mean "pretrain"?'),
    "no such option": (["figure", "--nam", "x"], "cae figure: "),
    "an option left out": (["import", "--output", "x"], "cae import: --params is missing, or has no value."),
    "an option without a value": (["import", "--params"], "cae import: --params is missing, or has no value. See `cae import "),
    "a number that is none": (["make", "--layout", "coco", "--root", "x", "--output", "x", "--seed", "one"],
                              'cae make: Invalid value for --seed: unable to convert "one" into int.'),
    "no choice": (["index", "--layout", "voc", "--root", "x", "--output", "x"], 'cae index: Invalid value "voc" for --layout.'),
    "one of two": (["make", "--layout", "coco", "--root", "x", "--seed", "0", "--output", "x", "--scenes", "3"],
                   "cae make: --scenes"),
    "a word too many": (["stages", "params/demo.yaml"], "cae stages: Unused Tokens: ['params/demo.yaml']"),
}  # fmt: skip


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_one_line_and_status_2(case, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    words, message = MISTAKES[case]
    with pytest.raises(SystemExit) as done:
        main(words)
    said = capsys.readouterr()
    assert done.value.code == 2 and not said.out
    assert said.err.startswith(message) and said.err.count("\n") == 1


def test_without_a_command_the_commands_are_listed_and_the_status_is_2(capsys):
    with pytest.raises(SystemExit) as done:
        main([])
    assert done.value.code == 2 and "pretrain" in capsys.readouterr().out


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
def test_a_shard_is_one_of_so_many(capsys, shard, tiny):
    job = text(seed=0, view=tiny.view, image=tiny.image)
    given = ["--data", "x", "--tokenizer", "x", "--params", job, "--work", "x", "--output", "x"]
    with pytest.raises(SystemExit) as done:
        main(["tokenize", *given, f"--shard={shard}"])
    assert done.value.code == 2
    assert f"'{shard}' is not K/N, as in 1/64, with K from 1 to N" in capsys.readouterr().err


def test_missing_manifest_is_named(tiny, tmp_path):
    job = text(figure3=tiny.analyses.figure3, image=tiny.image, view=tiny.view, mask=tiny.shared_mask, seed=0)
    with pytest.raises(SystemExit, match="cae masks-and-crops: .*none.json: no such file; make it with `snakemake"):
        main(["masks-and-crops", "--data", f"{tmp_path}/none.json", "--params", job, "--output", f"{tmp_path}/x.npz"])


@pytest.mark.parametrize(
    "command", [name for name, (_, function) in COMMANDS.items() if function.startswith("workflow.")]
)
def test_what_asks_the_workflow_names_the_folder_it_must_be_called_in(command, tmp_path):
    (tmp_path / "library").mkdir()
    (tmp_path / "library/cae").symlink_to(ROOT / "cae")
    script = f"from cae.cli import main; main([{command!r}])"
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": str(tmp_path / "library")})  # fmt: skip
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert f"cae {command}: no workflow in {tmp_path}: call it in the folder of the Snakefile" in done.stderr


def test_a_shell_completes_commands_options_and_choices(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    main(["completion", "bash"])
    (tmp_path / "cae.bash").write_text(capsys.readouterr().out)
    script = """
source cae.bash
function=$(complete -p cae | sed 's/.*-F \\([^ ]*\\).*/\\1/')
complete_line() {
  COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
  $function cae "${COMP_WORDS[$COMP_CWORD]}" "${COMP_WORDS[$COMP_CWORD - 1]}"
  echo "${COMPREPLY[@]}"
}
complete_line cae pre
complete_line cae pretrain --o
complete_line cae make --layout ""
"""
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    command, option, layouts = done.stdout.splitlines()
    assert (command, option) == ("pretrain", "--output") and layouts.split() == list(LAYOUTS)
