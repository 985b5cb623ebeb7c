"""A CSV table that grows row by row and survives being killed: no row is lost, none doubled.

Rows go to a journal beside the table, NAME.part, one flushed line each. At the end the table is written whole, under
another name first, and the journal goes. A line that was cut off by a kill is dropped when the journal is opened.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO

from .errors import DataError

Row = dict[str, str]


class RowTable:
    """The table at `path` with these columns, identified by the column `key`."""

    def __init__(self, path: Path, columns: Sequence[str], key: str) -> None:
        self.path = path
        self.columns = tuple(columns)
        self.key = key
        self._journal_path = path.with_name(path.name + ".part")
        self._journal: IO[bytes] | None = None

    def rows(self) -> dict[str, Row]:
        """The rows of the table and of an interrupted run, the latter first in rank, by key; raises DataError."""
        found = [
            row for file in (self.path, self._journal_path) if file.is_file() for row in self._read(file)
        ]
        return {row[self.key]: row for row in found}

    def add(self, row: Row) -> None:
        """Append a row to the journal; once this returns, killing the process does not lose it."""
        if self._journal is None:
            self._journal = self._open()
        self._journal.write(_line([row[name] for name in self.columns]))

    def finish(self, rows: Iterable[Row]) -> None:
        """Write the table with exactly these rows and remove the journal."""
        write_table(self.path, self.columns, rows)
        self.close()
        self._journal_path.unlink(missing_ok=True)

    def close(self) -> None:
        """Give the journal back; what it holds stays on the disk."""
        if self._journal is not None:
            self._journal.close()
            self._journal = None

    def _open(self) -> IO[bytes]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        journal = open(self._journal_path, "ab", buffering=0)
        whole = len(_whole_lines(self._journal_path))
        journal.truncate(whole)
        if not whole:
            journal.write(_line(self.columns))
        return journal

    def _read(self, file: Path) -> list[Row]:
        lines = list(csv.reader(io.StringIO(_whole_lines(file).decode("utf-8", "replace"), newline="")))
        if lines and tuple(lines[0]) != self.columns:
            raise DataError(
                f"{file} is a table with other columns, perhaps of another version", fix="name another --out"
            )
        return [
            dict(zip(self.columns, line, strict=True)) for line in lines[1:] if len(line) == len(self.columns)
        ]


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Row]) -> None:
    """Write a CSV table, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".new")
    with open(part, "wb") as file:
        file.write(_line(columns))
        file.writelines(_line([row[name] for name in columns]) for row in rows)
    os.replace(part, path)


def _line(cells: Sequence[str]) -> bytes:
    """One CSV line; line breaks inside cells become spaces, so that one line is one row."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow([" ".join(cell.split()) for cell in cells])
    return text.getvalue().encode()


def _whole_lines(file: Path) -> bytes:
    data = file.read_bytes()
    return data[: data.rfind(b"\n") + 1]
