"""Frechet distance against closed forms, a plain SVD, scipy's matrix square root and torch-fidelity."""

from __future__ import annotations

import math

import numpy as np
import pytest
from ccm_pack.ccm.errors import ExtractorError, ImageError
from ccm_pack.ccm.fidelity.frechet import frechet_distance, frechet_floor, frechet_terms

SHAPES = [(20, 30, 48), (20, 90, 48), (48, 48, 48), (49, 60, 48), (90, 20, 48), (150, 200, 48)]


def samples(rng: np.random.Generator, n: int, d: int, decay: float = 10.0) -> np.ndarray:
    """Rows [n,d] whose spread falls by `decay` from the first to the last of d rotated axes."""
    rotation = np.linalg.qr(rng.standard_normal((d, d)))[0]
    return rng.standard_normal((n, d)) * np.geomspace(1.0, 1.0 / decay, d) @ rotation + rng.standard_normal(d)


def by_svd(a: np.ndarray, b: np.ndarray) -> float:
    """The definition through the singular values of the centred samples, with no reduction at all."""
    root_a, root_b = ((x - x.mean(0)) / math.sqrt(len(x) - 1) for x in (a, b))
    overlap = np.linalg.svd(root_a @ root_b.T, compute_uv=False).sum()
    spread = np.trace(np.cov(a.T)) + np.trace(np.cov(b.T))
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + spread - 2.0 * overlap)


@pytest.mark.parametrize(("n", "m", "d"), SHAPES)
def test_equals_the_svd_definition(rng: np.random.Generator, n: int, m: int, d: int) -> None:
    a, b = samples(rng, n, d), samples(rng, m, d)
    assert sum(frechet_terms(a, b)) == pytest.approx(by_svd(a, b), rel=1e-10)


@pytest.mark.parametrize(("n", "m"), [(150, 200), (60, 49)])
def test_equals_the_matrix_square_root_of_scipy(rng: np.random.Generator, n: int, m: int) -> None:
    from scipy.linalg import sqrtm

    a, b = samples(rng, n, 40), samples(rng, m, 40)
    s_a, s_b = np.cov(a.T), np.cov(b.T)
    truth = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(s_a + s_b - 2.0 * np.real(sqrtm(s_a @ s_b)))
    assert sum(frechet_terms(a, b)) == pytest.approx(float(truth), rel=1e-8)


def by_torch_fidelity(a: np.ndarray, b: np.ndarray) -> float:
    oracle = pytest.importorskip("torch_fidelity.metric_fid", reason="torch-fidelity is not installed")
    torch = pytest.importorskip("torch")
    statistics = [oracle.fid_features_to_statistics(torch.from_numpy(x)) for x in (a, b)]
    return oracle.fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]


@pytest.mark.parametrize(("n", "m", "d"), SHAPES)
def test_equals_torch_fidelity(rng: np.random.Generator, n: int, m: int, d: int) -> None:
    a, b = samples(rng, n, d), samples(rng, m, d)
    assert sum(frechet_terms(a, b)) == pytest.approx(by_torch_fidelity(a, b), rel=1e-6)


DEFECTS = ["low rank", "repeated features", "dead features"]


def defective(rng: np.random.Generator, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Sets of 150 and 200 rows of 48 features with singular or nearly singular covariances."""
    d = 48
    decay = float(kind.split()[1]) if kind.startswith("decay") else 10.0
    a, b = samples(rng, 150, d, decay), samples(rng, 200, d, decay)
    if kind == "low rank":
        plane = rng.standard_normal((d // 3, d))
        a, b = a[:, : d // 3] @ plane, b[:, : d // 3] @ plane
    elif kind == "repeated features":
        a[:, d // 2 :], b[:, d // 2 :] = a[:, : d // 2], b[:, : d // 2]
    elif kind == "dead features":
        a[:, d // 2 :], b[:, d // 4 : d // 2] = 0.0, 0.0
    return a, b


@pytest.mark.parametrize("kind", [*DEFECTS, *(f"decay 1e{k}" for k in range(1, 13))])
def test_singular_covariances_keep_six_digits(rng: np.random.Generator, kind: str) -> None:
    a, b = defective(rng, kind)
    assert sum(frechet_terms(a, b)) == pytest.approx(by_svd(a, b), rel=1e-6)


@pytest.mark.parametrize("kind", DEFECTS)
def test_singular_covariances_equal_torch_fidelity(rng: np.random.Generator, kind: str) -> None:
    a, b = defective(rng, kind)
    assert sum(frechet_terms(a, b)) == pytest.approx(by_torch_fidelity(a, b), rel=1e-6)


@pytest.mark.parametrize("n", [12, 100])
def test_a_shifted_set_lies_at_the_squared_shift(rng: np.random.Generator, n: int) -> None:
    a = samples(rng, n, 30)
    mean_term, covariance_term = frechet_terms(a, a + 2.0)
    assert mean_term == pytest.approx(30 * 2.0**2)
    assert covariance_term == pytest.approx(0.0, abs=1e-11)


@pytest.mark.parametrize("n", [12, 100])
def test_a_set_spread_k_times_wider_lies_at_k_minus_1_squared_times_the_variance(
    rng: np.random.Generator, n: int
) -> None:
    a = samples(rng, n, 30)
    a -= a.mean(axis=0)
    assert sum(frechet_terms(a, 3.0 * a)) == pytest.approx(2.0**2 * np.trace(np.cov(a.T)))


def test_sets_on_orthogonal_axes_lie_at_the_sum_of_their_variances() -> None:
    a, b = np.array([[1.0, 0.0], [-1.0, 0.0]]), np.array([[0.0, 3.0], [0.0, -3.0]])
    assert sum(frechet_terms(a, b)) == pytest.approx(2.0 + 18.0)


def test_float32_features_far_from_zero_lose_nothing(rng: np.random.Generator) -> None:
    a, b = (samples(rng, 100, 30).astype(np.float32) + np.float32(1000.0) for _ in range(2))
    exact = by_svd(a.astype(np.float64), b.astype(np.float64))
    assert sum(frechet_terms(a, b)) == pytest.approx(exact, rel=1e-9)


def test_the_result_carries_its_circumstances(feature_set, rng: np.random.Generator) -> None:
    a, b = feature_set(samples(rng, 12, 5)), feature_set(samples(rng, 9, 5))
    result = frechet_distance(a, b)
    assert result.distance == result.mean_term + result.covariance_term
    assert (result.n_a, result.n_b, result.dimension, result.extractor.name) == (12, 9, 5, "test")


def test_two_extractors_are_refused(feature_set, rng: np.random.Generator) -> None:
    a = feature_set(samples(rng, 12, 5))
    b = feature_set(samples(rng, 12, 5), extractor="another")
    with pytest.raises(ExtractorError, match="different extractors"):
        frechet_distance(a, b)


def test_one_frame_is_refused(feature_set, rng: np.random.Generator) -> None:
    with pytest.raises(ImageError, match="second set holds 1 frame"):
        frechet_distance(feature_set(samples(rng, 12, 5)), feature_set(samples(rng, 1, 5)))


def test_the_floor_of_one_distribution_equals_the_distance_at_the_same_n(feature_set, rng) -> None:
    real, fake = feature_set(rng.standard_normal((400, 8))), feature_set(rng.standard_normal((300, 8)))
    floor = frechet_floor(real, fake, rng, splits=40)
    assert (floor.n, floor.splits, floor.subject_disjoint) == (200, 40, False)
    assert floor.real_generated == pytest.approx(floor.real_real, rel=0.2)


def test_the_floor_is_bias_that_shrinks_with_n(feature_set, rng) -> None:
    """Two samples of n from N(0, I_d): their means add 2 d / n, their covariances d (d + 1) / (2 n)."""
    real = feature_set(rng.standard_normal((2000, 8)))
    for n in (100, 400):
        floor = frechet_floor(real, feature_set(rng.standard_normal((n, 8))), rng, splits=60)
        assert floor.real_real == pytest.approx((16 + 36) / n, rel=0.15)


def test_halves_of_the_floor_share_no_subject(feature_set, rng) -> None:
    """Every subject is one point: halves that shared subjects would score near 0."""
    points = 10.0 * rng.standard_normal((20, 1))
    values = np.repeat(points, 30, axis=0) + 1e-3 * rng.standard_normal((600, 1))
    subjects = np.repeat(np.arange(20), 30)
    fake = feature_set(rng.standard_normal((600, 1)))
    known = frechet_floor(feature_set(values, subjects), fake, rng)
    unknown = frechet_floor(feature_set(values), fake, rng)
    assert known.subject_disjoint and not unknown.subject_disjoint
    assert known.real_real > 5.0 * unknown.real_real


def test_copies_of_the_reference_score_below_the_floor(feature_set, rng) -> None:
    real = feature_set(rng.standard_normal((300, 8)))
    floor = frechet_floor(real, real, rng)
    assert floor.real_generated < floor.real_real


@pytest.mark.parametrize(("n", "expected"), [(3, None), (4, 2), (5, 2)])
def test_the_floor_needs_four_frames(feature_set, rng, n: int, expected: int | None) -> None:
    floor = frechet_floor(
        feature_set(rng.standard_normal((n, 2))), feature_set(rng.standard_normal((9, 2))), rng
    )
    assert (floor and floor.n) == expected


def test_the_floor_needs_two_subjects(feature_set, rng) -> None:
    real = feature_set(rng.standard_normal((10, 2)), ["one"] * 10)
    assert frechet_floor(real, feature_set(rng.standard_normal((9, 2))), rng) is None
