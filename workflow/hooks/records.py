"""Snakemake's records of what made each file, so that DVC can version those of one scale, whatever its kind of links.

Each scale has a folder of its own: outputs of DVC may not overlap. DVC may replace any file by a link to its cache, read-only
for all but root; so a record is never written in place.
"""

import base64
import os
import shutil
from pathlib import Path

from workflow.hooks.prepared import when_prepared
from workflow.params import DEFAULT

ALL = Path(".snakemake/metadata")  # where Snakemake would keep the records of all scales


def folder_of(scale: str) -> Path:
    return ALL if scale == Path(DEFAULT).stem else ALL.with_name(f"{ALL.name}-{scale}")


def keep(workflow, scale: str) -> None:
    """Make Snakemake keep the records of a scale in a folder of their own, and none through a link."""
    _copy_earlier(scale)

    def redirect() -> None:
        persistence = workflow.persistence
        if hasattr(persistence, "_metadata_path"):  # not of a database
            persistence._metadata_path = os.path.abspath(folder_of(scale))
            write = persistence._io_write

            def write_anew(folder: str, value, name: str, *arguments) -> None:
                Path(persistence._record_path(folder, name)).unlink(missing_ok=True)
                write(folder, value, name, *arguments)

            persistence._io_write = write_anew

    when_prepared(workflow, redirect)


def _copy_earlier(scale: str) -> None:
    """Create the folder, with the scale's records from the time when all scales shared one."""
    folder = folder_of(scale)
    if folder == ALL or folder.exists():
        return
    for path in (path for path in ALL.rglob("*") if path.is_file()):
        name = path.relative_to(ALL)
        code = "".join(part.removeprefix("@") for part in name.parts)
        if base64.urlsafe_b64decode(code).decode(errors="replace").split("/")[1:2] == [scale]:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / name)
    folder.mkdir(parents=True, exist_ok=True)
