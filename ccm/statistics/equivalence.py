"""Two one-sided tests (TOST): is a difference shown to be smaller than a margin?

A t-test that finds no difference shows nothing: small samples never find one. TOST (Schuirmann 1987) turns
the burden round. Both one-sided tests at 5 % reject exactly when the 90 % interval of the difference lies
inside the margin.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from ..errors import DataError
from .clusters import as_sample

ALPHA = 0.05


class Design(str, Enum):
    """Whether the two samples are measured on the same patients (or masks), or on different ones."""

    PAIRED = "paired"
    INDEPENDENT = "independent"


@dataclass(frozen=True)
class Margin:
    """The largest difference that still counts as none, and where that number comes from."""

    value: float
    source: str

    def __post_init__(self) -> None:
        if not (math.isfinite(self.value) and self.value > 0.0):
            raise DataError(f"The margin is {self.value}", fix="give a positive number")


@dataclass(frozen=True)
class EquivalenceTest:
    """Difference of means (b minus a), its 90 % interval, and the larger p of the two one-sided tests.

    `n_a` and `n_b` count independent units (patients), not frames.
    """

    design: Design
    difference: float
    standard_error: float
    df: float
    interval: tuple[float, float]
    p_value: float
    margin: Margin
    n_a: int
    n_b: int

    @property
    def shown(self) -> bool:
        """Whether equivalence is shown; False means "not shown", never "different"."""
        return self.p_value <= ALPHA


def tost_paired(
    a: Sequence[float] | np.ndarray, b: Sequence[float] | np.ndarray, margin: Margin
) -> EquivalenceTest:
    """TOST of the mean of b - a (Schuirmann 1987); element i of both [n] belongs to one patient, n >= 2.

    Raises DataError for counts that differ, fewer than 2 values, and values that are not finite.
    """
    a, b = as_sample("The first sample", a, 2), as_sample("The second sample", b, 2)
    if len(a) != len(b):
        raise DataError(f"Pairs need equal counts, not {len(a)} and {len(b)}", fix="pass whole pairs")
    change = b - a
    error = float(change.std(ddof=1)) / math.sqrt(len(change))
    return _tost(Design.PAIRED, float(change.mean()), error, len(change) - 1, margin, (len(a), len(b)))


def tost_welch(
    a: Sequence[float] | np.ndarray, b: Sequence[float] | np.ndarray, margin: Margin
) -> EquivalenceTest:
    """TOST of mean(b) - mean(a) of independent patients [n_a], [n_b], variances unequal (Welch 1947).

    Raises DataError for fewer than 2 values and for values that are not finite.
    """
    a, b = as_sample("The first sample", a, 2), as_sample("The second sample", b, 2)
    shares = a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)
    error = math.sqrt(sum(shares))
    df = welch_df(shares, (len(a), len(b)))
    return _tost(Design.INDEPENDENT, float(b.mean() - a.mean()), error, df, margin, (len(a), len(b)))


def welch_df(shares: tuple[float, float], n: tuple[int, int]) -> float:
    """Degrees of freedom after Satterthwaite (1946) from the two squared standard errors of the means."""
    spread = sum(share**2 / (count - 1) for share, count in zip(shares, n, strict=True))
    return sum(shares) ** 2 / spread if spread > 0.0 else float(sum(n) - 2)


def intersection_union(tests: Sequence[EquivalenceTest]) -> float:
    """p of the claim that all tests hold together: their largest p, without correction (Berger 1982).

    Raises DataError where there is no test.
    """
    if not tests:
        raise DataError("No test was made, so nothing can be claimed", fix="test at least one biomarker")
    return max(test.p_value for test in tests)


def _tost(
    design: Design, difference: float, error: float, df: float, margin: Margin, n: tuple[int, int]
) -> EquivalenceTest:
    from scipy.stats import t

    if error == 0.0:  # every patient differs by the same amount: no doubt is left
        p = 0.0 if abs(difference) < margin.value else 1.0
    else:
        p = float(t.sf((margin.value - abs(difference)) / error, df))
    reach = float(t.ppf(1.0 - ALPHA, df)) * error
    interval = difference - reach, difference + reach
    return EquivalenceTest(design, difference, error, df, interval, p, margin, *n)
