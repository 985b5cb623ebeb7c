"""How likely a test is to show what is there, and how many patients that takes: TOST, and a plain gain."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ..errors import DataError
from .equivalence import ALPHA, welch_df

NODES = 400  # of the quadrature over the sampling distribution of the standard error: 1e-6
MOST_PATIENTS = 1_000_000


def power_paired(sd: float, n: int, margin: float, difference: float = 0.0) -> float:
    """Power of the paired TOST with n patients whose paired differences have this standard deviation."""
    return tost_power(_positive(sd) / math.sqrt(n), n - 1, margin, difference)


def power_welch(
    sds: tuple[float, float], n: tuple[int, int], margin: float, difference: float = 0.0
) -> float:
    """Power of the Welch TOST with n patients a side and the standard deviations between patients."""
    shares = _positive(sds[0]) ** 2 / n[0], _positive(sds[1]) ** 2 / n[1]
    return tost_power(math.sqrt(sum(shares)), welch_df(shares, n), margin, difference)


def patients_paired(sd: float, margin: float, difference: float = 0.0, power: float = 0.8) -> int:
    """Smallest number of pairs that reaches this power."""
    return _smallest(lambda n: power_paired(sd, n, margin, difference), power, margin, difference)


def patients_welch(
    sds: tuple[float, float], margin: float, difference: float = 0.0, power: float = 0.8
) -> int:
    """Smallest number of patients on each side that reaches this power."""
    return _smallest(lambda n: power_welch(sds, (n, n), margin, difference), power, margin, difference)


def tost_power(standard_error: float, df: float, margin: float, difference: float = 0.0) -> float:
    """P(the 90 % interval lies inside the margin) for a true difference and a true standard error.

    Given the estimated error s the estimate must lie within margin - t s; s^2 / standard_error^2 is
    chi-squared / df. The normal probability is averaged over that distribution (Phillips 1990, by
    quadrature over its quantiles in place of Owen's Q).
    """
    from scipy.stats import chi2, norm, t

    points, weights = np.polynomial.legendre.leggauss(NODES)
    estimated = standard_error * np.sqrt(chi2.ppf((points + 1.0) / 2.0, df) / df)
    reach = np.maximum(margin - t.ppf(1.0 - ALPHA, df) * estimated, 0.0)
    inside = norm.cdf((reach - difference) / standard_error) - norm.cdf(
        (-reach - difference) / standard_error
    )
    return float(weights @ inside / 2.0)


def power_gain(sd: float, n: int, gain: float, fixed_error: float = 0.0, fixed_df: float = math.inf) -> float:
    """P(the 95 % interval of a mean of n patients lies above 0), where their mean is `gain` and their spread sd.

    `fixed_error` is a standard error that more patients do not lower, as that of repeated trainings, with its own
    degrees of freedom; both together have those after Satterthwaite (1946).
    """
    from scipy.stats import nct, t

    own, fixed = _positive(sd) ** 2 / n, fixed_error**2
    df = (own + fixed) ** 2 / (own**2 / (n - 1) + fixed**2 / fixed_df)
    return float(nct.sf(t.ppf(0.975, df), df, gain / math.sqrt(own + fixed)))


def patients_gain(
    sd: float, gain: float, fixed_error: float = 0.0, fixed_df: float = math.inf, power: float = 0.8
) -> int:
    """Smallest number of patients with which a gain above 0 is shown with this power; raises DataError if none is."""
    if not (gain > 0.0 and 0.0 < power < 1.0):
        raise DataError(
            f"No number of patients shows a gain of {gain} with power {power}", fix="expect a gain above 0"
        )
    return _fewest(
        lambda n: power_gain(sd, n, gain, fixed_error, fixed_df),
        power,
        "expect a larger gain, or train more seeds",
    )


def _smallest(power_of: Callable[[int], float], wanted: float, margin: float, difference: float) -> int:
    if abs(difference) >= margin or not 0.0 < wanted < 1.0:
        raise DataError(
            f"No number of patients gives power {wanted} at a difference of {difference} and a margin of {margin}",
            fix="use a margin above the difference and a power between 0 and 1",
        )
    return _fewest(power_of, wanted, "use a wider margin")


def _fewest(power_of: Callable[[int], float], wanted: float, fix: str) -> int:
    high = 2
    while power_of(high) < wanted:
        high *= 2
        if high > MOST_PATIENTS:
            raise DataError(f"It takes over {MOST_PATIENTS} patients", fix=fix)
    low = max(high // 2, 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power_of(middle) >= wanted else (middle, high)
    return high


def _positive(sd: float) -> float:
    if not (math.isfinite(sd) and sd > 0.0):
        raise DataError(f"The standard deviation is {sd}", fix="give a positive number")
    return sd
