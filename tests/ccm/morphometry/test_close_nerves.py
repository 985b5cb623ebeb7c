"""Nerves that come so close that a mask no longer shows which is which: what is right there, and what is kept.

Nerves that cross at 20 degrees or more (25 if they are two pixels wide) are two. At 10 degrees, their shared body is so
long that a mask shows two nerves that meet, run as one and part: one fibre runs through, both parts of the other
are branches, and the shared body counts once. So do bundles.
"""

from __future__ import annotations

import numpy as np
import pytest
from analytic_curves import UM_PER_PX, Stroke, by_arc_length, draw, length_inside, line_through, ray, unit
from ccm_pack.ccm.morphometry import NerveBiomarkers, Role, measure_nerves

CENTRE = np.array([190.3, 192.1])
ANGLES = (0.0, 17.0, 45.0, 90.0, 133.0)
EDGE_ANGLES = (30.0, 45.0, 60.0, 120.0, 150.0)


def measure(strokes: list[Stroke]) -> NerveBiomarkers:
    return measure_nerves(draw(strokes), UM_PER_PX)


def counts(measured: NerveBiomarkers) -> tuple[int, int, int]:
    return measured.main_fibres, measured.branches, measured.branch_points


def length_um(strokes: list[Stroke]) -> float:
    return UM_PER_PX * sum(length_inside(points) for points, _ in strokes)


@pytest.mark.parametrize("angle", ANGLES)
@pytest.mark.parametrize("width", (3.0, 5.0, 8.0))
def test_nerves_that_cross_at_20_degrees_are_two_mains(angle: float, width: float) -> None:
    strokes = [(line_through(CENTRE, angle + turn), width) for turn in (0.0, 20.0)]
    measured = measure(strokes)
    assert counts(measured) == (2, 0, 0)
    assert measured.length_um == pytest.approx(length_um(strokes), rel=0.01)


@pytest.mark.parametrize("angle", ANGLES)
@pytest.mark.parametrize("width", (2.0, 3.0, 5.0))
def test_at_10_degrees_one_runs_through_and_the_shared_body_counts_once(angle: float, width: float) -> None:
    strokes = [(line_through(CENTRE, angle + turn), width) for turn in (0.0, 10.0)]
    measured = measure(strokes)
    body = UM_PER_PX * (width + 2.0) / np.tan(np.radians(5.0))  # they lie less than two pixels apart
    assert counts(measured) == (1, 2, 2)
    assert length_um(strokes) - body <= measured.length_um <= length_um(strokes)


@pytest.mark.parametrize("angle", ANGLES)
@pytest.mark.parametrize("leaving", (12.0, 18.0))
def test_a_branch_may_leave_almost_along_its_fibre(angle: float, leaving: float) -> None:
    strokes = [(line_through(CENTRE, angle), 4.0), (ray(CENTRE, angle + leaving, 250.0), 3.0)]
    measured = measure(strokes)
    assert counts(measured) == (1, 1, 1)
    assert measured.length_um == pytest.approx(length_um(strokes), rel=0.02)


@pytest.mark.parametrize("angle", ANGLES)
@pytest.mark.parametrize("fan", (-0.4, 0.0, 0.4))
def test_nearly_parallel_nerves_with_two_pixels_between_them_stay_apart(angle: float, fan: float) -> None:
    strokes = [
        (line_through(CENTRE + 6.5 * side * unit(angle + 90.0), angle + fan * side), 3.0)
        for side in (-2, -1, 0, 1, 2)
    ]
    measured = measure(strokes)
    assert counts(measured) == (5, 0, 0)
    assert measured.length_um == pytest.approx(length_um(strokes), rel=0.01)


@pytest.mark.parametrize("angle", ANGLES)
def test_nerves_that_join_a_bundle_and_leave_it_are_branches_of_its_one_fibre(angle: float) -> None:
    along = np.linspace(-300.0, 300.0, 4000)
    away = 40.0 * np.clip((np.abs(along) - 40.0) / 100.0, 0.0, None)
    sides = [
        by_arc_length(CENTRE + np.outer(along, unit(angle)) + np.outer(side * away, unit(angle + 90.0)))
        for side in (-1.0, 1.0)
    ]
    measured = measure([(line_through(CENTRE, angle), 4.0), *((points, 3.0) for points in sides)])
    assert counts(measured) == (1, 4, 4)


@pytest.mark.parametrize("depth", (6.0, 9.0, 12.0))
def test_a_branch_that_meets_its_fibre_near_the_edge_is_counted(depth: float) -> None:
    for leaving in EDGE_ANGLES:
        fibre, branch = edge_branch(depth, leaving)
        assert counts(measure([fibre, branch])) == (1, 1, 1)


def test_12_pixels_from_the_edge_the_fibre_is_the_one_that_goes_on() -> None:
    for leaving in EDGE_ANGLES:
        fibre, branch = edge_branch(12.0, leaving)
        (main,) = measure([fibre, branch]).graph.with_role(Role.MAIN)
        assert main.length_um == pytest.approx(length_um([fibre]), rel=0.02)


def edge_branch(depth: float, leaving: float) -> tuple[Stroke, Stroke]:
    """A fibre across the frame, and a branch that leaves it `depth` pixels below the upper edge."""
    foot = np.array([190.3, depth])
    return (line_through(foot, 90.0), 4.0), (ray(foot, leaving, 150.0), 3.0)
