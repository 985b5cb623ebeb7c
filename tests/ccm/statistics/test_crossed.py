"""The bootstrap over several kinds of units: what is drawn, its degrees of freedom, and how often it covers."""

from __future__ import annotations

import numpy as np
import pytest
from ccm_pack.ccm.errors import DataError
from ccm_pack.ccm.statistics.crossed import CrossedResult, crossed_bootstrap


def mean_of(values: np.ndarray):
    """Weighted mean of values [units of stratum 0, of stratum 1, ...]."""

    def statistic(weights) -> float:
        total = values
        for one in weights:
            total = np.tensordot(one / one.sum(), total, axes=(0, 0))
        return float(total)

    return statistic


def test_every_stratum_is_drawn_with_replacement(rng) -> None:
    seen = []
    crossed_bootstrap([3, 5], lambda w: float(seen.append([one.tolist() for one in w]) or 0.0), rng, 50)
    drawn = seen[1 + 3 + 5 :]  # after all units, and all but one
    assert len(drawn) == 50
    assert all(sum(one) == 3 and sum(other) == 5 for one, other in drawn)
    assert seen[:2] == [[[1.0] * 3, [1.0] * 5], [[0.0, 1.0, 1.0], [1.0] * 5]]


def test_one_stratum_has_the_standard_error_and_the_freedom_of_its_mean(rng) -> None:
    values = rng.standard_normal(12)
    found = crossed_bootstrap([12], mean_of(values), rng, 200)
    assert found.value == pytest.approx(values.mean())
    assert found.variances[0] == pytest.approx(values.var(ddof=1) / 12)
    assert found.df == pytest.approx(11)


def test_six_values_have_nearly_the_interval_of_student(rng) -> None:
    """t(5) reaches 2.571, where a plain percentile interval reaches 1.96 sqrt(5 / 6) = 1.79 standard errors."""
    values = np.array([-2.0, -1.0, -0.5, 0.5, 1.0, 2.0])
    found = crossed_bootstrap([6], mean_of(values), rng, 20_000)
    error = np.sqrt(values.var(ddof=1) / 6)
    assert found.interval[1] / error == pytest.approx(2.571, rel=0.12)
    assert found.interval[0] == pytest.approx(-found.interval[1], rel=0.1)


def test_units_that_do_not_matter_take_no_share_of_the_variance(rng) -> None:
    values = np.repeat(rng.standard_normal((8, 1)), 5, axis=1)
    found = crossed_bootstrap([8, 5], mean_of(values), rng, 200)
    assert found.variances[1] == pytest.approx(0.0, abs=1e-20)
    assert found.df == pytest.approx(7)


def test_a_statistic_that_never_varies_has_a_point_interval(rng) -> None:
    found = crossed_bootstrap([4, 5], lambda weights: 0.25, rng, 50)
    assert found.interval == (0.25, 0.25) and found.value == 0.25


def test_a_stratum_of_one_is_refused(rng) -> None:
    with pytest.raises(DataError, match="A stratum has 1 unit"):
        crossed_bootstrap([4, 1], lambda weights: 0.0, rng)


def study(rng: np.random.Generator, of_seeds: float, resamples: int) -> CrossedResult:
    """A difference on 24 patients of three cohorts and from 5 seeds, the truth being 0; patients vary by 1."""
    patients, seeds = rng.standard_normal((24, 1)), of_seeds * rng.standard_normal((1, 5))
    values = patients + seeds + 0.5 * rng.standard_normal((24, 5))

    def difference(weights) -> float:
        of_patients = np.concatenate(weights[:3])
        return float(of_patients @ values @ weights[3] / (of_patients.sum() * weights[3].sum()))

    return crossed_bootstrap([8, 8, 8, 5], difference, rng, resamples)


def coverage(rng: np.random.Generator, studies: int, of_seeds: float, resamples: int) -> float:
    found = [study(rng, of_seeds, resamples).interval for _ in range(studies)]
    return float(np.mean([low <= 0.0 <= high for low, high in found]))


def test_the_interval_covers_where_patients_and_seeds_vary(rng) -> None:
    assert 0.90 <= coverage(rng, 200, of_seeds=0.3, resamples=200) <= 0.99


@pytest.mark.soak
@pytest.mark.parametrize("of_seeds", [0.0, 0.1, 0.3])
def test_the_interval_covers_in_many_studies(rng, of_seeds: float) -> None:
    assert 0.93 <= coverage(rng, 1500, of_seeds, resamples=500) <= 0.97
