"""A table to read: as aligned text, and as plain lists for the display in the browser."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Column:
    """A heading, its unit ("" without one), and in a few words what it stands for."""

    heading: str
    unit: str = ""
    meaning: str = ""


@dataclass(frozen=True)
class Table:
    """Columns and rows of finished cells, as many cells in a row as columns, and a note below."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""

    def text(self) -> str:
        """Right-aligned columns under heading and unit, and the note."""
        head = [[column.heading for column in self.columns], [column.unit for column in self.columns]]
        lines = [*head, *self.rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        aligned = ("  ".join(map(str.rjust, line, widths)) for line in lines)
        return "\n".join([*aligned, *(["", self.note] if self.note else [])])

    def document(self) -> dict[str, Any]:
        """Lists and strings only: what `web/ccm_display.js` draws."""
        columns = [[column.heading, column.unit, column.meaning] for column in self.columns]
        return {"columns": columns, "rows": [list(row) for row in self.rows], "note": self.note}
