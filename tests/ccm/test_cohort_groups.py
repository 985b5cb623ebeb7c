"""Measured frames by cohort: patients count once, and the table says what the figure shows."""

from __future__ import annotations

import json

import numpy as np
import pytest
from ccm_pack.ccm.cohort_groups import group, to_figure, to_table
from ccm_pack.ccm.equivalence.rows import MeasuredSet, read_rows
from ccm_pack.ccm.plots.canvas import BLUE, ORANGE
from ccm_pack.ccm.plots.panels import GREEN

CNFL = "cnfl_mm_per_mm2"


def measured(values: list[float | None], labels: str) -> MeasuredSet:
    frames = [{CNFL: value} for value in values]
    return read_rows("measured", json.dumps({"tool": "t", "version": "1", "frames": frames}), labels)


def row_of(one: MeasuredSet, name: str = "CNFL") -> tuple[str, ...]:
    return next(row for row in to_table(group(one)).rows if row[0] == name)


def test_a_patient_with_many_frames_counts_once() -> None:
    one = measured([10.0, 20.0, 21.0, 22.0], "cohort,patient\nControl,a\nControl,b\nControl,b\nControl,b")
    assert group(one).values[CNFL]["Control"] == (10.0, 21.0)
    assert row_of(one) == ("CNFL", "mm/mm2", "15.5 (7.78) n=2")


def test_without_patients_frames_count_and_the_note_says_so() -> None:
    one = measured([10.0, 20.0], "cohort\nControl")
    assert group(one).unit == "frames"
    assert "each frame counts" in to_table(group(one)).note


def test_the_effect_is_that_of_the_later_cohort_against_the_first() -> None:
    """Means 2 and 4, pooled sd 1: g = 2 times the factor of 4 degrees of freedom, 0.798."""
    lines = "cohort,patient\n" + "\n".join(
        ["T1DPN,a", "T1DPN,b", "T1DPN,c", "Control,d", "Control,e", "Control,f"]
    )
    one = measured([3.0, 4.0, 5.0, 1.0, 2.0, 3.0], lines)
    *_, control, dpn, effect = row_of(one)
    assert (control, dpn) == ("2 (1) n=3", "4 (1) n=3")
    assert effect.startswith("+1.60 [")


@pytest.mark.parametrize("values", [[1.0, None], [2.0, 2.0], [None, None]])
def test_what_cannot_be_computed_is_a_dash(values: list[float | None]) -> None:
    one = measured(values, "cohort\nControl\nT1DPN")
    assert row_of(one)[-1] == "-"
    assert row_of(one, "CNFW")[2:] == ("-", "-", "-")


def test_cohorts_keep_their_order_and_colours() -> None:
    one = measured([3.0, 1.0, 2.0], "cohort\nT1DPN\nControl\nT1NoDPN")
    assert [column.heading for column in to_table(group(one)).columns[2:5]] == ["Control", "T1NoDPN", "T1DPN"]
    first = [
        np.flatnonzero((np.round(255 * to_figure(group(one))) == c).all(-1).any(0))[0]
        for c in (BLUE, GREEN, ORANGE)
    ]
    assert first == sorted(first)
