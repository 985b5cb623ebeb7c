"""Bootstrap over several kinds of units at once, as patients and repeated trainings, each drawn with replacement.

A difference between two ways of training varies with the patients that it is tested on and with the seeds that it
is trained from. Patients are a stratum for each cohort, as their number there is fixed; the seeds are one more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import DataError
from .bootstrap import LEVEL


@dataclass(frozen=True)
class CrossedResult:
    """A statistic and its 95 % interval; `variances` are the shares of each stratum in its variance."""

    value: float
    interval: tuple[float, float]
    variances: tuple[float, ...]
    df: float
    resamples: int


def crossed_bootstrap(
    sizes: Sequence[int],
    statistic: Callable[[Sequence[np.ndarray]], float],
    rng: np.random.Generator,
    resamples: int = 1000,
) -> CrossedResult:
    """Interval of `statistic(weights)`; weights[k] [sizes[k]] says how often each unit of stratum k is drawn.

    All strata are drawn at once and independently (the pigeonhole bootstrap, Owen 2007). Quantiles are corrected
    for bias, skewness (Efron 1987) and few units: the normal quantile becomes that of t with the degrees of
    freedom after Satterthwaite (1946), and is widened by what drawing from n units in place of infinitely many
    narrows (Hesterberg 2015). Raises DataError where a stratum has one unit only.
    """
    if min(sizes) < 2:
        raise DataError(f"A stratum has {min(sizes)} unit", fix="bring at least 2 patients of every cohort")
    ones = [np.ones(size) for size in sizes]
    value = statistic(ones)
    pulls = [_pulls(k, ones, statistic) for k in range(len(sizes))]
    variances = [(len(p) - 1) / len(p) * float((p**2).sum()) for p in pulls]
    found = np.array(
        [
            statistic([rng.multinomial(n, np.full(n, 1.0 / n)).astype(float) for n in sizes])
            for _ in range(resamples)
        ]
    )
    df = _degrees_of_freedom(variances, sizes)
    low, high = np.quantile(found, _shares(value, found, pulls, variances, df))
    return CrossedResult(value, (float(low), float(high)), tuple(variances), df, resamples)


def _pulls(k: int, ones: list[np.ndarray], statistic: Callable[[Sequence[np.ndarray]], float]) -> np.ndarray:
    """How far each unit of stratum k pulls the statistic: the mean without one unit, less that without this one."""
    without = []
    for unit in range(len(ones[k])):
        weights = list(ones)
        weights[k] = np.where(np.arange(len(ones[k])) == unit, 0.0, 1.0)
        without.append(statistic(weights))
    return np.mean(without) - np.array(without)


def _degrees_of_freedom(variances: Sequence[float], sizes: Sequence[int]) -> float:
    total = sum(variances)
    spread = sum(v**2 / (n - 1) for v, n in zip(variances, sizes, strict=True))
    return total**2 / spread if spread > 0.0 else math.inf


def _shares(
    value: float, found: np.ndarray, pulls: list[np.ndarray], variances: Sequence[float], df: float
) -> np.ndarray:
    """The two quantiles of the resamples that bound the interval."""
    from scipy.stats import norm, t

    below = (np.count_nonzero(found < value) + 0.5 * np.count_nonzero(found == value)) / len(found)
    bias = norm.ppf(np.clip(below, 0.5 / len(found), 1.0 - 0.5 / len(found)))
    pull = np.concatenate(pulls)
    spread = float((pull**2).sum()) ** 1.5
    skew = float((pull**3).sum()) / (6.0 * spread) if spread > 0.0 else 0.0
    narrowed = sum(v * (len(p) - 1) / len(p) for v, p in zip(variances, pulls, strict=True))
    widening = math.sqrt(sum(variances) / narrowed) if narrowed > 0.0 else 1.0
    edge = bias + widening * t.ppf([(1.0 - LEVEL) / 2.0, (1.0 + LEVEL) / 2.0], df)
    return norm.cdf(bias + edge / (1.0 - skew * edge))
