"""What counts as main fibre, branch, branch point, crossing, twig, gap and ring."""

from __future__ import annotations

import numpy as np
import pytest
from analytic_curves import (
    UM_PER_PX,
    Stroke,
    arc,
    by_arc_length,
    draw,
    length_inside,
    line,
    line_through,
    ray,
    unit,
)
from ccm_pack.ccm.morphometry import NerveBiomarkers, Role, measure_nerves

CENTRE = np.array([190.3, 192.1])
ANGLES = (0.0, 17.0, 45.0, 90.0, 133.0)


def measure(strokes: list[Stroke]) -> NerveBiomarkers:
    return measure_nerves(draw(strokes), UM_PER_PX)


def counts(strokes: list[Stroke]) -> tuple[int, int, int]:
    """Main fibres, branches, branch points; the length must fit, too."""
    measured = measure(strokes)
    length = UM_PER_PX * sum(length_inside(points) for points, _ in strokes)
    assert measured.length_um == pytest.approx(length, rel=0.02)
    return measured.main_fibres, measured.branches, measured.branch_points


def offset(angle: float, along: float, across: float) -> np.ndarray:
    return CENTRE + along * unit(angle) + across * unit(angle + 90.0)


def through(angle: float, width: float = 4.0, across: float = 0.0) -> Stroke:
    return line_through(offset(angle, 0.0, across), angle), width


@pytest.mark.parametrize("crossing", (25.0, 30.0, 45.0, 60.0, 90.0))
@pytest.mark.parametrize("width", (2.0, 3.0, 5.0, 8.0, 12.0))
def test_crossing_nerves_are_two_mains_without_a_branch_point(crossing: float, width: float) -> None:
    rng = np.random.default_rng(0)
    for angle in ANGLES:
        centre = rng.uniform(150, 230, 2)
        lines = [(line_through(centre, angle + turn), width) for turn in (0.0, crossing)]
        assert counts(lines) == (2, 0, 0)


@pytest.mark.parametrize("crossing", (30.0, 60.0, 90.0))
@pytest.mark.parametrize("widths", ((2.0, 6.0), (3.0, 9.0), (4.0, 12.0)))
def test_a_thin_nerve_may_cross_a_thick_one(crossing: float, widths: tuple[float, float]) -> None:
    for angle in ANGLES:
        assert counts([through(angle, widths[0]), through(angle + crossing, widths[1])]) == (2, 0, 0)


@pytest.mark.parametrize("angle", ANGLES)
def test_three_nerves_may_cross_in_one_point(angle: float) -> None:
    assert counts([through(angle), through(angle + 60.0), through(angle + 120.0)]) == (3, 0, 0)


def test_a_mesh_of_crossings_is_so_many_mains() -> None:
    lines = [(line((60 + 45 * n, -10), (40 + 45 * n, 394)), 4.0) for n in range(6)]
    lines += [(line((-10, 70 + 55 * n), (394, 100 + 55 * n)), 4.0) for n in range(5)]
    assert counts(lines) == (11, 0, 0)


@pytest.mark.parametrize("leaving", (25.0, 30.0, 45.0, 60.0, 90.0, 120.0, 150.0))
@pytest.mark.parametrize("widths", ((2.0, 2.0), (4.0, 4.0), (6.0, 3.0), (9.0, 4.0), (12.0, 4.0)))
def test_a_branch_is_one_main_one_branch_and_one_branch_point(
    leaving: float, widths: tuple[float, float]
) -> None:
    for angle in ANGLES:
        assert counts([through(angle, widths[0]), (ray(CENTRE, angle + leaving, 110.0), widths[1])]) == (
            1,
            1,
            1,
        )


@pytest.mark.parametrize("angle", ANGLES)
def test_the_branch_point_lies_where_the_centre_lines_meet(angle: float) -> None:
    measured = measure([through(angle, 6.0), (ray(CENTRE, angle + 50.0, 110.0), 3.0)])
    (point,) = measured.graph.branch_points_um / UM_PER_PX
    assert np.hypot(*(point - CENTRE)) < 2.0


@pytest.mark.parametrize("angle", ANGLES)
@pytest.mark.parametrize("apart", (0.0, 6.0, 12.0, 20.0, 30.0))
def test_branches_on_both_sides_are_no_crossing(angle: float, apart: float) -> None:
    one, other = ray(CENTRE, angle + 57.0, 80.0), ray(offset(angle, apart, 0.0), angle - 57.0, 80.0)
    assert counts([through(angle, 5.0), (one, 3.0), (other, 3.0)]) == (1, 2, 2)


@pytest.mark.parametrize("angle", ANGLES)
@pytest.mark.parametrize("apart", (12.0, 20.0, 40.0))
def test_branches_may_leave_close_together(angle: float, apart: float) -> None:
    one, other = ray(CENTRE, angle + 90.0, 80.0), ray(offset(angle, apart, 0.0), angle + 57.0, 80.0)
    assert counts([through(angle, 5.0), (one, 3.0), (other, 3.0)]) == (1, 2, 2)


@pytest.mark.parametrize("angle", ANGLES)
def test_a_branch_of_a_branch_is_no_branch_point_of_a_main(angle: float) -> None:
    fork = offset(angle, 0.0, 50.0)
    stem = line(CENTRE, fork)
    arms = [(ray(fork, angle + turn, 60.0), 3.0) for turn in (61.0, 119.0)]
    assert counts([through(angle, 5.0), (stem, 3.5), *arms]) == (1, 2, 1)


@pytest.mark.parametrize("angle", ANGLES)
@pytest.mark.parametrize("slant", (0.0, 25.0))
def test_a_connection_is_one_branch_with_two_branch_points(angle: float, slant: float) -> None:
    bridge = line(offset(angle, -slant, -20.0), offset(angle, slant, 20.0))
    assert counts([through(angle, 4.0, -20.0), through(angle, 4.0, 20.0), (bridge, 3.0)]) == (2, 1, 2)


@pytest.mark.parametrize("angle", ANGLES)
@pytest.mark.parametrize("length", (8.0, 11.0, 13.0))
def test_an_offshoot_below_15_um_counts_as_length_but_not_as_branch(angle: float, length: float) -> None:
    strokes = [through(angle), (ray(CENTRE, angle + 90.0, length), 3.0)]
    assert counts(strokes) == (1, 0, 0)
    (twig,) = measure(strokes).graph.with_role(Role.TWIG)
    assert twig.length_um == pytest.approx(length * UM_PER_PX, abs=1.5)


@pytest.mark.parametrize("angle", ANGLES)
@pytest.mark.parametrize("length", (17.0, 25.0))
def test_an_offshoot_above_15_um_is_a_branch(angle: float, length: float) -> None:
    assert counts([through(angle), (ray(CENTRE, angle + 90.0, length), 3.0)]) == (1, 1, 1)


@pytest.mark.parametrize("angle", ANGLES)
@pytest.mark.parametrize(("width", "clear"), [(3.0, 3.0), (3.0, 15.0), (6.0, 8.0), (6.0, 15.0), (10.0, 12.0)])
def test_a_short_gap_splits_no_fibre_and_has_no_length(angle: float, width: float, clear: float) -> None:
    half = 0.5 * (clear + width)
    pieces = [
        ray(offset(angle, half, 0.0), angle, 600.0),
        ray(offset(angle, -half, 0.0), angle + 180.0, 600.0),
    ]
    assert counts([(piece, width) for piece in pieces]) == (1, 0, 0)


@pytest.mark.parametrize("angle", ANGLES)
def test_a_long_gap_splits_a_fibre(angle: float) -> None:
    pieces = [
        ray(offset(angle, 15.0, 0.0), angle, 600.0),
        ray(offset(angle, -15.0, 0.0), angle + 180.0, 600.0),
    ]
    assert counts([(piece, 4.0) for piece in pieces]) == (2, 0, 0)


def test_ends_that_pass_each_other_are_not_joined() -> None:
    ends = [line((-10, 150), (200, 150)), line((206, 165), (394, 165))]
    assert counts([(points, 4.0) for points in ends]) == (2, 0, 0)


@pytest.mark.parametrize("angle", ANGLES)
@pytest.mark.parametrize("leaving", (40.0, 65.0, 90.0))
def test_a_branch_leaves_its_fibre_over_a_short_gap_that_has_no_length(angle: float, leaving: float) -> None:
    start = CENTRE + (8.0 + 2.0 + 2.0) * unit(angle + leaving)  # between the outlines, straight away
    strokes = [through(angle), (ray(start, angle + leaving, 110.0), 4.0)]
    assert counts(strokes) == (1, 1, 1)
    foot = measure(strokes).graph.branch_points_um[0] / UM_PER_PX
    assert np.hypot(*(foot - CENTRE)) < 0.6 * 12.0  # the nearest place in sight is no farther along
    assert abs((foot - CENTRE) @ unit(angle + 90.0)) < 0.3


@pytest.mark.parametrize("angle", ANGLES)
def test_over_a_long_gap_a_nerve_leaves_no_fibre(angle: float) -> None:
    strokes = [through(angle), (ray(CENTRE + 28.0 * unit(angle + 90.0), angle + 90.0, 110.0), 4.0)]
    assert counts(strokes) == (2, 0, 0)


@pytest.mark.parametrize("angle", ANGLES)
def test_a_nerve_between_two_fibres_leaves_one_of_them_over_a_gap(angle: float) -> None:
    between = line(offset(angle + 90.0, -64.0, 0.0), offset(angle + 90.0, 60.0, 0.0))
    assert counts([through(angle, 4.0, -75.0), through(angle, 4.0, 75.0), (between, 4.0)]) == (2, 1, 1)


def test_of_two_nerves_that_face_each_other_but_bend_too_much_to_be_one_one_leaves_the_other() -> None:
    tips = [(np.array([183.0, 200.0]), 153.0), (np.array([197.0, 200.0]), 27.0)]
    assert counts([(ray(tip, angle, 130.0), 4.0) for tip, angle in tips]) == (1, 1, 1)


@pytest.mark.parametrize("length", (90.0, 99.0))
def test_a_nerve_below_100_um_is_no_main_fibre(length: float) -> None:
    assert counts([(line_through(CENTRE, 30.0, (length - 4.0) / UM_PER_PX), 4.0)]) == (0, 0, 0)


def test_a_nerve_above_100_um_that_ends_inside_is_a_main_fibre() -> None:
    assert counts([(line_through(CENTRE, 30.0, 104.0 / UM_PER_PX), 4.0)]) == (1, 0, 0)


@pytest.mark.parametrize("angle", ANGLES)
@pytest.mark.parametrize("pitch", (8.0, 12.0))
def test_parallel_nerves_stay_apart(angle: float, pitch: float) -> None:
    assert counts([through(angle, 3.0, across) for across in (-pitch, 0.0, pitch)]) == (3, 0, 0)


@pytest.mark.parametrize("angle", ANGLES)
def test_a_fibre_runs_through_a_loop_whose_other_side_is_a_branch(angle: float) -> None:
    t = np.linspace(-1.0, 1.0, 2000)
    sides = [
        by_arc_length(CENTRE + np.outer(40 * t, unit(angle)) + np.outer(bulge * (1 - t**2), unit(angle + 90)))
        for bulge in (14.0, -14.0)
    ]
    outer = [
        ray(offset(angle, 40.0, 0.0), angle, 500.0),
        ray(offset(angle, -40.0, 0.0), angle + 180.0, 500.0),
    ]
    assert counts([(points, 4.0) for points in (*sides, *outer)]) == (1, 1, 2)


def test_two_nerves_that_meet_at_the_edge_do_not_turn_back() -> None:
    assert counts([(line((190, -10), (60, 394)), 4.0), (line((194, -10), (320, 394)), 4.0)]) == (2, 0, 0)


def test_a_whorl_is_one_fibre() -> None:
    t = np.linspace(0.0, 4.0 * np.pi, 4000)
    spiral = by_arc_length(CENTRE + (15.0 + 10.0 * t)[:, None] * np.stack([np.cos(t), np.sin(t)], axis=1))
    assert counts([(spiral, 4.0)]) == (1, 0, 0)


def test_a_ring_beside_a_fibre_counts_as_length_only() -> None:
    assert counts([through(0.0), (arc((190, 300), 40.0, 0.0, 360.0), 4.0)]) == (1, 0, 0)


def test_small_holes_do_not_split_the_centre_line() -> None:
    mask = draw([(line((-10, 190), (394, 190)), 9.0)])
    mask[188:192, 40:360:25] = False
    measured = measure_nerves(mask, UM_PER_PX)
    assert (measured.main_fibres, measured.branches) == (1, 0)
    assert measured.length_um == pytest.approx(400.0, rel=0.005)


def test_outline_noise_makes_no_branches() -> None:
    rng = np.random.default_rng(0)
    for angle in ANGLES:
        clean = draw([through(angle, 6.0)])
        edge = draw([through(angle, 8.0)]) & ~draw([through(angle, 4.0)])
        measured = measure_nerves(clean ^ (edge & (rng.random(clean.shape) < 0.1)), UM_PER_PX)
        assert (measured.main_fibres, measured.branches, measured.branch_points) == (1, 0, 0)
        assert measured.length_um == pytest.approx(UM_PER_PX * length_inside(through(angle)[0]), rel=0.02)


@pytest.mark.parametrize("angle", ANGLES)
def test_a_long_nerve_whose_end_forks_into_stubs_stays_a_main_fibre(angle: float) -> None:
    stem = ray(CENTRE, angle + 180.0, 170.0)
    fork = [(ray(CENTRE, angle + turn, 40.0), 3.0) for turn in (70.0, -70.0)]
    measured = measure([(stem, 4.0), *fork])
    assert (measured.main_fibres, measured.branches, measured.branch_points) == (1, 1, 1)
