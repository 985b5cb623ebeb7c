"""Power against simulation, and needed patients against power."""

from __future__ import annotations

import math

import numpy as np
import pytest
from ccm_pack.ccm.errors import DataError
from ccm_pack.ccm.statistics.equivalence import Margin, tost_paired, tost_welch
from ccm_pack.ccm.statistics.power import (
    patients_gain,
    patients_paired,
    patients_welch,
    power_gain,
    power_paired,
    power_welch,
    tost_power,
)


def test_with_a_known_error_power_is_a_normal_probability() -> None:
    """Many degrees of freedom: 2 Phi(margin / error - 1.6449) - 1; here 2 Phi(1.3551) - 1."""
    truth = math.erf((3.0 - 1.6448536) / math.sqrt(2.0))
    assert tost_power(1.0, 1e9, 3.0) == pytest.approx(truth, abs=1e-6)


@pytest.mark.parametrize("difference", [0.0, 0.5])
def test_paired_power_is_the_share_of_studies_that_show_it(rng, difference: float) -> None:
    margin = Margin(1.5, "test")
    shown = [
        tost_paired(np.zeros(12), difference + 2.0 * rng.standard_normal(12), margin).shown
        for _ in range(2000)
    ]
    assert power_paired(2.0, 12, 1.5, difference) == pytest.approx(np.mean(shown), abs=0.035)


def test_welch_power_is_the_share_of_studies_that_show_it(rng) -> None:
    margin = Margin(2.5, "test")
    shown = [
        tost_welch(4.0 * rng.standard_normal(30), 3.0 * rng.standard_normal(60), margin).shown
        for _ in range(2000)
    ]
    assert power_welch((4.0, 3.0), (30, 60), 2.5) == pytest.approx(np.mean(shown), abs=0.035)


def test_power_at_the_margin_is_at_most_five_percent() -> None:
    assert power_paired(1.0, 400, 1.5, 1.5) == pytest.approx(0.05, abs=1e-4)
    assert power_paired(10.0, 5, 1.5, 1.5) < 0.05


def test_the_needed_patients_are_the_fewest_that_reach_the_power() -> None:
    n = patients_paired(4.0, 1.5)
    assert power_paired(4.0, n, 1.5) >= 0.8 > power_paired(4.0, n - 1, 1.5)
    m = patients_welch((5.0, 4.0), 1.5)
    assert power_welch((5.0, 4.0), (m, m), 1.5) >= 0.8 > power_welch((5.0, 4.0), (m - 1, m - 1), 1.5)
    assert m > n


def test_an_easy_case_needs_few() -> None:
    assert patients_paired(0.01, 1.5) == 2


@pytest.mark.parametrize(
    ("sd", "margin", "difference", "power"),
    [(1, 1, 1, 0.8), (1, 1, 0, 1.0), (0, 1, 0, 0.8), (1e9, 1, 0, 0.8)],
)
def test_the_impossible_is_refused(sd: float, margin: float, difference: float, power: float) -> None:
    with pytest.raises(DataError):
        patients_paired(sd, margin, difference, power)


def test_power_of_a_gain_is_the_share_of_studies_whose_interval_lies_above_zero(rng) -> None:
    from scipy.stats import t

    values = 0.5 + rng.standard_normal((4000, 20))
    low = values.mean(axis=1) - t.ppf(0.975, 19) * values.std(axis=1, ddof=1) / math.sqrt(20)
    assert power_gain(1.0, 20, 0.5) == pytest.approx(np.mean(low > 0.0), abs=0.025)


def test_a_gain_of_half_a_deviation_takes_34_patients() -> None:
    """The textbook number for a paired t-test, d = 0.5, two-sided 5 %, power 80 % (Cohen 1988)."""
    assert patients_gain(1.0, 0.5) == 34
    assert patients_gain(2.0, 1.0) == 34


@pytest.mark.parametrize("gain", [0.0, -1.0, 1e-9])
def test_no_number_of_patients_shows_no_gain(gain: float) -> None:
    with pytest.raises(DataError):
        patients_gain(1.0, gain)


def test_patients_do_not_make_up_for_what_seeds_vary() -> None:
    """An error of 0.2 that stays: with no end of patients the power at 0.5 is that of z = 2.5, 1 - Phi(-0.54)."""
    assert power_gain(1.0, 10**6, 0.5, fixed_error=0.2) == pytest.approx(0.7054, abs=1e-3)
    assert patients_gain(1.0, 0.5, fixed_error=0.1) > patients_gain(1.0, 0.5)
    with pytest.raises(DataError, match="more seeds"):
        patients_gain(1.0, 0.5, fixed_error=0.2, fixed_df=4)
