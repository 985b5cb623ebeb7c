"""Densities, area, dimension and the field of view, on masks whose numbers can be worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from analytic_curves import FRAME, UM_PER_PX, draw, line, line_through, ray
from ccm_pack.ccm.errors import MaskError, PixelSizeError
from ccm_pack.ccm.morphometry import NerveBiomarkers, Role, measure_nerves
from ccm_pack.ccm.morphometry.graph import assign_roles
from random_trees import random_tree


def measure(mask: np.ndarray) -> NerveBiomarkers:
    return measure_nerves(mask, UM_PER_PX)


def test_three_horizontal_nerves_give_these_numbers() -> None:
    mask = np.zeros(FRAME, dtype=bool)
    for row in (60, 180, 300):
        mask[row : row + 4] = True
    found = measure(mask)
    assert found.length_um == pytest.approx(1200.0, rel=1e-6)
    assert found.frame_area_mm2 == pytest.approx(0.16)
    assert found.cnfl_mm_per_mm2 == pytest.approx(7.5, rel=1e-6)
    assert (found.main_fibres, found.cnfd_per_mm2) == (3, pytest.approx(18.75))
    assert (found.branch_points, found.cnbd_per_mm2) == (0, 0.0)
    assert (found.branches, found.ctbd_per_mm2) == (0, 0.0)
    assert found.cnfa == pytest.approx(12 / 384)
    assert found.cnfw_um == pytest.approx(4 * UM_PER_PX, rel=0.01)
    assert found.tortuosity_tc == pytest.approx(0.0, abs=1e-6)
    assert found.tortuosity_arc_chord == pytest.approx(1.0)
    assert found.cnfrd == pytest.approx(1.0, abs=0.05)


def test_a_branched_nerve_gives_these_densities() -> None:
    found = measure(draw([(line((-10, 190), (394, 190)), 4.0), (ray((150, 190), 60.0, 100.0), 3.0)]))
    assert (found.cnfd_per_mm2, found.cnbd_per_mm2, found.ctbd_per_mm2) == pytest.approx((6.25, 6.25, 6.25))
    main, branch = found.graph.with_role(Role.MAIN)[0], found.graph.with_role(Role.BRANCH)[0]
    assert main.length_um == pytest.approx(400.0, rel=0.002)
    assert branch.length_um == pytest.approx(100.0 * UM_PER_PX, rel=0.02)
    assert sorted(branch.parents) == [-1, found.graph.nerves.index(main)]


def test_an_empty_mask_measures_zero_and_has_no_widths_dimension_or_tortuosity() -> None:
    found = measure(np.zeros(FRAME, dtype=bool))
    assert found.cnfl_mm_per_mm2 == found.cnfd_per_mm2 == found.cnbd_per_mm2 == found.ctbd_per_mm2 == 0.0
    assert found.cnfa == found.length_um == 0.0 and found.frame_area_mm2 == pytest.approx(0.16)
    missing = (found.cnfw_um, found.cnfrd, found.tortuosity_tc, found.tortuosity_arc_chord)
    assert all(map(math.isnan, missing)) and found.graph.nerves == ()


@pytest.mark.parametrize("size", (1, 3, 12, 200))
def test_a_speck_or_a_filled_area_is_no_nerve(size: int) -> None:
    mask = np.zeros(FRAME, dtype=bool)
    mask[100 : 100 + size, 100 : 100 + size] = True
    found = measure(mask)
    assert found.length_um == 0.0 and found.main_fibres == 0
    assert found.cnfa == pytest.approx(size**2 / 384**2)


def test_a_white_frame_is_no_nerve_and_all_area() -> None:
    found = measure(np.ones(FRAME, dtype=bool))
    assert (found.length_um, found.cnfa) == (0.0, 1.0)


def test_a_grid_of_lines_has_a_higher_dimension_than_one_line() -> None:
    grid = np.zeros(FRAME, dtype=bool)
    grid[6::12], grid[:, 6::12] = True, True
    one = measure(draw([(line_through((192, 192), 30.0), 3.0)])).cnfrd
    assert one == pytest.approx(1.0, abs=0.1)
    assert 1.6 < measure(grid).cnfrd <= 2.0


def test_the_dimension_does_not_jump_where_a_rounded_pixel_size_makes_the_field_a_little_larger() -> None:
    mask = draw([(line_through((192, 192), angle), 3.0) for angle in (10.0, 50.0, 95.0)])
    exact, rounded = (measure_nerves(mask, size).cnfrd for size in (400 / 384, 1.0417))
    assert rounded == pytest.approx(exact, abs=0.005)


def test_floats_above_one_half_and_whole_numbers_above_zero_are_nerve() -> None:
    mask = draw([(line_through((192, 192), 30.0), 4.0)])
    expected = measure(mask).length_um
    for array in (
        mask.astype(np.uint8),
        255 * mask.astype(np.uint8),
        mask.astype(np.int64),
        0.9 * mask + 0.05,
    ):
        assert measure(array).length_um == expected


def test_a_field_of_view_counts_only_what_it_shows() -> None:
    """A circle of radius R shows the chord 2 sqrt(R^2 - d^2) of a line at distance d, and the area pi R^2."""
    radius, rows, columns = 170.0, *np.indices(FRAME)
    field = np.hypot(columns + 0.5 - 192.0, rows + 0.5 - 192.0) <= radius
    lines = [(line_through((192.0 + distance, 192.0), 90.0), 4.0) for distance in (-100.0, 0.0, 60.0, 120.0)]
    found = measure_nerves(draw(lines), UM_PER_PX, field)
    chords = sum(2.0 * math.sqrt(radius**2 - distance**2) for distance in (100.0, 0.0, 60.0, 120.0))
    assert found.length_um == pytest.approx(chords * UM_PER_PX, rel=0.005)
    assert found.frame_area_mm2 == pytest.approx(math.pi * (radius * UM_PER_PX) ** 2 * 1e-6, rel=0.002)
    assert found.main_fibres == 4
    assert found.tortuosity_tc < 2.5


def test_a_rectangular_field_of_view_is_a_cropped_frame() -> None:
    mask = random_tree(11).mask()
    field = np.zeros(FRAME, dtype=bool)
    field[40:340, 60:330] = True
    seen, cropped = measure_nerves(mask, UM_PER_PX, field), measure_nerves(mask[40:340, 60:330], UM_PER_PX)
    assert seen.frame_area_mm2 == pytest.approx(cropped.frame_area_mm2)
    assert seen.cnfl_mm_per_mm2 == pytest.approx(cropped.cnfl_mm_per_mm2, rel=0.01)
    assert seen.main_fibres == cropped.main_fibres


@pytest.mark.parametrize(
    "field", [np.zeros(FRAME, dtype=bool), np.ones((10, 10), dtype=bool), np.full(FRAME, np.nan)]
)
def test_a_field_of_view_that_shows_nothing_or_does_not_fit_is_refused(field: np.ndarray) -> None:
    with pytest.raises(MaskError):
        measure_nerves(np.zeros(FRAME, dtype=bool), UM_PER_PX, field)


@pytest.mark.parametrize("um_per_px", (0.0, -1.0, math.nan, math.inf, 1e-300, 0.09, 101.0, 1e300))
def test_a_pixel_size_that_is_none_is_refused(um_per_px: float) -> None:
    with pytest.raises(PixelSizeError):
        measure_nerves(np.zeros(FRAME, dtype=bool), um_per_px)


@pytest.mark.parametrize(
    "mask",
    [
        np.zeros((4, 4, 3)),
        np.zeros(16),
        np.zeros((0, 5)),
        np.full((4, 4), np.nan),
        np.full((4, 4), np.inf),
        np.full((4, 4), "nerve"),
        np.full((4, 4), None),
    ],
)
def test_what_is_no_mask_is_refused(mask: np.ndarray) -> None:
    with pytest.raises(MaskError):
        measure_nerves(mask, UM_PER_PX)


def test_of_nerves_that_leave_each_other_in_a_circle_the_longest_is_the_origin() -> None:
    roles = assign_roles([300.0, 200.0, 50.0], [(1, -1), (0, -1), (1, -1)], [False] * 3)
    assert roles == [Role.MAIN, Role.BRANCH, Role.BRANCH]


def test_a_long_nerve_does_not_leave_a_short_fragment() -> None:
    assert assign_roles([300.0, 60.0], [(1, -1), (-1, -1)], [False] * 2) == [Role.MAIN, Role.BRANCH]
    assert assign_roles([90.0, 60.0], [(1, -1), (-1, -1)], [False] * 2) == [Role.BRANCH, Role.FRAGMENT]


def test_a_ring_is_no_main_fibre_even_with_a_branch() -> None:
    roles = assign_roles([400.0, 40.0, 5.0], [(-1, -1), (0, -1), (0, -1)], [True, False, False])
    assert roles == [Role.FRAGMENT, Role.BRANCH, Role.TWIG]
