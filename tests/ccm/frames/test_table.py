"""Data sets as CSV tables: what the columns mean, and errors that name the line."""

from __future__ import annotations

from pathlib import Path

import pytest
from ccm_pack.ccm.cohorts import Cohort
from ccm_pack.ccm.errors import CCMError, DataError
from ccm_pack.ccm.frames.listing import list_frames, read_records
from ccm_pack.ccm.frames.record import Record
from PIL import Image


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.png", "b.png"):
        Image.new("L", (400, 400)).save(tmp_path / name)
    return tmp_path


def write(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    (folder / "table.csv").write_text(text, encoding)
    return folder / "table.csv"


def test_every_column_is_read(folder: Path) -> None:
    table = write(
        folder,
        "frame,mask,cohort,patient,eye,split,um_per_px,age\n"
        "a.png,a_m.png,t1dpn,P1,left,val,0.5,41\n"
        "b.png,,,,,,,\n",
    )
    assert read_records(table) == [
        Record(folder / "a.png", folder / "a_m.png", Cohort.T1DPN, "P1", "OS", "validation", 0.5),
        Record(folder / "b.png", um_per_px=1.0),
    ]


def test_a_folder_with_a_table_is_read_by_it(folder: Path) -> None:
    write(folder, "frame\na.png\n")
    assert (list_frames(folder).layout, len(list_frames(folder).records)) == ("table", 1)
    assert (list_frames(folder, "folder").layout, len(list_frames(folder, "folder").records)) == ("folder", 2)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_separators_and_byte_order_marks_of_spreadsheets_are_understood(folder: Path, separator: str) -> None:
    text = "Frame,Patient,um_per_px\na.png,7,0.5\n".replace(",", separator)
    records = read_records(write(folder, text, "utf-8-sig"))
    assert [(r.frame.name, r.patient, r.um_per_px) for r in records] == [("a.png", "7", 0.5)]


def test_a_decimal_comma_is_understood(folder: Path) -> None:
    assert read_records(write(folder, "frame;um_per_px\na.png;1,25\n"))[0].um_per_px == 1.25


@pytest.mark.parametrize(
    "text, told",
    [
        ("", "no column 'frame'"),
        ("picture\na.png\n", "no column 'frame'"),
        ("frame\n", "lists no frames"),
        ("frame,cohrt\na.png,Control\n", "column 'cohrt'.*call it 'cohort'"),
        ("frame,patient\n\n,P1\n", "line 3 names no frame"),
        ("frame,cohort\na.png,T2\n", "line 2: Unknown cohort 'T2'"),
        ("frame,split\na.png,holdout\n", "line 2 has the split 'holdout'"),
        ("frame,um_per_px\na.png,-1\n", "line 2 has the pixel size '-1'"),
        ("frame,um_per_px\na.png,wide\n", "line 2 has the pixel size 'wide'"),
        ("frame\na.png\nb.png\na.png\n", "names a.png in lines 2 and 4"),
    ],
)
def test_a_wrong_line_is_named(folder: Path, text: str, told: str) -> None:
    with pytest.raises(CCMError, match=told):
        read_records(write(folder, text))


def test_a_table_that_is_no_text_is_named(folder: Path) -> None:
    (folder / "table.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"table\.csv cannot be read as a table"):
        read_records(folder)
