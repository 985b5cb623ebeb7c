"""MMD and KID: the estimate against a double loop, the permutation p and the interval by simulation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from ccm_pack.ccm.errors import ImageError
from ccm_pack.ccm.fidelity.features import FeatureSet
from ccm_pack.ccm.fidelity.kid import cubic, kid
from ccm_pack.ccm.fidelity.mmd import gaussian_mixture, median_distance, mmd, squared_distances
from ccm_pack.ccm.fidelity.two_sample import frames_by_subject, two_sample

SUBJECTS_A = ["p", "p", "q", "r", "r", "r", "s"]
SUBJECTS_B = ["q", "t", "t", "u", "u"]


def loop(kernel: np.ndarray, n_a: int, names: list[str]) -> float:
    """Unbiased MMD^2 by the definition, pair by pair, over pairs from two different subjects."""
    pairs: dict[tuple[bool, bool], list[float]] = {}
    for i, j in itertools.product(range(len(kernel)), repeat=2):
        if names[i] != names[j]:
            pairs.setdefault((i < n_a, j < n_a), []).append(kernel[i, j])
    mean = {sides: float(np.mean(values)) for sides, values in pairs.items()}
    return mean[True, True] + mean[False, False] - 2.0 * mean[True, False]


def gaussian_by_hand(pooled: np.ndarray) -> np.ndarray:
    distance = np.array([[np.linalg.norm(x - y) for y in pooled] for x in pooled])
    sigma = np.median([distance[i, j] for i, j in itertools.combinations(range(len(pooled)), 2)])
    return np.mean([np.exp(-(distance**2) / (2.0 * (s * sigma) ** 2)) for s in (0.5, 1.0, 2.0)], axis=0)


def cubic_by_hand(pooled: np.ndarray) -> np.ndarray:
    return np.array([[(float(x @ y) / len(x) + 1.0) ** 3 for y in pooled] for x in pooled])


@pytest.mark.parametrize(("metric", "kernel"), [(mmd, gaussian_by_hand), (kid, cubic_by_hand)])
def test_equals_the_double_loop(feature_set, rng, metric, kernel) -> None:
    a, b = rng.standard_normal((13, 6)), 0.5 + rng.standard_normal((9, 6))
    truth = loop(kernel(np.concatenate([a, b])), 13, list(map(str, range(22))))
    result = metric(feature_set(a), feature_set(b), rng, 9)
    assert result.statistics.value == pytest.approx(truth, rel=1e-10)
    assert (result.n_a, result.n_b, result.dimension, result.extractor.name) == (13, 9, 6, "test")


@pytest.mark.parametrize(("metric", "kernel"), [(mmd, gaussian_by_hand), (kid, cubic_by_hand)])
def test_pairs_inside_a_subject_do_not_count(feature_set, rng, metric, kernel) -> None:
    a, b = rng.standard_normal((7, 4)), rng.standard_normal((5, 4))
    truth = loop(kernel(np.concatenate([a, b])), 7, SUBJECTS_A + SUBJECTS_B)
    result = metric(feature_set(a, SUBJECTS_A), feature_set(b, SUBJECTS_B), rng, 9).statistics
    assert result.value == pytest.approx(truth, rel=1e-10)
    assert (result.subjects_a, result.subjects_b, result.shared_subjects) == (4, 3, 1)


def test_kid_equals_torch_fidelity_on_one_subset_of_all_frames(feature_set, rng) -> None:
    oracle = pytest.importorskip("torch_fidelity.metric_kid", reason="torch-fidelity is not installed")
    torch = pytest.importorskip("torch")
    a, b = rng.random((30, 20)), rng.random((30, 20)) + 0.1
    truth = oracle.kid_features_to_metric(
        torch.from_numpy(a), torch.from_numpy(b), kid_subsets=1, kid_subset_size=30, verbose=False
    )["kernel_inception_distance_mean"]
    assert kid(feature_set(a), feature_set(b), rng, 9).statistics.value == pytest.approx(truth, rel=1e-9)


def test_the_kernel_of_two_points_one_bandwidth_apart() -> None:
    kernel = gaussian_mixture(np.array([[0.0, 4.0], [4.0, 0.0]]), sigma=2.0)
    assert kernel[0, 1] == pytest.approx((np.exp(-2.0) + np.exp(-0.5) + np.exp(-0.125)) / 3.0)
    assert kernel[0, 0] == 1.0


def test_the_bandwidth_is_the_median_pair() -> None:
    squared = squared_distances(np.array([[0.0], [1.0], [3.0], [7.0]]))  # pairs 1, 2, 3, 4, 6, 7
    assert median_distance(squared) == pytest.approx(3.5)


def test_the_value_does_not_depend_on_the_scale_or_the_place_of_the_features(feature_set, rng) -> None:
    a, b = rng.standard_normal((20, 5)), rng.standard_normal((20, 5)) + 1.0
    near = mmd(feature_set(a), feature_set(b), rng, 9).statistics.value
    far = mmd(feature_set(1e3 * a + 1e5), feature_set(1e3 * b + 1e5), rng, 9).statistics.value
    assert far == pytest.approx(near, rel=1e-6)


def test_kid_says_when_one_frame_rules(feature_set, rng) -> None:
    values = np.full((20, 2), 1.0)
    values[3] = 10.0  # k(x, x): (10 * 10 + 1)^3 against 39 times (1 + 1)^3
    result = kid(feature_set(values), feature_set(np.full((20, 2), 1.0)), rng, 9)
    assert result.largest_share == pytest.approx(101**3 / (101**3 + 39 * 8))
    assert np.diagonal(cubic(values))[0] == 8.0


def test_p_is_the_share_of_all_relabellings_that_reach_the_value(feature_set, rng) -> None:
    """3 + 3 frames have 20 labellings; the observed one and its mirror image are the two largest."""
    a, b = feature_set([[0.0], [0.1], [0.2]]), feature_set([[5.0], [5.1], [5.2]])
    assert mmd(a, b, rng, 9999).statistics.p_value == pytest.approx(2 / 20, abs=0.01)


def test_identical_sets_have_p_one_and_a_negative_value(feature_set, rng) -> None:
    a = feature_set(rng.standard_normal((15, 3)))
    result = mmd(a, a, rng, 199).statistics
    assert result.value < 0.0
    assert result.p_value > 0.95


def test_the_same_seed_gives_the_same_numbers(feature_set, rng) -> None:
    a, b = feature_set(rng.standard_normal((50, 3))), feature_set(rng.standard_normal((50, 3)) + 2.0)
    first, second = (mmd(a, b, np.random.default_rng(3)).statistics for _ in range(2))
    assert first == second
    assert first.interval is not None


def test_frames_of_one_subject_have_no_independent_pair(feature_set, rng) -> None:
    with pytest.raises(ImageError, match="second set come from one subject"):
        mmd(feature_set(rng.standard_normal((4, 2))), feature_set(rng.standard_normal((4, 2)), "xxxx"), rng)


def test_equal_features_are_refused(feature_set, rng) -> None:
    with pytest.raises(ImageError, match="same features"):
        mmd(feature_set(np.ones((4, 2))), feature_set(np.ones((4, 2))), rng)


def test_frames_are_grouped_by_subject() -> None:
    assert [g.tolist() for g in frames_by_subject(["b", "a", "b"], 3)] == [[1], [0, 2]]
    assert [g.tolist() for g in frames_by_subject(None, 2)] == [[0], [1]]


def clusters(rng: np.random.Generator, subjects: int, frames: int, shift: float = 0.0) -> np.ndarray:
    """Features [subjects * frames, 4], half of whose variance lies between subjects."""
    centres = rng.standard_normal((subjects, 1, 4))
    values = (centres + rng.standard_normal((subjects, frames, 4))) / np.sqrt(2.0)
    values[..., 0] += shift
    return values.reshape(-1, 4)


def subject_names(side: str, subjects: int, frames: int) -> list[str]:
    return [f"{side}{subject}" for subject in range(subjects) for _ in range(frames)]


def uniformity(p_values: list[float]) -> float:
    """Kolmogorov-Smirnov p of the null that the p-values are uniform."""
    from scipy.stats import kstest

    return float(kstest(p_values, "uniform").pvalue)


def null_p_over_frames(feature_set, rng, metric, studies: int) -> list[float]:
    return [
        metric(
            feature_set(rng.standard_normal((20, 4))), feature_set(rng.standard_normal((15, 4))), rng, 199
        ).statistics.p_value
        for _ in range(studies)
    ]


def null_p_over_subjects(feature_set, rng, studies: int) -> tuple[list[float], list[float]]:
    """p of 8 subjects with 5 frames a side, by subject and as if every frame were its own subject."""
    by_subject, by_frame = [], []
    for _ in range(studies):
        a, b = clusters(rng, 8, 5), clusters(rng, 8, 5)
        known = [feature_set(x, subject_names(s, 8, 5)) for x, s in ((a, "a"), (b, "b"))]
        by_subject.append(mmd(*known, rng, 199).statistics.p_value)
        by_frame.append(mmd(feature_set(a), feature_set(b), rng, 199).statistics.p_value)
    return by_subject, by_frame


def null_p_of_pairs(feature_set, rng, studies: int) -> list[float]:
    """p where each of 12 subjects gives 3 frames to both sets, generated from its own mask."""
    p = []
    for _ in range(studies):
        centres = np.repeat(rng.standard_normal((12, 4)), 3, axis=0)
        sides = [centres + 0.3 * rng.standard_normal((36, 4)) for _ in range(2)]
        names = subject_names("", 12, 3)
        p.append(mmd(*(feature_set(x, names) for x in sides), rng, 199).statistics.p_value)
    return p


def rejected(p_values: list[float]) -> float:
    return float(np.mean(np.array(p_values) <= 0.05))


def test_null_p_is_uniform_over_frames(feature_set, rng) -> None:
    p = null_p_over_frames(feature_set, rng, mmd, 300)
    assert uniformity(p) > 0.01
    assert rejected(p) == pytest.approx(0.05, abs=0.03)


def test_null_p_is_uniform_over_subjects_where_frames_would_deceive(feature_set, rng) -> None:
    by_subject, by_frame = null_p_over_subjects(feature_set, rng, 200)
    assert uniformity(by_subject) > 0.01
    assert rejected(by_subject) == pytest.approx(0.05, abs=0.04)
    assert rejected(by_frame) > 0.3


def test_null_p_is_uniform_for_paired_sets(feature_set, rng) -> None:
    assert uniformity(null_p_of_pairs(feature_set, rng, 200)) > 0.01


@pytest.mark.soak
@pytest.mark.parametrize("metric", [mmd, kid])
def test_null_p_is_uniform_over_frames_in_many_studies(feature_set, rng, metric) -> None:
    p = null_p_over_frames(feature_set, rng, metric, 3000)
    assert uniformity(p) > 0.01
    assert rejected(p) == pytest.approx(0.05, abs=0.012)


@pytest.mark.soak
def test_null_p_is_uniform_over_subjects_in_many_studies(feature_set, rng) -> None:
    by_subject, by_frame = null_p_over_subjects(feature_set, rng, 2000)
    assert uniformity(by_subject) > 0.01
    assert rejected(by_subject) == pytest.approx(0.05, abs=0.015)
    assert rejected(by_frame) > 0.3


@pytest.mark.soak
def test_null_p_is_uniform_for_paired_sets_in_many_studies(feature_set, rng) -> None:
    p = null_p_of_pairs(feature_set, rng, 2000)
    assert uniformity(p) > 0.01
    assert rejected(p) == pytest.approx(0.05, abs=0.015)


def test_the_value_is_unbiased_under_the_null_with_clustered_frames(feature_set, rng) -> None:
    values = [
        mmd(
            feature_set(clusters(rng, 10, 4), subject_names("a", 10, 4)),
            feature_set(clusters(rng, 6, 4), subject_names("b", 6, 4)),
            rng,
            1,
        ).statistics.value
        for _ in range(400)
    ]
    assert abs(np.mean(values)) < 3.0 * np.std(values) / np.sqrt(len(values))


def without(kernel: np.ndarray, n_a: int, names: list[str], subject: str) -> float:
    """The estimate with all frames of one subject struck out."""
    kept = [index for index, name in enumerate(names) if name != subject]
    return loop(kernel[np.ix_(kept, kept)], sum(index < n_a for index in kept), [names[i] for i in kept])


@pytest.mark.parametrize("paired", [False, True])
def test_the_interval_is_the_jackknife_over_subjects(feature_set, rng, paired: bool) -> None:
    """Each stratum's share of the variance is (n - 1) / n times its squared deviations of n subjects."""
    from scipy.stats import t

    a, b = rng.standard_normal((40, 3)) + 3.0, rng.standard_normal((40, 3))
    sides = [[f"{side}{subject:02}" for subject in range(40)] for side in ("a", "a" if paired else "b")]
    kernel = gaussian_mixture(squared_distances(np.concatenate([a, b])), sigma=2.0)
    strata = sides[:1] if paired else sides
    left_out = [[without(kernel, 40, sides[0] + sides[1], name) for name in names] for names in strata]
    reach = t.ppf(0.975, 39) * np.sqrt(sum(39 * np.var(values) for values in left_out))
    result = two_sample(feature_set(a, sides[0]), feature_set(b, sides[1]), kernel, rng, 19)
    assert result.interval == pytest.approx((result.value - reach, result.value + reach), rel=1e-9)


def fixed_kernel(a: FeatureSet, b: FeatureSet) -> np.ndarray:
    return gaussian_mixture(squared_distances(np.concatenate([a.values, b.values])), sigma=2.5)


def coverage(feature_set, rng, studies: int, subjects: int, shift: float) -> float:
    """Subjects of 2 frames a side; the truth is the mean over all studies of the unbiased estimate."""
    found = []
    for _ in range(studies):
        a = feature_set(clusters(rng, subjects, 2, shift=shift), subject_names("a", subjects, 2))
        b = feature_set(clusters(rng, subjects, 2), subject_names("b", subjects, 2))
        found.append(two_sample(a, b, fixed_kernel(a, b), rng, 19))
    truth = np.mean([result.value for result in found])
    return float(np.mean([result.interval[0] <= truth <= result.interval[1] for result in found]))


def test_the_interval_covers_away_from_zero(feature_set, rng) -> None:
    assert 0.93 <= coverage(feature_set, rng, 1000, subjects=40, shift=2.0) <= 0.97


@pytest.mark.soak
@pytest.mark.parametrize(("subjects", "shift"), [(40, 2.0), (40, 3.0), (80, 2.0)])
def test_the_interval_covers_away_from_zero_in_many_studies(
    feature_set, rng, subjects: int, shift: float
) -> None:
    assert 0.93 <= coverage(feature_set, rng, 3000, subjects, shift) <= 0.97


@pytest.mark.parametrize(("subjects", "shift"), [(39, 4.0), (60, 0.0)])
def test_no_interval_is_given_where_it_would_not_hold(feature_set, rng, subjects: int, shift: float) -> None:
    a, b = (feature_set(rng.standard_normal((subjects, 4)) + s) for s in (0.0, shift))
    assert mmd(a, b, rng).statistics.interval is None
