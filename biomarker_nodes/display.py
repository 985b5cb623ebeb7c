"""What a node shows in itself: the text for everyone, the same as a table for `web/ccm_display.js`."""

from __future__ import annotations

from typing import Any

from ..ccm.table import Table


def shown(table: Table) -> dict[str, Any]:
    """The `ui` of a node that shows a table: text, which the API returns too, and the table itself."""
    return {"text": (table.text(),), "ccm_table": (table.document(),)}
