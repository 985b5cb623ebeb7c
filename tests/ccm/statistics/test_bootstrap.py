"""The bootstrap draws whole clusters, and its interval covers."""

from __future__ import annotations

import numpy as np
import pytest
from ccm_pack.ccm.errors import DataError
from ccm_pack.ccm.statistics.bootstrap import cluster_bootstrap, group_indices


def names(clusters: int, size: int) -> list[str]:
    return [f"p{cluster}" for cluster in range(clusters) for _ in range(size)]


def test_members_are_grouped() -> None:
    assert [group.tolist() for group in group_indices(["b", "a", "b"])] == [[1], [0, 2]]


def test_clusters_are_drawn_whole(rng) -> None:
    seen = []
    cluster_bootstrap(names(4, 3), lambda index: float(seen.append(sorted(index)) or 0.0), rng, 20)
    assert all(len(index) in (9, 12) for index in seen)
    assert all(index.count(frame) == index.count(3 * (frame // 3)) for index in seen for frame in index)


def test_the_spread_is_that_of_cluster_means(rng) -> None:
    """20 clusters of 5 equal frames: the error of the mean is sd / sqrt 20, not sd / sqrt 100."""
    values = np.repeat(rng.standard_normal(20), 5)
    found = cluster_bootstrap(names(20, 5), lambda index: float(values[index].mean()), rng, 4000)
    width = found.interval[1] - found.interval[0]
    assert width == pytest.approx(2 * 1.96 * values.std() / np.sqrt(20), rel=0.08)
    assert found.value == pytest.approx(values.mean())
    assert (found.clusters, found.resamples) == (20, 4000)


def coverage(rng: np.random.Generator, studies: int, resamples: int) -> float:
    covered = 0
    for _ in range(studies):
        values = 1.0 + (rng.standard_normal((50, 1)) + rng.standard_normal((50, 3))).ravel()
        found = cluster_bootstrap(names(50, 3), lambda i, v=values: float(v[i].mean()), rng, resamples)
        covered += found.interval[0] <= 1.0 <= found.interval[1]
    return covered / studies


def test_the_interval_covers(rng) -> None:
    assert 0.91 <= coverage(rng, 300, 300) <= 0.98


@pytest.mark.soak
def test_the_interval_covers_in_many_studies(rng) -> None:
    assert 0.93 <= coverage(rng, 2000, 1000) <= 0.97


def test_a_statistic_that_never_varies_has_a_point_interval(rng) -> None:
    found = cluster_bootstrap(names(5, 2), lambda index: 0.25, rng, 50)
    assert found.interval == (0.25, 0.25) and found.share_above_zero == 1.0


def test_two_clusters_are_refused(rng) -> None:
    with pytest.raises(DataError, match="2 clusters"):
        cluster_bootstrap(names(2, 9), lambda index: 0.0, rng)
