"""From images to the tables of a context autoencoder: each step is a command, with explicit inputs and outputs.

A command is a function whose arguments have the types of `cae.options`: its options are its arguments, its help is its
docstring. Its module is imported when it runs, and not before. `snakemake -n -p` prints the exact command of any step, ready to
paste; params travel as one JSON text.
"""

import ast
import errno
import signal
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, CycloptsError, Parameter

from cae.errors import Interrupted, UserError

PERSON, WORKFLOW = "Called by a person", "Called by the workflow, in the order of its steps"
COMMANDS = {
    "cost": (PERSON, "workflow.cost.report:main"),
    "stages": (PERSON, "workflow.stages:main"),
    "import": (PERSON, "cae.tasks.import_model:main"),
    "import-tokenizer": (PERSON, "cae.tasks.import_tokenizer:main"),
    "publish": (PERSON, "cae.reporting.publication:main"),
    "completion": (PERSON, "cae.cli:completion"),
    "make": (WORKFLOW, "cae.tasks.index:make"),
    "index": (WORKFLOW, "cae.tasks.index:main"),
    "train-tokenizer": (WORKFLOW, "cae.tasks.train_tokenizer:main"),
    "tokenize": (WORKFLOW, "cae.tasks.tokenize:main"),
    "list-tokens": (WORKFLOW, "cae.tasks.list_tokens:main"),
    "initialise": (WORKFLOW, "cae.tasks.initialise:main"),
    "pretrain": (WORKFLOW, "cae.tasks.pretrain:main"),
    "probe": (WORKFLOW, "cae.tasks.probe:main"),
    "classify": (WORKFLOW, "cae.tasks.classify:main"),
    "finetune": (WORKFLOW, "cae.tasks.finetune:main"),
    "segment": (WORKFLOW, "cae.tasks.segment:main"),
    "choose": (WORKFLOW, "cae.tasks.choose:main"),
    "detect": (WORKFLOW, "cae.tasks.detect:main"),
    "masks-and-crops": (WORKFLOW, "cae.analysis.masks_and_crops:main"),
    "reconstruct": (WORKFLOW, "cae.analysis.reconstruction:main"),
    "tsne": (WORKFLOW, "cae.analysis.tsne:main"),
    "attention": (WORKFLOW, "cae.analysis.attention:main"),
    "table": (WORKFLOW, "cae.reporting.tables:main"),
    "claims": (WORKFLOW, "cae.reporting.claims:main"),
    "figure": (WORKFLOW, "cae.reporting.figures:main"),
    "models": (WORKFLOW, "cae.reporting.models:main"),
    "metrics": (WORKFLOW, "cae.reporting.metrics:main"),
    "page": (WORKFLOW, "cae.reporting.page:main"),
}
EARLIER = {"plan": "cost"}  # names that commands had
USAGE = 2  # exit status of a command line that cannot be read


def application(command: str | None = None) -> App:
    """Return the command line, with the whole help of `command`; without one, with the first line of every command's."""
    app = App("cae", help=__doc__.split("\n")[0], help_format="plaintext", default_parameter=Parameter(negative=()),
              group_parameters="Options", result_action="return_value", suppress_keyboard_interrupt=False)  # fmt: skip
    for flag in (*app.help_flags, *app.version_flags):
        app[flag].group = "Options"
    for i, (name, (group, function)) in enumerate(COMMANDS.items()):
        text = None if command else help_of(function)[0]
        text = "\n\n".join(help_of(function)) if name == command else text
        app.command(function, name=name, group=group, sort_key=i, help=text)
    return app


def help_of(function: str) -> list[str]:
    """Return the paragraphs of the docstring of "module:function", whose module is read and not imported."""
    module, _, name = function.partition(":")
    if not (file := file_of(module)):
        return ["(in the folder of the Snakefile)"]
    tree = ast.parse(file.read_bytes())
    (node,) = (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name)
    return [" ".join(paragraph.split()) for paragraph in ast.get_docstring(node).split("\n\n")]


def file_of(module: str) -> Path | None:
    """Return a module's file; None for a module of the workflow where the working directory is not its folder."""
    try:
        return Path(find_spec(module).origin)
    except (ModuleNotFoundError, AttributeError):
        return None


def completion(shell: Annotated[Literal["bash", "zsh", "fish"], Parameter(help="Name of the shell.")], /) -> None:
    """Print the completion of a shell, a script to source."""
    print(application().generate_completion(prog_name="cae", shell=shell))


def main(argv: list[str] | None = None) -> None:
    argv = sys.argv[1:] if argv is None else argv
    if argv and argv[0] in EARLIER:
        print(f"cae {argv[0]} is now called `cae {EARLIER[argv[0]]}`", file=sys.stderr)
        argv = [EARLIER[argv[0]], *argv[1:]]
    sys.path.append("")  # the workflow lies in the working directory
    command = argv[0] if argv and argv[0] in COMMANDS else None
    name = f"cae {command}" if command else "cae"
    app = application(command)
    if not argv:
        app.help_print()
        sys.exit(USAGE)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C; training answers both in its own way
    try:
        if command and not file_of(COMMANDS[command][1].partition(":")[0]):
            raise UserError(f"no workflow in {Path.cwd()}: call it in the folder of the Snakefile")
        app(argv, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        message = " ".join(str(error).split()).removeprefix(f'Command "{command}" parameter ')
        message = message.replace("requires an argument.", "is missing, or has no value.")
        print(f"{name}: {message} See `{name} --help`.", file=sys.stderr)
        sys.exit(USAGE)
    except (Exception, KeyboardInterrupt) as error:
        speaker = ""
        if "torch" in sys.modules:
            from cae.training.devices import speaker as speaker_of_run

            speaker = speaker_of_run()
        if speaker is None:
            sys.exit(1)
        if isinstance(error, Interrupted):
            sys.exit(str(error))
        if message := explained(error):
            line = "\n" if speaker else ""  # another process draws its progress
            sys.exit(f"{line}{name}: {speaker}{message}")
        raise


def explained(error: BaseException) -> str | None:
    """Return what a user needs to know of an error; None where that is its traceback."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, KeyboardInterrupt):
        return "interrupted; run the same command again"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{error.filename or 'writing'}: the disk is full; make room and run it again"
    if type(error).__name__ == "DistBackendError" or isinstance(error, RuntimeError) and "by peer" in str(error):
        return (
            "lost another process of this run, which gave no reason: it may have been killed for want of memory. "
            "Run the same command to go on from the last checkpoint"
        )
    return None
