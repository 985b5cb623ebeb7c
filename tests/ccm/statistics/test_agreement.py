"""Bland-Altman by hand, the intraclass correlation against the published table."""

from __future__ import annotations

import numpy as np
import pytest
from ccm_pack.ccm.errors import DataError
from ccm_pack.ccm.statistics.agreement import bland_altman, icc_agreement

# Four judges rate six targets (Shrout and Fleiss 1979, table 2).
JUDGES = np.array(
    [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], dtype=float
)


def test_limits_by_hand() -> None:
    """Changes 1, 2, 3: bias 2, sd 1; t(2) = 4.302653; error of a limit sqrt(1/3 + 1.96^2 / 4)."""
    found = bland_altman([1.0, 2.0, 3.0], [2.0, 4.0, 6.0])
    assert (found.bias, found.sd, found.n) == (2.0, 1.0, 3)
    assert (found.lower, found.upper) == pytest.approx((0.040036, 3.959964), abs=1e-6)
    assert found.bias_interval[1] - 2.0 == pytest.approx(4.302653 / np.sqrt(3), abs=1e-5)
    error = np.sqrt(1 / 3 + 1.959964**2 / 4)
    assert found.upper_interval[1] - found.upper == pytest.approx(4.302653 * error, abs=1e-5)


def test_most_differences_lie_within_the_limits(rng) -> None:
    a = rng.standard_normal(4000)
    b = a + 0.3 + rng.standard_normal(4000)
    found = bland_altman(a, b)
    assert np.mean((b - a > found.lower) & (b - a < found.upper)) == pytest.approx(0.95, abs=0.01)


def test_the_interval_of_a_limit_covers(rng) -> None:
    covered = []
    for _ in range(1000):
        found = bland_altman(np.zeros(40), rng.standard_normal(40))
        covered.append(found.upper_interval[0] <= 1.959964 <= found.upper_interval[1])
    assert 0.93 <= np.mean(covered) <= 0.97


def test_icc_of_the_published_table() -> None:
    """Published: 0.29, 95 % interval 0.02 to 0.76."""
    found = icc_agreement(JUDGES)
    assert found.value == pytest.approx(0.2898, abs=1e-4)
    assert found.interval == pytest.approx((0.0188, 0.7611), abs=2e-4)
    assert (found.n, found.raters) == (6, 4)


def test_perfect_agreement_is_one_and_a_constant_shift_lowers_it() -> None:
    once = np.arange(10.0)
    assert icc_agreement(np.stack([once, once], axis=1)).value == 1.0
    thirds = np.linspace(14.0, 16.0, 12)  # whose mean is not exact in binary
    assert icc_agreement(np.stack([thirds, thirds], axis=1)).value == 1.0
    shifted = icc_agreement(np.stack([once, once + 5.0], axis=1))
    assert shifted.value == pytest.approx(9.1666667 / (9.1666667 + 12.5), abs=1e-6)


def test_the_interval_of_the_correlation_covers(rng) -> None:
    """Variance 1 between subjects and 1 of noise, no rater effect: the correlation is 1/2."""
    covered = []
    for _ in range(1000):
        table = rng.standard_normal((40, 1)) + rng.standard_normal((40, 3))
        low, high = icc_agreement(table).interval
        covered.append(low <= 0.5 <= high)
    assert 0.93 <= np.mean(covered) <= 0.97


@pytest.mark.parametrize("ratings", [np.ones((4, 2)), np.ones((1, 2)), np.array([[1.0, np.nan], [2.0, 3.0]])])
def test_ratings_without_a_correlation_are_refused(ratings: np.ndarray) -> None:
    with pytest.raises(DataError, match="no correlation"):
        icc_agreement(ratings)


def test_pairs_must_be_whole() -> None:
    with pytest.raises(DataError, match="equal counts"):
        bland_altman([1.0, 2.0], [1.0, 2.0, 3.0])
