"""Biomarkers of trees small enough to work out by hand, in a frame of 400 x 400 um (0.16 mm2)."""

from __future__ import annotations

import numpy as np
import pytest
from ccm_pack.ccm.phantom.tree import Nerve
from ccm_pack.ccm.phantom.truth import NerveTruth, measure_truth

FRAME = (400.0, 400.0)


def straight(start: tuple[float, float], end: tuple[float, float], role: str = "main", **links: int) -> Nerve:
    points = np.linspace(start, end, 201)
    return Nerve(points, np.full(201, 4.0), role, **links)


def truth(*nerves: Nerve) -> NerveTruth:
    return measure_truth(nerves, FRAME)


def test_one_main_fibre_from_edge_to_edge() -> None:
    measured = truth(straight((100, 0), (100, 400)))
    assert measured.length_um == pytest.approx(400.0)
    assert measured.frame_area_mm2 == pytest.approx(0.16)
    assert measured.cnfl_mm_per_mm2 == pytest.approx(2.5)
    assert measured.cnfd_per_mm2 == pytest.approx(6.25)
    assert (measured.cnbd_per_mm2, measured.ctbd_per_mm2) == (0.0, 0.0)
    assert measured.cnfa == pytest.approx(0.01)
    assert measured.cnfw_um == pytest.approx(4.0)


def test_a_straight_fibre_is_not_tortuous() -> None:
    measured = truth(straight((30, 0), (370, 400)))
    assert measured.tortuosity_tc == pytest.approx(0.0, abs=1e-6)
    assert measured.tortuosity_arc_chord == pytest.approx(1.0)


def test_arc_over_chord_of_a_half_circle_is_half_pi() -> None:
    angles = np.linspace(0, np.pi, 401)
    arc = np.stack([200 + 100 * np.cos(angles), 200 + 100 * np.sin(angles)], axis=1)
    measured = truth(Nerve(arc, np.full(401, 3.0), "main"))
    assert measured.tortuosity_arc_chord == pytest.approx(np.pi / 2, rel=1e-4)


def test_a_branch_has_one_branch_point() -> None:
    measured = truth(straight((100, 0), (100, 400)), straight((100, 200), (160, 280), "branch", parent=0))
    assert measured.length_um == pytest.approx(500.0)
    assert (measured.main_fibres, measured.branch_points) == (1, 1)
    assert (measured.cnbd_per_mm2, measured.ctbd_per_mm2) == (6.25, 6.25)


def test_a_connection_has_a_branch_point_at_each_end_but_is_one_branch() -> None:
    mains = straight((100, 0), (100, 400)), straight((200, 0), (200, 400))
    measured = truth(*mains, straight((100, 150), (200, 250), "connection", parent=0, joins=1))
    assert (measured.main_fibres, measured.branch_points) == (2, 2)
    assert measured.ctbd_per_mm2 == pytest.approx(6.25)


def test_a_crossing_is_no_branch_point() -> None:
    measured = truth(straight((0, 0), (400, 400)), straight((0, 400), (400, 0)))
    assert (measured.main_fibres, measured.branch_points) == (2, 0)


def test_a_branch_of_a_branch_counts_in_ctbd_only() -> None:
    main, branch = straight((50, 0), (50, 400)), straight((50, 100), (150, 300), "branch", parent=0)
    measured = truth(main, branch, straight((100, 200), (200, 220), "branch", parent=1))
    assert measured.branch_points == 1
    assert measured.ctbd_per_mm2 == pytest.approx(12.5)


@pytest.mark.parametrize(("length", "mains"), [(99.0, 0), (101.0, 1)])
def test_a_main_fibre_is_at_least_100_um_long(length: float, mains: int) -> None:
    measured = truth(straight((50, 50), (50, 50 + length)))
    assert measured.main_fibres == mains
    assert measured.length_um == pytest.approx(length)


def test_width_is_weighted_by_length() -> None:
    thin, thick = straight((50, 0), (50, 300)), straight((90, 0), (90, 100))
    thin = Nerve(thin.points_um, np.full(201, 2.0), "main")
    assert truth(thin, thick).cnfw_um == pytest.approx((300 * 2 + 100 * 4) / 400)


def test_an_empty_frame_measures_zero() -> None:
    measured = truth()
    assert (measured.cnfl_mm_per_mm2, measured.cnfw_um, measured.main_fibres) == (0.0, 0.0, 0)
