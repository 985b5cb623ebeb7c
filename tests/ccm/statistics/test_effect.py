"""Hedges' g against statsmodels, by hand, and by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from ccm_pack.ccm.errors import DataError
from ccm_pack.ccm.statistics.effect import hedges_g, small_sample_factor


def test_the_factor_at_two_and_four_degrees_of_freedom() -> None:
    """Gamma(1) / (1 Gamma(1/2)) and Gamma(2) / (sqrt 2 Gamma(3/2))."""
    assert small_sample_factor(2) == pytest.approx(1.0 / math.sqrt(math.pi))
    assert small_sample_factor(4) == pytest.approx(1.0 / (math.sqrt(2.0) * math.sqrt(math.pi) / 2.0))


def test_two_small_samples_by_hand() -> None:
    """Means 2 and 4, pooled sd 1: d = 2."""
    found = hedges_g([1.0, 2.0, 3.0], [3.0, 4.0, 5.0])
    assert found.g == pytest.approx(2.0 * small_sample_factor(4))
    assert found.interval[0] < found.g < found.interval[1]
    assert (found.n_a, found.n_b) == (3, 3)


def test_equals_statsmodels_up_to_its_approximate_factor(rng) -> None:
    meta = pytest.importorskip("statsmodels.stats.meta_analysis", reason="statsmodels is not installed")
    a, b = rng.standard_normal(30), 0.7 + 2.0 * rng.standard_normal(45)
    truth, _ = meta.effectsize_smd(b.mean(), b.std(ddof=1), 45, a.mean(), a.std(ddof=1), 30)
    theirs = 1.0 - 3.0 / (4.0 * 75 - 9.0)
    assert hedges_g(a, b).g / small_sample_factor(73) == pytest.approx(truth / theirs, rel=1e-9)


def test_it_is_unbiased_and_its_interval_covers(rng) -> None:
    found = [hedges_g(rng.standard_normal(8), 0.8 + rng.standard_normal(10)) for _ in range(600)]
    values = np.array([one.g for one in found])
    assert values.mean() == pytest.approx(0.8, abs=3.5 * values.std() / math.sqrt(600))
    d = [np.array(one.interval) / small_sample_factor(16) for one in found]
    assert 0.93 <= np.mean([low <= 0.8 <= high for low, high in d]) <= 0.97


@pytest.mark.parametrize("shift", [0.5, 2.0, 4.0, 12.0])
def test_the_samples_exchanged_give_the_interval_mirrored(shift: float) -> None:
    a = np.linspace(-1.0, 1.0, 8)
    more, less = hedges_g(a, a + shift), hedges_g(a + shift, a)
    assert more.interval[0] < more.g < more.interval[1]
    assert less.interval == pytest.approx((-more.interval[1], -more.interval[0]))


def test_samples_without_spread_have_no_effect_size() -> None:
    with pytest.raises(DataError, match="Neither sample varies"):
        hedges_g([1.0, 1.0], [2.0, 2.0])
