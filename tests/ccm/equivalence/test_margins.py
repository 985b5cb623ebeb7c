"""Margins: defaults that say where they come from, and the user's own."""

from __future__ import annotations

import pytest
from ccm_pack.ccm.cohorts import REFERENCES, Cohort
from ccm_pack.ccm.equivalence.margins import NAMES, default_margins, parse_margins
from ccm_pack.ccm.errors import CohortError, DataError


def test_every_default_says_where_it_comes_from() -> None:
    margins = parse_margins(" \n")
    assert margins == default_margins()
    assert set(margins) == {NAMES["CNFL"], NAMES["CNFD"], NAMES["CNBD"]}
    for by_cohort in margins.values():
        assert set(by_cohort) == set(Cohort)
        assert all(len(margin.source) > 20 for margin in by_cohort.values())


def test_the_default_of_cnfl_lies_above_the_gap_of_two_tools_and_at_most_a_third_of_the_gaps_of_cohorts() -> (
    None
):
    means = [REFERENCES[cohort].cnfl_mm_per_mm2.mean for cohort in Cohort]
    value = default_margins()[NAMES["CNFL"]][Cohort.CONTROL].value
    assert 0.9 < value == 1.5
    assert all(value <= abs(a - b) / 3.0 for a, b in zip(means, means[1:], strict=False))


def test_cnfd_is_half_a_standard_deviation_between_patients() -> None:
    assert default_margins()[NAMES["CNFD"]][Cohort.CONTROL].value == 3.0


def test_lines_name_biomarker_cohort_value_and_source() -> None:
    margins = parse_margins("CNFL = 2 # protocol 4\n\ncnfd T1DPN: 3.5\ncnfw_um 0.2")
    assert margins[NAMES["CNFL"]][Cohort.T1DPN].source == "protocol 4"
    assert set(margins[NAMES["CNFD"]]) == {Cohort.T1DPN}
    assert margins["cnfw_um"][Cohort.CONTROL].value == 0.2
    assert margins["cnfw_um"][Cohort.CONTROL].source == "chosen by the user"
    assert NAMES["CNBD"] not in margins


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("CNFL", DataError),
        ("CNFL much", DataError),
        ("CNFX 1", DataError),
        ("CNFL 0", DataError),
        ("CNFL -1", DataError),
        ("CNFL nan", DataError),
        ("CNFL T9 1", CohortError),
        ("CNFL T1DPN 1 2", DataError),
    ],
)
def test_a_margin_that_cannot_be_read_is_refused(text: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        parse_margins(text)
