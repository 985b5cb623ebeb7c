"""Means with intervals, by hand."""

from __future__ import annotations

import pytest
from ccm_pack.ccm.errors import DataError
from ccm_pack.ccm.statistics.means import mean_interval


def test_three_units_have_the_interval_of_the_textbook() -> None:
    found = mean_interval([1.0, 2.0, 3.0])
    assert (found.mean, found.n) == (2.0, 3)
    reach = 4.302652729911275 / 3**0.5  # t(0.975, 2) s / sqrt(n), s = 1
    assert found.interval == pytest.approx((2.0 - reach, 2.0 + reach))


def test_one_unit_has_no_interval() -> None:
    assert mean_interval([4.0]).interval is None


def test_no_unit_is_an_error() -> None:
    with pytest.raises(DataError, match="expected at least 1"):
        mean_interval([])
