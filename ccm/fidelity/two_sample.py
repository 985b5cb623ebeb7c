"""Unbiased kernel two-sample statistics with the subject as the unit: estimate, permutation p, interval.

MMD^2 = E k(x, x') + E k(y, y') - 2 E k(x, y) is estimated from the pairs of frames that belong to two
*different subjects* only (Gretton et al. 2012, eq. 3, with subjects in place of samples). Pairs inside a
subject are no independent draws: counted, they make every clustered set look far from every other. The same
rule removes the frame-to-frame pairs of mask-paired sets.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import ImageError
from .features import FeatureSet, check_comparable

CHUNK = 64  # weight vectors per matrix product: bounds memory at 64 x N
INTERVAL_SUBJECTS = 40
INTERVAL_NULL_SDS = 8.0


@dataclass(frozen=True)
class TwoSampleResult:
    """An unbiased squared kernel distance; negative values are as natural as positive ones near zero.

    `p_value` is the share of relabellings, the observed one included, that reach `value`. `interval` covers
    the true value in 95 % of studies (jackknife over subjects, Student's t); it is None where it would not:
    with fewer than 40 subjects on a side, or with a value so close to zero that the statistic is degenerate
    and only p speaks.
    """

    value: float
    p_value: float
    permutations: int
    interval: tuple[float, float] | None
    subjects_a: int
    subjects_b: int
    shared_subjects: int


def frames_by_subject(subjects: Sequence[str] | None, frames: int) -> list[np.ndarray]:
    """Indices [n] of the n frames of each subject; where subjects are unknown every frame is its own."""
    if subjects is None:
        return [np.array([index]) for index in range(frames)]
    _, subject, sizes = np.unique(np.asarray(subjects), return_inverse=True, return_counts=True)
    return np.split(np.argsort(subject, kind="stable"), np.cumsum(sizes)[:-1])


def two_sample(
    a: FeatureSet, b: FeatureSet, kernel: np.ndarray, rng: np.random.Generator, permutations: int
) -> TwoSampleResult:
    """Compare two feature sets by the kernel matrix [N,N] over the frames of a followed by those of b.

    A subject that occurs in both sets (paired sets) keeps its frames together: a relabelling swaps its two
    sides. Raises ImageError where a set holds fewer than two subjects, for then no independent pair exists.
    """
    check_comparable(a, b)
    pool = _Pool.of(a, b)
    statistic = _Statistic(kernel[np.ix_(pool.index, pool.index)], pool.starts)
    in_a = pool.in_a.astype(np.float64)[None]
    value = float(statistic(in_a, 1.0 - in_a)[0])
    labels = pool.relabel(rng, permutations)
    null = statistic(labels, 1.0 - labels)
    reached = int(np.count_nonzero(null >= value - 1e-12 * max(1.0, abs(value))))
    normal = pool.independent >= INTERVAL_SUBJECTS and value > INTERVAL_NULL_SDS * null.std()
    left_out = statistic.without_each_subject(in_a[0], 1.0 - in_a[0])
    return TwoSampleResult(
        value=value,
        p_value=(1 + reached) / (1 + permutations),
        permutations=permutations,
        interval=pool.interval(value, left_out) if normal else None,
        subjects_a=pool.count(pool.has_a),
        subjects_b=pool.count(pool.has_b),
        shared_subjects=pool.count(pool.has_a & pool.has_b),
    )


@dataclass(frozen=True, eq=False)
class _Pool:
    """Both sets' frames sorted by subject: subject s owns frames starts[s] to starts[s + 1]."""

    index: np.ndarray  # [N] position of each sorted frame in a followed by b
    starts: np.ndarray  # [S]
    sizes: np.ndarray  # [S]
    in_a: np.ndarray  # [N] bool
    has_a: np.ndarray  # [S] bool
    has_b: np.ndarray  # [S] bool

    @classmethod
    def of(cls, a: FeatureSet, b: FeatureSet) -> _Pool:
        names = _names(a, "a") + _names(b, "b")
        groups = frames_by_subject(names, len(names))
        index = np.concatenate(groups)
        sizes = np.array([len(group) for group in groups])
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        in_a = index < len(a)
        has_a = np.logical_or.reduceat(in_a, starts)
        has_b = np.logical_or.reduceat(~in_a, starts)
        pool = cls(index, starts, sizes, in_a, has_a, has_b)
        for name, subjects in (("first", pool.count(has_a)), ("second", pool.count(has_b))):
            if subjects < 2:
                raise ImageError(
                    f"All frames of the {name} set come from one subject; no pair of them is independent",
                    fix="pass frames of at least 2 subjects per set",
                )
        return pool

    @property
    def independent(self) -> int:
        return min(self.count(self.has_a), self.count(self.has_b))

    @staticmethod
    def count(subjects: np.ndarray) -> int:
        return int(np.count_nonzero(subjects))

    def relabel(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Membership in a [count,N] under the null: unshared subjects change sets, shared ones swap sides."""
        shared = self.has_a & self.has_b
        flip = rng.random((count, len(shared))) < 0.5
        own = np.flatnonzero(~shared)
        dealt = rng.permuted(np.tile(self.has_a[own], (count, 1)), axis=1)
        flip[:, own] = dealt ^ self.has_a[own]
        return (self.in_a ^ np.repeat(flip, self.sizes, axis=1)).astype(np.float64)

    def interval(self, value: float, left_out: np.ndarray) -> tuple[float, float]:
        """95 % interval from the value and the values [S] without each subject, jackknifed by stratum."""
        from scipy.stats import t

        shared = self.has_a & self.has_b
        variance = 0.0
        for stratum in (self.has_a & ~shared, self.has_b & ~shared, shared):
            values = left_out[stratum]
            if len(values):
                variance += (len(values) - 1) * float(values.var())
        reach = float(t.ppf(0.975, self.independent - 1)) * math.sqrt(variance)
        return value - reach, value + reach


class _Statistic:
    """Unbiased MMD^2 for weighted memberships, from one kernel matrix over frames sorted by subject."""

    def __init__(self, kernel: np.ndarray, starts: np.ndarray) -> None:
        self._starts = starts
        self._kernel = kernel
        for start, stop in zip(starts, [*starts[1:], len(kernel)], strict=True):
            kernel[start:stop, start:stop] = 0.0

    def __call__(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """MMD^2 [count] for weights of set a and set b, each [count,N]."""
        parts = [slice(start, start + CHUNK) for start in range(0, len(a), CHUNK)]
        return np.concatenate([self._chunk(a[part], b[part]) for part in parts])

    def _chunk(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        to_a, to_b = a @ self._kernel, b @ self._kernel
        within = self._mean(to_a, a, a) + self._mean(to_b, b, b)
        return within - 2.0 * self._mean(to_a, a, b)

    def _mean(self, to_one: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Mean kernel over the pairs of `one` and `other` from two different subjects."""
        by_one = np.add.reduceat(one, self._starts, axis=1)
        by_other = np.add.reduceat(other, self._starts, axis=1)
        pairs = one.sum(axis=1) * other.sum(axis=1) - (by_one * by_other).sum(axis=1)
        return (to_one * other).sum(axis=1) / pairs

    def without_each_subject(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """MMD^2 [S] with each subject left out in turn, for memberships of set a and set b, each [N]."""
        return self._mean_without(a, a) + self._mean_without(b, b) - 2.0 * self._mean_without(a, b)

    def _mean_without(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        to_one, to_other = self._kernel @ one, self._kernel @ other
        lost = np.add.reduceat(one * to_other + other * to_one, self._starts)
        by_one, by_other = np.add.reduceat(one, self._starts), np.add.reduceat(other, self._starts)
        inside = by_one @ by_other - by_one * by_other
        pairs = (one.sum() - by_one) * (other.sum() - by_other) - inside
        sums = one @ to_other - lost
        return np.divide(sums, pairs, out=np.full_like(sums, np.nan), where=pairs > 0)


def _names(features: FeatureSet, side: str) -> list[str]:
    """Subject of each frame; unnamed frames get names of their own that no other set can share."""
    if features.subjects is None:
        return [f"{side}\0{index}" for index in range(len(features))]
    return list(features.subjects)
