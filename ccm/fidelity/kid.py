"""Kernel Inception distance: unbiased MMD^2 with the cubic polynomial kernel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .features import ExtractorId, FeatureSet, check_comparable
from .two_sample import TwoSampleResult, two_sample


@dataclass(frozen=True)
class KIDResult:
    """Unbiased KID over all pairs (not over random subsets), its permutation p and its interval.

    `largest_share` is the share of the pooled sum of k(x, x) that one single frame contributes: the cubic
    kernel is unbounded, and where one frame holds much of it (above about 0.05 at 300 frames a side) the
    value is noise.
    """

    statistics: TwoSampleResult
    largest_share: float
    n_a: int
    n_b: int
    dimension: int
    extractor: ExtractorId


def kid(a: FeatureSet, b: FeatureSet, rng: np.random.Generator, permutations: int = 999) -> KIDResult:
    """Kernel distance of Binkowski et al. (2018): k(x, y) = (x . y / d + 1)^3, d features.

    Made for Inception's pooled features, which are non-negative and about 1 in size. Raises as `two_sample`
    does.
    """
    check_comparable(a, b)
    kernel = cubic(np.concatenate([a.values, b.values]))
    own = np.diagonal(kernel)
    return KIDResult(
        statistics=two_sample(a, b, kernel, rng, permutations),
        largest_share=float(own.max() / own.sum()),
        n_a=len(a),
        n_b=len(b),
        dimension=a.values.shape[1],
        extractor=a.extractor,
    )


def cubic(values: np.ndarray) -> np.ndarray:
    """Kernel matrix (x . y / d + 1)^3 [N,N] of rows [N,d]."""
    return (values @ values.T / values.shape[1] + 1.0) ** 3
