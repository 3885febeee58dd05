"""Outputs that DVC replaced by links to its cache: `dvc config cache.type symlink` or `hardlink`, for data too large to copy."""

import os
from pathlib import Path

from snakemake.io import _IOFile


def is_link(file: str | Path) -> bool:
    """Whether the content of a file has another name, so that it must not be written in place."""
    return os.path.islink(file) or os.stat(file).st_nlink > 1


def replace_read_only() -> None:
    """Make Snakemake replace outputs that are read-only hard links, as it replaces symbolic links, instead of refusing them."""

    async def protected(file: _IOFile) -> bool:
        return await _protected(file) and not is_link(file)

    _IOFile.protected = protected


_protected = _IOFile.protected
