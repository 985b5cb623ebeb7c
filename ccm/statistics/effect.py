"""The size of a difference in standard deviations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import DataError
from .clusters import as_sample


@dataclass(frozen=True)
class EffectSize:
    """Hedges' g of b against a, unbiased, with its 95 % interval."""

    g: float
    interval: tuple[float, float]
    n_a: int
    n_b: int


def hedges_g(a: Sequence[float] | np.ndarray, b: Sequence[float] | np.ndarray) -> EffectSize:
    """(mean(b) - mean(a)) / pooled sd, times Hedges' exact small-sample factor (Hedges 1981, eq. 4).

    The interval inverts the noncentral t distribution (equal variances); it carries the same factor. Raises
    DataError where neither sample [n_a], [n_b] varies.
    """
    a, b = as_sample("The first sample", a, 2), as_sample("The second sample", b, 2)
    df = len(a) + len(b) - 2
    pooled = math.sqrt(((len(a) - 1) * a.var(ddof=1) + (len(b) - 1) * b.var(ddof=1)) / df)
    if pooled == 0.0:
        raise DataError("Neither sample varies, so no spread scales the effect", fix="pass measured values")
    root = math.sqrt(len(a) * len(b) / (len(a) + len(b)))
    t = float(b.mean() - a.mean()) / pooled * root
    factor = small_sample_factor(df)
    low, high = (_noncentrality(t, df, share) for share in (0.975, 0.025))
    return EffectSize(factor * t / root, (factor * low / root, factor * high / root), len(a), len(b))


def small_sample_factor(df: int) -> float:
    """Gamma(df / 2) / (sqrt(df / 2) Gamma((df - 1) / 2)), the factor that makes g unbiased."""
    if df < 2:
        return 0.0  # the limit: one degree of freedom has no mean
    return math.exp(math.lgamma(df / 2.0) - math.lgamma((df - 1) / 2.0) - 0.5 * math.log(df / 2.0))


def _noncentrality(t: float, df: int, share: float) -> float:
    """The noncentrality under which this share of the distribution lies below t."""
    from scipy.optimize import root_scalar
    from scipy.stats import nct

    def excess(centre: float) -> float:
        below = float(nct.cdf(t, df, centre))
        if math.isnan(below):  # SciPy has no value in the far tails
            below = float(centre < t)
        return below - share

    reach = 10.0 + abs(t)
    return float(root_scalar(excess, bracket=(t - reach, t + reach)).root)
