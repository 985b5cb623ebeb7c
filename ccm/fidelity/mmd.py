"""Unbiased squared maximum mean discrepancy with a mixture of Gaussian kernels: the headline distance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import ImageError
from .features import ExtractorId, FeatureSet, check_comparable
from .two_sample import TwoSampleResult, two_sample

SCALES = (0.5, 1.0, 2.0)


@dataclass(frozen=True)
class MMDResult:
    """Unbiased MMD^2 (0 on average without a difference; at most 2), its permutation p and its interval."""

    statistics: TwoSampleResult
    kernel: str
    bandwidth: float  # sigma, in feature units
    n_a: int
    n_b: int
    dimension: int
    extractor: ExtractorId


def mmd(a: FeatureSet, b: FeatureSet, rng: np.random.Generator, permutations: int = 999) -> MMDResult:
    """Unbiased MMD^2 of two feature sets (Gretton et al. 2012) under a mixture of Gaussian kernels.

    k(x, y) = mean over s of exp(-|x - y|^2 / (2 (s sigma)^2)), s = 1/2, 1, 2, where sigma is the median
    distance between pooled frames. A Gaussian kernel is characteristic (it misses no difference between
    distributions) and bounded (no single odd frame decides), which KID's cubic kernel is not. The median
    frees the value from the features' scale; taken over the pooled frames it does not depend on who is in
    which set, so that the permutation p stays exact. The mixture guards against a median that falls between
    two well separated clusters.

    Raises ImageError if more than half of all pairs of frames have the same features, and as `two_sample`
    does.
    """
    check_comparable(a, b)
    squared = squared_distances(np.concatenate([a.values, b.values]))
    sigma = median_distance(squared)
    return MMDResult(
        statistics=two_sample(a, b, gaussian_mixture(squared, sigma), rng, permutations),
        kernel="mean of Gaussians, sigma = {} x the pooled median distance {:.4g}".format(
            ", ".join(f"{scale:g}" for scale in SCALES), sigma
        ),
        bandwidth=sigma,
        n_a=len(a),
        n_b=len(b),
        dimension=a.values.shape[1],
        extractor=a.extractor,
    )


def squared_distances(values: np.ndarray) -> np.ndarray:
    """Squared Euclidean distances [N,N] between rows [N,d]; rounding below 0 is set to the true bound 0."""
    centred = values - values.mean(axis=0)
    norms = np.einsum("nd,nd->n", centred, centred)
    squared = norms[:, None] + norms[None, :] - 2.0 * (centred @ centred.T)
    np.fill_diagonal(squared, 0.0)
    return np.maximum(squared, 0.0, out=squared)


def median_distance(squared: np.ndarray) -> float:
    """Median distance between two different frames of squared distances [N,N]; ImageError if it is 0."""
    n = len(squared)
    off_diagonal = squared.ravel()[1:].reshape(n - 1, n + 1)[:, :-1]
    sigma = float(np.median(np.sqrt(off_diagonal)))
    if sigma <= 1e-6 * np.sqrt(squared.max(initial=0.0)):
        raise ImageError(
            "More than half of all pairs of frames have the same features",
            fix="check that the frames are not copies of one frame",
        )
    return sigma


def gaussian_mixture(squared: np.ndarray, sigma: float) -> np.ndarray:
    """Kernel matrix [N,N] of squared distances [N,N]: the mean of exp(-squared / (2 (s sigma)^2)) over SCALES."""
    kernel = np.zeros_like(squared)
    for scale in SCALES:
        kernel += np.exp(squared / (-2.0 * (scale * sigma) ** 2))
    return kernel / len(SCALES)
