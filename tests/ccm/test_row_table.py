"""A table that is killed at any byte keeps every whole row, once."""

from __future__ import annotations

import pytest
from ccm_pack.ccm.errors import DataError
from ccm_pack.ccm.row_table import RowTable

ROWS = [{"frame": f"{k}.png", "value": str(k), "error": 'a, "b"\nc' if k == 1 else ""} for k in range(3)]


def table(folder) -> RowTable:
    return RowTable(folder / "t.csv", ("frame", "value", "error"), "frame")


def test_rows_are_there_again_after_a_stop(tmp_path):
    stopped = table(tmp_path)
    for row in ROWS:
        stopped.add(row)
    assert list(table(tmp_path).rows()) == ["0.png", "1.png", "2.png"]
    assert table(tmp_path).rows()["1.png"]["error"] == 'a, "b" c'


def test_a_journal_cut_at_any_byte_loses_the_last_row_only(tmp_path):
    whole = table(tmp_path)
    for row in ROWS:
        whole.add(row)
    whole.close()
    journal = tmp_path / "t.csv.part"
    data = journal.read_bytes()
    for cut in range(len(data)):
        journal.write_bytes(data[:cut])
        kept = table(tmp_path).rows()
        lines = data[:cut].count(b"\n")
        assert len(kept) == max(0, lines - 1)
        again = table(tmp_path)
        again.add(ROWS[2])
        again.close()
        assert set(table(tmp_path).rows()) == {*kept, "2.png"}


def test_the_finished_table_holds_each_row_once_and_the_journal_goes(tmp_path):
    for row in (*ROWS, ROWS[0]):
        (grown := table(tmp_path)).add(row)
        grown.close()
    grown.finish(grown.rows().values())
    assert [p.name for p in tmp_path.iterdir()] == ["t.csv"]
    assert len((tmp_path / "t.csv").read_text().splitlines()) == 4


def test_a_table_with_other_columns_is_refused(tmp_path):
    (tmp_path / "t.csv").write_text("something,else\n1,2\n")
    with pytest.raises(DataError, match="name another --out"):
        table(tmp_path).rows()
