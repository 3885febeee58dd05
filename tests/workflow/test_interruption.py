"""What Ctrl-C does to a run, and what it leaves on the terminal."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest

from tests.workflow.conftest import ROOT, copy

# Training models goes on until it is stopped, as cae.training.run is; the tokenizer cannot save.
TRAINS = """
import signal
import time

def stop(number, _):
    print("MAE: saved at step 60 of 920; run the same command to go on" if command == "pretrain" else "interrupted", flush=True)
    sys.exit(1)

if sys.argv[1] in ("pretrain", "train-tokenizer") and not Path("go").exists():
    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    Path(sys.argv[1]).write_text(str(os.getpid()))
    time.sleep(60)
"""
MODEL = "results/demo/pretrain/mae-b-1600/model.safetensors"
TOKENIZER = "results/demo/tokenizers/dvae/tokenizer.json"
COMMAND = "snakemake", "--cores", "2", "--", MODEL, TOKENIZER


@pytest.fixture
def tree(tmp_path):
    tree = copy(tmp_path)
    tree.edit("cae/__main__.py", "import json\n", "import json\nimport os\n")
    tree.edit("cae/__main__.py", "\nENCODER = ", f"{TRAINS}\nENCODER = ")
    (tmp_path / "Makefile").write_text((ROOT / "Makefile").read_text())
    return tree


def stopped(tree, command, stop) -> tuple[int, str]:
    """Status and output of a command that `stop`, a function of its process, is done to once both trainings are at work."""
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    options = dict(cwd=tree.path, env={**os.environ, "PATH": path}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    begun = [tree.path / name for name in ("pretrain", "train-tokenizer")]
    with subprocess.Popen(command, text=True, start_new_session=True, **options) as run:
        while not all(path.exists() and path.read_text() for path in begun):
            assert run.poll() is None
            time.sleep(0.05)
        stop(run)
        text, _ = run.communicate()
    return run.returncode, text


def press_ctrl_c(run) -> None:
    """As a terminal does: every process of the foreground has the signal."""
    os.killpg(run.pid, signal.SIGINT)


def test_ctrl_c_ends_with_a_line_a_job_and_the_next_run_goes_on(tree):
    status, text = stopped(tree, COMMAND, press_ctrl_c)
    _, _, end = text.partition("Stopping. Running jobs save what they have first")
    assert status == 1 and "--params" not in text and "Error" not in text
    assert end.splitlines()[-3:] == [
        "pretrain_model mae-b-1600: saved at step 60 of 920",
        "train_tokenizer dvae: begins again",
        "Run the same command to go on.",
    ]
    (tree.path / "go").touch()
    tree.run(*COMMAND)
    assert (tree.path / MODEL).exists() and (tree.path / TOKENIZER).exists()


def test_make_adds_nothing_to_it(tree):
    status, text = stopped(tree, ("make", "--old-file=.venv/ready", "report"), press_ctrl_c)
    assert status == -signal.SIGINT and text.endswith("\nRun the same command to go on.\n") and "***" not in text


def test_a_job_that_a_batch_system_stops_is_no_failure(tree):
    """SIGTERM, shortly before a time limit; the other job fails."""

    def terminate(run) -> None:
        os.kill(int((tree.path / "pretrain").read_text()), signal.SIGTERM)
        os.kill(int((tree.path / "train-tokenizer").read_text()), signal.SIGKILL)

    status, text = stopped(tree, (*COMMAND[:3], "--keep-going", *COMMAND[3:]), terminate)
    assert (
        status == 1
        and re.search(r"train_tokenizer/dvae.log: its command .* 137\.", text)
        and "Command 'set" not in text
    )
    assert "\nFailed: train_tokenizer dvae; the end of work/demo/logs/train_tokenizer/dvae.log:\n" in text
    assert "Failed: pretrain_model" not in text
    assert text.endswith("pretrain_model mae-b-1600: saved at step 60 of 920\nRun the same command to go on.\n")
