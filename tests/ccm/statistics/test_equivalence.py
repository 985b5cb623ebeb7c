"""TOST against statsmodels, by hand, and by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from ccm_pack.ccm.errors import DataError
from ccm_pack.ccm.statistics.clusters import cluster_means
from ccm_pack.ccm.statistics.equivalence import (
    Design,
    Margin,
    intersection_union,
    tost_paired,
    tost_welch,
)

MARGIN = Margin(1.5, "test")


@pytest.fixture
def weightstats():
    return pytest.importorskip("statsmodels.stats.weightstats", reason="statsmodels is not installed")


@pytest.mark.parametrize("shift", [-2.0, -0.5, 0.0, 0.4, 1.5, 3.0])
@pytest.mark.parametrize(("n", "m"), [(2, 3), (7, 7), (30, 12), (100, 100)])
def test_welch_equals_statsmodels(rng, weightstats, n: int, m: int, shift: float) -> None:
    a, b = 17.0 + 4.0 * rng.standard_normal(n), 17.0 + shift + 2.5 * rng.standard_normal(m)
    ours = tost_welch(a, b, MARGIN)
    p, *_ = weightstats.ttost_ind(b, a, -1.5, 1.5, usevar="unequal")
    compared = weightstats.CompareMeans.from_data(b, a)
    assert ours.p_value == pytest.approx(p, abs=1e-9, rel=1e-9)
    assert ours.interval == pytest.approx(compared.tconfint_diff(0.1, usevar="unequal"), abs=1e-9)
    assert (ours.design, ours.n_a, ours.n_b) == (Design.INDEPENDENT, n, m)


@pytest.mark.parametrize("shift", [-2.0, 0.0, 0.4, 1.5])
@pytest.mark.parametrize("n", [2, 7, 100])
def test_paired_equals_statsmodels(rng, weightstats, n: int, shift: float) -> None:
    a = 17.0 + 4.0 * rng.standard_normal(n)
    b = a + shift + rng.standard_normal(n)
    ours = tost_paired(a, b, MARGIN)
    p, *_ = weightstats.ttost_paired(b, a, -1.5, 1.5)
    assert ours.p_value == pytest.approx(p, abs=1e-9, rel=1e-9)
    truth = weightstats.DescrStatsW(b - a).tconfint_mean(0.1)
    assert ours.interval == pytest.approx(truth, abs=1e-9)


def test_three_pairs_by_hand() -> None:
    """Changes 0, 1, 2: mean 1, sd 1, error 1 / sqrt 3; t(2) exceeds 2.919986 with probability 5 %."""
    test = tost_paired([5.0, 5.0, 5.0], [5.0, 6.0, 7.0], Margin(3.0, "test"))
    assert (test.difference, test.df) == (1.0, 2)
    assert test.standard_error == pytest.approx(1 / np.sqrt(3))
    reach = 2.919985580 / np.sqrt(3)
    assert test.interval == pytest.approx((1.0 - reach, 1.0 + reach), abs=1e-8)
    assert test.shown and 1.0 + reach < 3.0


def test_equal_spreads_have_the_degrees_of_freedom_of_students_test() -> None:
    assert tost_welch([1.0, 2.0, 3.0], [2.0, 3.0, 4.0], MARGIN).df == pytest.approx(4.0)


def test_equivalence_is_shown_exactly_when_the_interval_lies_inside_the_margin(rng) -> None:
    for _ in range(300):
        a, b = rng.standard_normal(8), rng.standard_normal(9) + rng.normal()
        test = tost_welch(a, b, Margin(1.0, "test"))
        assert test.shown == (-1.0 <= test.interval[0] and test.interval[1] <= 1.0)


def test_a_small_sample_of_equal_means_is_not_shown() -> None:
    assert not tost_welch([10.0, 20.0, 15.0], [12.0, 18.0, 15.0], MARGIN).shown


def test_identical_values_leave_no_doubt() -> None:
    same = tost_paired([3.0, 4.0], [3.0, 4.0], MARGIN)
    assert same.p_value == 0.0 and same.interval == (0.0, 0.0)
    assert tost_paired([3.0, 4.0], [6.0, 7.0], MARGIN).p_value == 1.0
    assert tost_welch([3.0, 3.0], [3.0, 3.0], MARGIN).shown


def test_the_claim_on_all_is_as_weak_as_its_weakest_test() -> None:
    tests = [tost_paired([0.0, 0.0, 0.0], [x, 0.1, 0.2], MARGIN) for x in (0.0, 1.0, 3.0)]
    assert intersection_union(tests) == tests[2].p_value == max(t.p_value for t in tests)
    with pytest.raises(DataError, match="nothing can be claimed"):
        intersection_union([])


def test_means_of_patients() -> None:
    assert cluster_means([1.0, 5.0, 3.0], ["p", "q", "p"]) == {"p": 2.0, "q": 5.0}


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        ([1.0], [1.0, 2.0], "at least 2"),
        ([], [], "at least 2"),
        ([1.0, np.nan], [1.0, 2.0], "NaN"),
        ([[1.0, 2.0]], [1.0, 2.0], "shape"),
    ],
)
def test_samples_that_cannot_be_tested_are_refused(a, b, said: str) -> None:
    for tost in (tost_welch, tost_paired):
        with pytest.raises(DataError, match=said):
            tost(a, b, MARGIN)


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf])
def test_a_margin_is_positive(value: float) -> None:
    with pytest.raises(DataError, match="margin"):
        Margin(value, "test")


def clinic(rng: np.random.Generator, patients: int, frames: int, mean: float) -> tuple[np.ndarray, list[str]]:
    """CNFL of `frames` frames of each patient: 3.5 between patients, 2.5 between frames, in mm/mm^2."""
    values = mean + 3.5 * rng.standard_normal((patients, 1)) + 2.5 * rng.standard_normal((patients, frames))
    return values.ravel(), [f"{patient}" for patient in range(patients) for _ in range(frames)]


def shares_shown(rng: np.random.Generator, studies: int, shift: float) -> tuple[float, float]:
    """How often equivalence is called by patients and by frames; 30 patients of 5 frames a side."""
    by_patient, by_frame = 0, 0
    margin = Margin(2.5, "test")
    for _ in range(studies):
        (a, patients), (b, others) = clinic(rng, 30, 5, 15.0), clinic(rng, 30, 5, 15.0 + shift)
        means = [list(cluster_means(*side).values()) for side in ((a, patients), (b, others))]
        by_patient += tost_welch(*means, margin).shown
        by_frame += tost_welch(a, b, margin).shown
    return by_patient / studies, by_frame / studies


def test_patients_hold_five_percent_where_frames_do_not(rng) -> None:
    """At a true difference of exactly the margin every "equivalent" is an error."""
    by_patient, by_frame = shares_shown(rng, 1500, shift=2.5)
    assert by_patient <= 0.065
    assert by_frame >= 0.12


@pytest.mark.soak
def test_patients_hold_five_percent_in_many_studies(rng) -> None:
    by_patient, by_frame = shares_shown(rng, 20_000, shift=2.5)
    assert by_patient == pytest.approx(0.05, abs=0.005)
    assert by_frame > 0.15


@pytest.mark.parametrize("tost", [tost_welch, tost_paired])
def test_null_p_is_uniform_at_the_margin(rng, tost) -> None:
    from scipy.stats import kstest

    p = [
        tost(rng.standard_normal(20), 4.0 + rng.standard_normal(20), Margin(4.0, "test")).p_value
        for _ in range(1000)
    ]
    assert kstest(p, "uniform").pvalue > 0.01


def test_the_ninety_percent_interval_covers_ninety(rng) -> None:
    covered = []
    for _ in range(2000):
        test = tost_welch(3.0 * rng.standard_normal(12), 1.0 + rng.standard_normal(25), MARGIN)
        covered.append(test.interval[0] <= 1.0 <= test.interval[1])
    assert np.mean(covered) == pytest.approx(0.90, abs=0.02)
