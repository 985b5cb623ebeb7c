"""What a node shows in itself: the text for everyone, the same as a table for `web/ccm_display.js`."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import ui

from ..ccm.table import Table


class PreviewTable(ui.PreviewText):
    """A table in the node; the API returns its text too."""

    def __init__(self, table: Table) -> None:
        super().__init__(table.text())
        self.table = table

    def as_dict(self) -> dict[str, Any]:
        return {**super().as_dict(), "ccm_table": (self.table.document(),)}
