"""Find out before the work, not after it, that its results cannot be written."""

from __future__ import annotations

import tempfile
from pathlib import Path

from ..ccm.errors import DataError


def check_folder(folder: Path, *, fix: str) -> None:
    """Make the folder and write a probe into it; raises DataError where that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise DataError(f"{folder} cannot be written ({error.strerror})", fix=fix) from error


def check_file(file: Path, *, fix: str) -> None:
    """Do the same with the folder of a file; raises DataError also where the file is itself a folder."""
    if file.is_dir():
        raise DataError(f"{file} cannot be written, because it is a folder", fix=fix)
    check_folder(file.parent, fix=fix)
