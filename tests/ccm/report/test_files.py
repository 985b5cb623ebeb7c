"""Frames on disk as a set: sizes, pairs by name, and rows that failed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ccm_pack.ccm.errors import DataError
from ccm_pack.ccm.frames.record import Record
from ccm_pack.ccm.measuring import COLUMNS
from ccm_pack.ccm.report.files import FrameFiles, list_records, measured, pair_by_name
from PIL import Image


def write(path: Path, level: int, side: int = 12) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((side, side), level, np.uint8)).save(path)
    return path


def row(**cells: str) -> dict[str, str]:
    return (
        dict.fromkeys(COLUMNS, "") | {"frame": "a.png", "tool": "t", "version": "1", "network": "n"} | cells
    )


def test_a_slice_reads_only_its_files(tmp_path: Path) -> None:
    files = FrameFiles(
        [write(tmp_path / "a.png", 51), write(tmp_path / "b.png", 102), tmp_path / "missing.png"]
    )
    assert len(files) == 3
    assert files[0:2].shape == (2, 12, 12)
    assert files[1:2].ravel()[0] == pytest.approx(0.4)


def test_frames_of_two_sizes_are_refused_by_name(tmp_path: Path) -> None:
    for name, side in (("a", 12), ("b", 12), ("c", 24)):
        write(tmp_path / f"{name}.png", 9, side)
    with pytest.raises(DataError, match=r"12 x 12 px: a\.png, b\.png; 24 x 24 px: c\.png"):
        list_records("real", tmp_path, None)


def test_one_frame_is_no_set(tmp_path: Path) -> None:
    write(tmp_path / "a.png", 9)
    with pytest.raises(DataError, match="holds one frame"):
        list_records("real", tmp_path, None)


def records(*names: str) -> list[Record]:
    return [Record(Path("x", name)) for name in names]


def test_pairs_follow_the_order_of_the_real_frames_whatever_their_ending() -> None:
    found = pair_by_name(records("b.png", "a.png"), records("a.tif", "b.tif"))
    assert [record.frame.name for record in found] == ["b.tif", "a.tif"]


@pytest.mark.parametrize(
    ("real", "generated", "said"),
    [
        (["a.png", "b.png"], ["a.png", "c.png"], "these have no partner: b, c"),
        (["a.png", "b.png"], ["a.png", "b.png", "x/a.png"], "a name occurs twice"),
    ],
)
def test_names_that_do_not_match_are_no_pairs(real, generated, said) -> None:
    with pytest.raises(DataError, match=said):
        pair_by_name(records(*real), records(*generated))


def test_rows_become_values_tool_and_doubts() -> None:
    rows = [row(cnfl_mm_per_mm2="12.5"), row(cnfl_mm_per_mm2="10", cnfw_um="3", quality="blurred")]
    found = measured("real", "here", records("a.png", "b.png"), rows).measured
    assert found.values == ({"cnfl_mm_per_mm2": 12.5}, {"cnfl_mm_per_mm2": 10.0, "cnfw_um": 3.0})
    assert (found.tool, found.doubtful) == ("t 1, network n", 1)


def test_a_frame_that_was_not_measured_stops_the_report() -> None:
    with pytest.raises(DataError, match="1 real frames cannot be measured. a.png: broken"):
        measured("real", "here", records("a.png"), [row(error="broken")])
