"""A table as text and as the lists that the browser draws."""

from __future__ import annotations

from ccm_pack.ccm.table import Column, Table

TABLE = Table((Column("frame"), Column("CNFL", "mm/mm2", "length")), (("1", "9.5"), ("12", "-")), "A note.")


def test_the_text_aligns_its_columns_under_heading_and_unit() -> None:
    assert TABLE.text().splitlines() == [
        "frame    CNFL",
        "       mm/mm2",
        "    1     9.5",
        "   12       -",
        "",
        "A note.",
    ]


def test_the_document_holds_the_same_cells() -> None:
    assert TABLE.document() == {
        "columns": [["frame", "", ""], ["CNFL", "mm/mm2", "length"]],
        "rows": [["1", "9.5"], ["12", "-"]],
        "note": "A note.",
    }
