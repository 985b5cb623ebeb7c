"""The manifest of a data set: JSON lines, only ever appended to, one for each frame made, rejected or failed.

Nothing is synced to the disk line by line: after a power cut, a line or a file that the disk does not hold is found
missing by its size, and its item is made again.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from ..errors import DataError

NAME = "manifest.jsonl"
DONE, REJECTED, FAILED = "done", "rejected", "failed"
Row = dict[str, Any]


class Manifest:
    """The manifest at `path`; opened for appending, it belongs to one process at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[bytes] | None = None

    def rows(self) -> Iterator[tuple[int, Row]]:
        """Yield every whole line with its place in the file; one that was cut off by a kill is left out."""
        if not self.path.is_file():
            return
        with open(self.path, "rb") as file:
            place = 0
            for line in file:
                if line.endswith(b"\n"):
                    yield place, self._parsed(line)
                place += len(line)

    def row_at(self, places: Iterable[int]) -> Iterator[Row]:
        """Yield the rows at these places."""
        with open(self.path, "rb") as file:
            for place in places:
                file.seek(place)
                yield self._parsed(file.readline())

    def open(self) -> Manifest:
        """Lock the manifest for this process and cut off half a line; raises DataError where another has it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(self.path, "a+b", buffering=0)
        if not _lock(self._file):
            self.close()
            raise DataError(
                f"{self.path} is being written by another process",
                fix="wait for it, or choose another folder",
            )
        whole = _whole(self._file)
        if whole < self.path.stat().st_size:  # else the file keeps its date
            self._cut(whole)
        return self

    def append(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Append rows in one write, all of them or none; once this returns, a kill does not lose them.

        Raises OSError where the disk is full; the manifest is then as it was.
        """
        assert self._file is not None, "open() comes first"
        lines = "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows).encode()
        before = self._file.seek(0, os.SEEK_END)
        try:
            if self._file.write(lines) != len(lines):
                raise OSError(28, os.strerror(28), str(self.path))  # a disk that takes half has no room left
        except OSError:
            self._cut(before)
            raise

    def close(self) -> None:
        """Give the manifest back."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _cut(self, size: int) -> None:
        assert self._file is not None
        self._file.truncate(size)

    def _parsed(self, line: bytes) -> Row:
        try:
            return json.loads(line)
        except ValueError as error:
            raise DataError(
                f"{self.path} holds a line that is no JSON: {line[:60]!r}", fix="remove that line"
            ) from error


def _whole(file: IO[bytes]) -> int:
    """Return the length of a file up to its last line break."""
    end = file.seek(0, os.SEEK_END)
    while end > 0:
        start = max(0, end - 65536)
        file.seek(start)
        found = file.read(end - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def _lock(file: IO[bytes]) -> bool:
    """Lock a file for this process as long as it is open; the system unlocks it when the process is killed."""
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
