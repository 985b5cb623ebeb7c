"""Frechet distance between two sets of features, and the floor that real frames leave under it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .features import ExtractorId, FeatureSet, check_comparable
from .two_sample import frames_by_subject

WANTED = 1e-7  # the quick form is used where its error is below this share of the distance


@dataclass(frozen=True)
class FrechetResult:
    """Squared Frechet distance of the two fitted Gaussians, in squared feature units.

    `distance` = `mean_term` + `covariance_term` is never clamped: identical sets give 0 up to rounding,
    either sign. It is biased upwards at every finite N; read it beside a FrechetFloor only.
    """

    distance: float
    mean_term: float
    covariance_term: float
    n_a: int
    n_b: int
    dimension: int
    extractor: ExtractorId


@dataclass(frozen=True)
class FrechetFloor:
    """What real frames score against real frames, and generated against real, all at `n` frames a side.

    `real_real` and `real_generated` are means over `splits` random halves of the reference, each with its
    range. Halves are subject-disjoint where subjects are known.
    """

    real_real: float
    real_real_range: tuple[float, float]
    real_generated: float
    real_generated_range: tuple[float, float]
    n: int
    splits: int
    subject_disjoint: bool
    extractor: ExtractorId


def frechet_distance(a: FeatureSet, b: FeatureSet) -> FrechetResult:
    """Squared Frechet distance between the Gaussians fitted to two feature sets (Dowson and Landau 1982).

    |mu_a - mu_b|^2 + tr(S_a) + tr(S_b) - 2 tr (S_a S_b)^(1/2), with the unbiased covariances S (N - 1).
    Raises ImageError on fewer than two frames and ExtractorError on sets of different extractors.
    """
    check_comparable(a, b)
    mean_term, covariance_term = frechet_terms(a.values, b.values)
    return FrechetResult(
        mean_term + covariance_term,
        mean_term,
        covariance_term,
        len(a),
        len(b),
        a.values.shape[1],
        a.extractor,
    )


def frechet_terms(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Mean and covariance term of the squared Frechet distance between samples [N,d] and [M,d], in float64.

    Strategy: with roots R'R = S, tr (S_a S_b)^(1/2) is the sum of the singular values of R_a R_b'. The
    centred samples themselves are such roots, so no covariance matrix and no matrix square root is ever
    formed while min(N, M) <= d, where one is singular. Beyond that the squares of the singular values are
    eigenvalues of a symmetric matrix, found much sooner; where they are too small to be trusted, each root is
    reduced to d rows by QR.
    """
    a, b = a.astype(np.float64), b.astype(np.float64)
    offset = a.mean(axis=0) - b.mean(axis=0)
    mean_term = float(offset @ offset)
    root_a, root_b = _root(a), _root(b)
    if min(len(a), len(b)) > a.shape[1]:
        quick = _by_eigenvalues(root_a, root_b, mean_term)
        if quick is not None:
            return mean_term, quick
        root_a, root_b = _triangle(root_a), _triangle(root_b)
    overlap = np.linalg.svd(root_a @ root_b.T, compute_uv=False).sum()
    return mean_term, float(np.vdot(root_a, root_a) + np.vdot(root_b, root_b) - 2.0 * overlap)


def frechet_floor(
    reference: FeatureSet, generated: FeatureSet, rng: np.random.Generator, splits: int = 10
) -> FrechetFloor | None:
    """Score real against real and generated against real at one common N; None if a half has under two
    frames.

    Each split deals the reference's subjects (its frames, where subjects are unknown) into two halves and
    draws n frames from either half and from the generated set, n being the smallest of the three.
    """
    check_comparable(reference, generated)
    subjects = frames_by_subject(reference.subjects, len(reference))
    halves = [_halves(subjects, rng) for _ in range(splits)]
    n = min(len(generated), *(min(len(one), len(other)) for one, other in halves))
    if n < 2:
        return None
    real, fake = [], []
    for one, other in halves:
        base = reference.values[rng.choice(one, n, replace=False)]
        real.append(sum(frechet_terms(base, reference.values[rng.choice(other, n, replace=False)])))
        fake.append(sum(frechet_terms(base, generated.values[rng.choice(len(generated), n, replace=False)])))
    return FrechetFloor(
        real_real=float(np.mean(real)),
        real_real_range=(min(real), max(real)),
        real_generated=float(np.mean(fake)),
        real_generated_range=(min(fake), max(fake)),
        n=n,
        splits=splits,
        subject_disjoint=reference.subjects is not None,
        extractor=reference.extractor,
    )


def _root(samples: np.ndarray) -> np.ndarray:
    """The centred samples [N,d] scaled so that root' root is their unbiased covariance."""
    return (samples - samples.mean(axis=0)) / np.sqrt(len(samples) - 1)


def _triangle(root: np.ndarray) -> np.ndarray:
    """A root [d,d] of the same covariance as a root [N,d], exact to rounding."""
    return np.asarray(np.linalg.qr(root, mode="r"))


def _by_eigenvalues(root_a: np.ndarray, root_b: np.ndarray, mean_term: float) -> float | None:
    """Covariance term from the eigenvalues of L' S_b L, where S_a = L L'; None where that is not exact enough.

    Each eigenvalue x carries an error of about e = 1e-16 |S_a| |S_b|, and its root one of e / (2 sqrt x).
    """
    from scipy.linalg import get_lapack_funcs

    s_a, s_b = root_a.T @ root_a, root_b.T @ root_b
    try:
        factor = np.linalg.cholesky(s_a)
    except np.linalg.LinAlgError:  # singular: a duplicate or a dead feature
        return None
    (reduce,) = get_lapack_funcs(("sygst",), (s_b,))
    product, _ = reduce(s_b, factor, itype=3, lower=1)
    squares = np.linalg.eigvalsh(product)  # of its lower triangle, all that there is of it
    rounding = np.finfo(np.float64).eps * np.linalg.norm(s_a) * np.linalg.norm(s_b)
    roots = np.sqrt(np.maximum(squares, rounding))
    term = float(np.trace(s_a) + np.trace(s_b) - 2.0 * roots.sum())
    return term if (rounding / roots).sum() <= WANTED * (mean_term + term) else None


def _halves(subjects: list[np.ndarray], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Deal subjects in random order to the smaller of two piles of frames, so that both end near half."""
    piles: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    sizes = [0, 0]
    for index in rng.permutation(len(subjects)):
        side = int(sizes[1] < sizes[0])
        piles[side].append(subjects[index])
        sizes[side] += len(subjects[index])
    empty = np.empty(0, dtype=np.intp)
    return np.concatenate([empty, *piles[0]]), np.concatenate([empty, *piles[1]])
