"""A mean with its interval, over independent units."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .clusters import as_sample


@dataclass(frozen=True)
class MeanInterval:
    """Mean of n units with its 95 % interval, which one single unit does not have."""

    mean: float
    interval: tuple[float, float] | None
    n: int


def mean_interval(values: Sequence[float] | np.ndarray) -> MeanInterval:
    """Mean +- t(0.975, n - 1) s / sqrt(n) of independent units [n], n >= 1; raises DataError on none and on NaN."""
    from scipy.stats import t

    sample = as_sample("The sample", values, 1)
    mean, n = float(sample.mean()), len(sample)
    if n == 1:
        return MeanInterval(mean, None, 1)
    reach = float(t.ppf(0.975, n - 1)) * float(sample.std(ddof=1)) / math.sqrt(n)
    return MeanInterval(mean, (mean - reach, mean + reach), n)
