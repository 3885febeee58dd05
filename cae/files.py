"""Writing files so that a half-written one never carries its final name; and hashes that say what made a file."""

import errno
import getpass
import hashlib
import json
import math
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cae.errors import UserError


@contextmanager
def atomic(path: str | Path):
    """Yields a temporary path in the folder of `path`, with its suffix; renamed to `path` when the block succeeds.

    A full disk raises UserError; whatever stood at `path` before is still there.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.partial{path.suffix}")  # one writer a file: a killed one leaves one
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), 0o666 & ~_umask())  # safetensors' files are for their owner alone
        os.replace(temporary, path)
    except Exception as error:
        if _disk_full(error, path.parent):
            raise UserError(f"{path}: the disk is full; make room and run the same command again") from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _disk_full(error: Exception, folder: Path) -> bool:
    """Whether it was a full disk that failed a write; torch and safetensors do not say so in the error's type."""
    named = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    return named or shutil.disk_usage(folder).free < 1 << 20


def write_text(path: str | Path, text: str) -> None:
    with atomic(path) as temporary:
        temporary.write_text(text)


def write_json(path: str | Path, data) -> None:
    """Write JSON; UserError where a number is NaN or infinite, which JSON does not have."""
    try:
        text = json_text(data)
    except ValueError:
        for keys, number in _not_finite(data):
            raise UserError(
                f"{path}: {keys} would be {number}, which JSON does not have; nothing is written. Check what it is computed from"
            ) from None
        raise
    write_text(path, text)


def json_text(data) -> str:
    """Return the text that `write_json` writes; ValueError where a number is NaN or infinite."""
    return json.dumps(data, indent=1, allow_nan=False) + "\n"


def _not_finite(data, keys: str = "") -> Iterator[tuple[str, float]]:
    """Yield each number that is NaN or infinite, after the keys that lead to it, as in iou.sky."""
    if isinstance(data, float) and not math.isfinite(data):
        yield keys, data
    parts = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list | tuple) else ()
    for key, part in parts:
        yield from _not_finite(part, f"{keys}.{key}" if keys else str(key))


def read_json(path: str | Path) -> dict:
    """Read JSON in UTF-8, or in UTF-16 or UTF-32 with a byte order mark; UserError where the file is missing or no JSON."""
    try:
        return json.loads(Path(path).read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; make it with `snakemake {path}`") from None
    except ValueError as error:
        raise UserError(f"{path}: not valid JSON ({error}); delete it and make it again") from None


def need_no_home(caches: Path) -> None:
    """Let libraries work for a user whose home is read-only or who has no name, as in containers.

    Caches go below the folder `caches`, unless the environment names another place.
    """
    caches = caches.absolute()
    os.environ.setdefault("XDG_CACHE_HOME", str(caches))
    if not os.access(os.path.expanduser("~"), os.W_OK):
        os.environ.setdefault("MPLCONFIGDIR", str(caches / "matplotlib"))  # Matplotlib would make it below the home
    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ["LOGNAME"] = str(os.getuid())


def text_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def file_hash(path: str | Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def revision() -> str:
    """The git commit of the code that runs, with "+" where it was edited; "unknown" outside a checkout."""
    try:
        here = Path(__file__).parent
        commit = subprocess.run(
            ["git", "rev-parse", "--short=12", "HEAD"], cwd=here, capture_output=True, text=True, check=True
        )
        edited = subprocess.run(
            ["git", "status", "--porcelain", "--", "."], cwd=here, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return commit.stdout.strip() + ("+" if edited.stdout.strip() else "")
