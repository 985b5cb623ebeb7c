"""The lines of the table: a figure, its name in the JSON, and what it should be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Row:
    """One figure. `bound` says which side of `limit` is good; a figure without a limit is for information."""

    key: str
    text: str
    value: float | None
    bound: Literal["at least", "at most", ""] = ""
    limit: float = math.nan
    share: bool = False  # show as a percentage
    note: str = ""

    @property
    def reached(self) -> bool | None:
        if self.value is None or not self.bound:
            return None
        return self.value >= self.limit if self.bound == "at least" else self.value <= self.limit

    def line(self, width: int) -> str:
        verdict = {True: "reached", False: "NOT REACHED", None: ""}[self.reached]
        wanted = f"{self.bound} {self._show(self.limit)}" if self.bound else ""
        return f"  {self.text:{width}} {self._show(self.value):>9}  {wanted:16} {verdict:12} {self.note}".rstrip()

    def _show(self, value: float | None) -> str:
        if value is None:
            return "-"
        return f"{value:.1%}" if self.share else f"{value:.4g}"


def table(title: str, rows: Sequence[Row]) -> str:
    """Write rows as text below a title."""
    width = max(len(row.text) for row in rows)
    return "\n".join([title, *(row.line(width) for row in rows)])


def as_json(rows: Sequence[Row]) -> dict[str, float | None]:
    """Figures by key; what is not finite becomes None."""
    return {
        row.key: None if row.value is None or not math.isfinite(row.value) else round(row.value, 4)
        for row in rows
    }
