from __future__ import annotations

import numpy as np
import pytest
from ccm_pack.ccm.phantom.curves import arc_lengths, clip_to_frame, cut_to_length, length_of, walk, wander


def line(*points: tuple[float, float]) -> np.ndarray:
    return np.array(points, dtype=float)


def test_length_is_the_sum_of_the_steps() -> None:
    assert length_of(line((0, 0), (3, 4), (3, 10))) == 11.0
    assert arc_lengths(line((0, 0), (3, 4), (3, 10))).tolist() == [0.0, 5.0, 11.0]


def test_a_line_is_clipped_exactly_on_the_border() -> None:
    clipped = clip_to_frame(line((-10, 5), (10, 5), (30, 5)), (20.0, 20.0))
    assert clipped.tolist() == [[0, 5], [10, 5], [20, 5]]


def test_a_line_through_a_corner_keeps_to_the_frame() -> None:
    clipped = clip_to_frame(line((5, 5), (15, 15)), (10.0, 12.0))
    assert clipped.tolist() == [[5, 5], [10, 10]]


def test_of_several_runs_inside_the_longest_is_kept() -> None:
    path = line((1, 1), (1, 30), (5, 30), (5, 9), (5, 5), (5, 1))
    assert clip_to_frame(path, (10.0, 10.0)).tolist() == [[5, 10], [5, 9], [5, 5], [5, 1]]


def test_a_line_outside_the_frame_is_clipped_to_nothing() -> None:
    assert clip_to_frame(line((-5, -5), (-1, -1)), (10.0, 10.0)).shape == (0, 2)


@pytest.mark.parametrize("length", [1.0, 5.0, 7.5])
def test_a_line_is_cut_to_the_exact_length(length: float) -> None:
    assert length_of(cut_to_length(line((0, 0), (3, 4), (3, 10)), length)) == pytest.approx(length)


def test_a_walk_takes_two_um_a_step() -> None:
    path = walk(np.array([[1.0, 1.0]]), np.array([[0.0, np.pi / 2]]))[0]
    assert path == pytest.approx(np.array([[1, 1], [3, 1], [3, 3]]))


def test_a_wander_has_the_rms_asked_for() -> None:
    signal = wander(400, 400, 3.0, 80.0, np.random.default_rng(0))
    assert np.sqrt((signal**2).mean()) == pytest.approx(3.0, rel=0.1)
