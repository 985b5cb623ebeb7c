"""Precision, recall, density and coverage on cases counted by hand."""

from __future__ import annotations

import pytest
from ccm_pack.ccm.errors import ImageError
from ccm_pack.ccm.fidelity.prdc import prdc


def column(*values: float) -> list[list[float]]:
    return [[value] for value in values]


def test_a_case_counted_by_hand(feature_set) -> None:
    """Real balls with k = 1: [-1, 1], [0, 2], [1, 5]; generated balls: [-9, 10], [9.6, 10.4], [10, 10.8]."""
    result = prdc(feature_set(column(0, 1, 3)), feature_set(column(0.5, 10, 10.4)), k=1)
    assert result.precision == pytest.approx(1 / 3)  # 0.5 alone lies in a real ball
    assert result.density == pytest.approx(2 / 3)  # it lies in two
    assert result.coverage == pytest.approx(2 / 3)  # two of three real balls hold it
    assert result.recall == 1.0  # the wide ball of 0.5 holds all real frames
    assert (result.n_real, result.n_generated, result.k, result.dimension) == (3, 3, 1, 1)


def test_the_second_neighbour_sets_the_radius_with_k_2(feature_set) -> None:
    """Real balls: [-3, 3], [-1, 3], [0, 6]; each generated frame in 3 balls, 0 in 3, 5.5 in 1."""
    result = prdc(feature_set(column(0, 1, 3)), feature_set(column(0, 2, 5.5)), k=2)
    assert result.density == pytest.approx((3 + 3 + 1) / (2 * 3))
    assert result.precision == result.coverage == 1.0


def test_balls_are_closed(feature_set) -> None:
    result = prdc(feature_set(column(0, 1)), feature_set(column(2, 100)), k=1)
    assert result.precision == 0.5  # 2 lies on the edge of the ball round 1


def test_identical_sets_are_complete(feature_set, rng) -> None:
    values = rng.standard_normal((30, 4))
    result = prdc(feature_set(values), feature_set(values))
    assert (result.precision, result.recall, result.coverage) == (1.0, 1.0, 1.0)


def test_a_collapsed_generator_is_precise_but_covers_little(feature_set, rng) -> None:
    real = rng.standard_normal((200, 4))
    result = prdc(feature_set(real), feature_set(0.05 * rng.standard_normal((200, 4))))
    assert result.precision > 0.95
    assert result.coverage < 0.3 and result.recall < 0.1


def test_too_few_frames_for_the_neighbour_are_refused(feature_set, rng) -> None:
    with pytest.raises(ImageError, match="neighbour 5"):
        prdc(feature_set(rng.standard_normal((5, 2))), feature_set(rng.standard_normal((9, 2))))
