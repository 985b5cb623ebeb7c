"""Length, tortuosity and width of single nerves of known shape."""

from __future__ import annotations

import numpy as np
import pytest
from analytic_curves import (
    FRAME,
    UM_PER_PX,
    arc,
    draw,
    length_inside,
    line,
    line_through,
    sinusoid,
)
from ccm_pack.ccm.morphometry import NerveBiomarkers, measure_nerves

CENTRE = (191.3, 192.4)
WIDTHS = (2.0, 3.0, 4.0, 6.0, 9.0, 12.0)


def measure(curve: np.ndarray, width: float) -> tuple[NerveBiomarkers, float]:
    """The measurement of one stroke, and its relative error in length."""
    measured = measure_nerves(draw([(curve, width)]), UM_PER_PX)
    return measured, measured.length_um / (UM_PER_PX * length_inside(curve)) - 1.0


@pytest.mark.parametrize("width", WIDTHS)
def test_length_of_lines_from_edge_to_edge_is_the_same_in_all_directions(width: float) -> None:
    errors = [measure(line_through(CENTRE, angle), width)[1] for angle in np.arange(0.0, 180.0, 7.5)]
    assert np.mean(np.abs(errors)) <= 0.002 and np.ptp(errors) <= 0.01


@pytest.mark.parametrize("width", WIDTHS)
def test_length_of_lines_that_end_inside_is_the_same_in_all_directions(width: float) -> None:
    errors = [measure(line_through(CENTRE, angle, 250.0), width)[1] for angle in np.arange(0.0, 180.0, 7.5)]
    assert np.mean(np.abs(errors)) <= 0.002 and np.ptp(errors) <= 0.01


@pytest.mark.parametrize("width", WIDTHS)
def test_straight_lines_are_not_tortuous(width: float) -> None:
    for angle in np.arange(0.0, 180.0, 15.0):
        measured, _ = measure(line_through(CENTRE, angle), width)
        assert measured.main_fibres == 1
        assert measured.tortuosity_tc <= 2.5 and measured.tortuosity_arc_chord <= 1.01


def test_a_straight_diagonal_nerve_does_not_vanish() -> None:
    """It does in Zhang and Suen's thinning, for some widths and offsets."""
    for width in (1.5, 2.5, 3.0, 4.0, 6.0):
        for offset in (0.0, 0.3, 0.5, 0.8):
            _, error = measure(line_through((190.0 + offset, 190.0), 45.0, 250.0), width)
            assert abs(error) <= 0.01


@pytest.mark.parametrize("width", (2.0, 4.0, 8.0, 12.0))
@pytest.mark.parametrize("radius", (50.0, 80.0, 120.0))
def test_length_of_arcs(width: float, radius: float) -> None:
    errors = [measure(arc(CENTRE, radius, first, first + 160), width)[1] for first in range(0, 360, 60)]
    assert np.mean(np.abs(errors)) <= 0.005 and np.max(np.abs(errors)) <= 0.012


@pytest.mark.parametrize(
    ("amplitude", "wavelength"), [(3, 60), (6, 60), (10, 60), (6, 80), (10, 120), (10, 200)]
)
def test_length_of_sinusoids(amplitude: float, wavelength: float) -> None:
    errors = [
        measure(sinusoid(CENTRE, angle, 250.0, amplitude, wavelength), width)[1]
        for angle, width in zip(range(0, 180, 15), np.linspace(3, 6, 12), strict=True)
    ]
    assert np.mean(np.abs(errors)) <= 0.004 and np.max(np.abs(errors)) <= 0.01


@pytest.mark.parametrize("amplitude", (4.0, 8.0, 12.0))
def test_tortuosity_of_a_sinusoid_is_that_of_its_formula(amplitude: float) -> None:
    """f = a sin(k x): the integral of f'^2 + f''^2 over whole waves of length L is a^2 k^2 (1 + k^2) L / 2."""
    wavelength, length = 80.0, 240.0
    k = 2.0 * np.pi / wavelength
    expected = np.sqrt(amplitude**2 * k**2 * (1.0 + k**2) * length / 2.0)
    curve = sinusoid(CENTRE, 30.0, length, amplitude, wavelength)
    measured, _ = measure(curve, 4.0)
    assert measured.tortuosity_tc == pytest.approx(expected, rel=0.03)
    assert measured.tortuosity_arc_chord == pytest.approx(length_inside(curve) / length, rel=0.003)


@pytest.mark.parametrize("radius", (20.0, 30.0, 50.0, 80.0, 120.0))
def test_a_ring_has_its_circumference_and_is_no_main_fibre(radius: float) -> None:
    for width in (3.0, 8.0):
        measured, error = measure(arc(CENTRE, radius, 0.0, 360.0), width)
        assert abs(error) <= 0.005 and measured.main_fibres == 0
        assert np.isnan(measured.tortuosity_tc)


@pytest.mark.parametrize("width", WIDTHS)
def test_width_is_the_drawn_one(width: float) -> None:
    widths = [measure(line_through(CENTRE, angle), width)[0].cnfw_um for angle in np.arange(5.0, 180.0, 10.0)]
    assert np.mean(widths) == pytest.approx(width * UM_PER_PX, rel=0.06 if width < 3 else 0.02)


@pytest.mark.parametrize("distance", (0.5, 1.0, 2.0, 3.0, 5.0))
def test_a_nerve_that_hugs_the_edge_keeps_its_length(distance: float) -> None:
    for width in (3.0, 6.0, 9.0):
        _, error = measure(line((-20.0, distance), (FRAME[1] + 20.0, distance)), width)
        assert abs(error) <= 0.01


@pytest.mark.parametrize("width", (3.0, 6.0, 9.0))
def test_a_nerve_that_leaves_at_a_grazing_angle_ends_where_its_centre_leaves(width: float) -> None:
    """At 3 degrees, the seen part goes on for ten half-widths beyond the centre-line."""
    errors = []
    for outside in (2.0, 4.0, 6.0):
        curve = line((60.0, -outside), (360.0, 15.0))
        measured = measure_nerves(draw([(curve, width)]), UM_PER_PX)
        errors.append(measured.length_um / UM_PER_PX - length_inside(curve))
    assert np.max(np.abs(errors)) <= 3.0
