"""Bootstrap over clusters (patients): intervals of statistics that have no formula."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import DataError

LEVEL = 0.95


@dataclass(frozen=True)
class BootstrapResult:
    """A statistic and its 95 % interval from resampled clusters; `share_above_zero` of the resamples."""

    value: float
    interval: tuple[float, float]
    share_above_zero: float
    clusters: int
    resamples: int


def cluster_bootstrap(
    clusters: Sequence[str],
    statistic: Callable[[np.ndarray], float],
    rng: np.random.Generator,
    resamples: int = 2000,
) -> BootstrapResult:
    """BCa interval (Efron 1987) of `statistic(indices)`, drawing whole clusters with replacement.

    `clusters` names the cluster of each frame [N]; `statistic` gets the indices of the frames in a resample,
    a frame as often as its cluster was drawn. Bias is corrected by the resamples, skewness by leaving out one
    cluster at a time. Raises DataError below 3 clusters.
    """
    groups = group_indices(clusters)
    if len(groups) < 3:
        raise DataError(
            f"{len(groups)} clusters cannot be resampled", fix="pass frames of at least 3 patients"
        )
    value = statistic(np.arange(len(clusters)))
    drawn = rng.integers(len(groups), size=(resamples, len(groups)))
    found = np.array([statistic(np.concatenate([groups[i] for i in row])) for row in drawn])
    left_out = np.array([statistic(np.concatenate(groups[:i] + groups[i + 1 :])) for i in range(len(groups))])
    low, high = np.quantile(found, _shares(value, found, left_out))
    above = float((found > 0.0).mean())
    return BootstrapResult(float(value), (float(low), float(high)), above, len(groups), resamples)


def group_indices(clusters: Sequence[str]) -> list[np.ndarray]:
    """Indices [n] of the n members of each cluster."""
    _, member, sizes = np.unique(np.asarray(clusters), return_inverse=True, return_counts=True)
    return np.split(np.argsort(member, kind="stable"), np.cumsum(sizes)[:-1])


def _shares(value: float, found: np.ndarray, left_out: np.ndarray) -> np.ndarray:
    """The two quantiles of the resamples that bound the interval (Efron 1987, eq. 2.3)."""
    from scipy.stats import norm

    below = (np.count_nonzero(found < value) + 0.5 * np.count_nonzero(found == value)) / len(found)
    bias = norm.ppf(np.clip(below, 0.5 / len(found), 1.0 - 0.5 / len(found)))
    pull = left_out.mean() - left_out
    spread = float((pull**2).sum()) ** 1.5
    skew = float((pull**3).sum()) / (6.0 * spread) if spread > 0.0 else 0.0
    edge = bias + norm.ppf([(1.0 - LEVEL) / 2.0, (1.0 + LEVEL) / 2.0])
    return norm.cdf(bias + edge / (1.0 - skew * edge))
