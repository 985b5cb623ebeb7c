"""Do two measurements of the same patients agree? A description, no proof of equivalence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import DataError
from .clusters import as_sample

LIMIT = 1.959963984540054  # normal quantile 0.975: 95 % of differences lie within the limits
ROUNDING = 1e-14  # mean squares this much below those between subjects are those of equal columns


@dataclass(frozen=True)
class BlandAltman:
    """Bias (mean of b - a) and 95 % limits of agreement in the values' unit, each with a 95 % interval."""

    bias: float
    bias_interval: tuple[float, float]
    lower: float
    lower_interval: tuple[float, float]
    upper: float
    upper_interval: tuple[float, float]
    sd: float
    n: int


@dataclass(frozen=True)
class ICC:
    """Intraclass correlation of n subjects and k raters, with its 95 % interval."""

    value: float
    interval: tuple[float, float]
    n: int
    raters: int


def bland_altman(a: Sequence[float] | np.ndarray, b: Sequence[float] | np.ndarray) -> BlandAltman:
    """Limits of agreement of paired values [n], n >= 2 (Bland and Altman 1999, section 2).

    Intervals of the limits use their approximate standard error sd sqrt(1 / n + 1.96^2 / (2 (n - 1))).
    Raises DataError for counts that differ, fewer than 2 values, and values that are not finite.
    """
    from scipy.stats import t

    a, b = as_sample("The first sample", a, 2), as_sample("The second sample", b, 2)
    if len(a) != len(b):
        raise DataError(f"Pairs need equal counts, not {len(a)} and {len(b)}", fix="pass whole pairs")
    change, n = b - a, len(a)
    bias, sd = float(change.mean()), float(change.std(ddof=1))
    quantile = float(t.ppf(0.975, n - 1))
    of_bias = quantile * sd / math.sqrt(n)
    of_limit = quantile * sd * math.sqrt(1.0 / n + LIMIT**2 / (2.0 * (n - 1)))
    lower, upper = bias - LIMIT * sd, bias + LIMIT * sd
    return BlandAltman(
        bias=bias,
        bias_interval=(bias - of_bias, bias + of_bias),
        lower=lower,
        lower_interval=(lower - of_limit, lower + of_limit),
        upper=upper,
        upper_interval=(upper - of_limit, upper + of_limit),
        sd=sd,
        n=n,
    )


def icc_agreement(ratings: np.ndarray) -> ICC:
    """Absolute agreement of single ratings [n,k], raters a random sample: ICC(2,1) of Shrout and Fleiss (1979).

    Interval: McGraw and Wong (1996), table 7, case 2A. Raises DataError below 2 subjects or raters and where
    all ratings are equal.
    """
    from scipy.stats import f

    table = np.asarray(ratings, dtype=np.float64)
    if table.ndim != 2 or min(table.shape) < 2 or not np.isfinite(table).all() or np.ptp(table) == 0.0:
        raise DataError(
            f"Ratings of shape {table.shape} have no correlation",
            fix="pass finite, differing ratings [subjects, raters], at least 2 x 2",
        )
    n, k = table.shape
    rows, columns, rest = _mean_squares(table)
    if max(rest, columns) <= ROUNDING * rows:
        return ICC(1.0, (1.0, 1.0), n, k)
    value = (rows - rest) / (rows + (k - 1) * rest + k * (columns - rest) / n)
    a, b = k * value / (n * (1.0 - value)), 1.0 + k * value * (n - 1) / (n * (1.0 - value))
    df = (a * columns + b * rest) ** 2 / (
        (a * columns) ** 2 / (k - 1) + (b * rest) ** 2 / ((n - 1) * (k - 1))
    )
    spread = k * columns + (k * n - k - n) * rest
    low, high = float(f.ppf(0.975, n - 1, df)), float(f.ppf(0.975, df, n - 1))
    lower = n * (rows - low * rest) / (low * spread + n * rows)
    upper = n * (high * rows - rest) / (spread + n * high * rows)
    return ICC(float(value), (float(lower), float(upper)), n, k)


def _mean_squares(table: np.ndarray) -> tuple[float, float, float]:
    """Mean squares between subjects, between raters and of the rest, of ratings [n,k]."""
    n, k = table.shape
    mean, by_row, by_column = table.mean(), table.mean(axis=1), table.mean(axis=0)
    rows = k * float(((by_row - mean) ** 2).sum()) / (n - 1)
    columns = n * float(((by_column - mean) ** 2).sum()) / (k - 1)
    rest = table - by_row[:, None] - by_column[None, :] + mean
    return rows, columns, float((rest**2).sum()) / ((n - 1) * (k - 1))
