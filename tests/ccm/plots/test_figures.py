"""Figures: values land where the axis says, and odd data draw all the same."""

from __future__ import annotations

import numpy as np
import pytest
from ccm_pack.ccm.plots.canvas import BLUE, ORANGE, Axis
from ccm_pack.ccm.plots.figures import (
    HEIGHT,
    WIDTH,
    Group,
    Interval,
    agreement,
    forest,
    neighbour_sheet,
    notice,
    violins,
)


def rows_of(figure: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """Rows that hold a pixel of exactly this colour."""
    return np.flatnonzero((np.round(255 * figure) == colour).all(axis=-1).any(axis=1))


def columns_of(figure: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    return rows_of(figure.transpose(1, 0, 2), colour)


def test_an_axis_maps_its_ends_and_its_middle() -> None:
    axis = Axis(0.0, 10.0, 100.0, 200.0)
    assert (axis(0.0), axis(5.0), axis(10.0)) == (100.0, 150.0, 200.0)


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.0, 10.0, [0, 2, 4, 6, 8, 10]),
        (-1.0, 1.0, [-1, -0.5, 0, 0.5, 1]),
        (3.0, 3.6, [3, 3.1, 3.2, 3.3, 3.4, 3.5, 3.6]),
    ],
)
def test_ticks_are_round(low: float, high: float, ticks: list[float]) -> None:
    assert Axis(low, high, 0.0, 1.0).ticks() == pytest.approx(ticks)


def test_an_axis_around_one_value_or_none_is_no_point() -> None:
    for values in ([5.0], [], [float("nan")], [2.0, 2.0]):
        axis = Axis.around(values, 0.0, 1.0)
        assert axis.high > axis.low


def test_a_wider_interval_is_drawn_longer_and_in_its_colour() -> None:
    shown = forest([Interval("CNFL", 0.0, -0.5, 0.5, True)], "t")
    wide = forest([Interval("CNFL", 0.0, -1.0, 1.2, False)], "t")
    assert np.ptp(columns_of(wide, ORANGE)) > 1.8 * np.ptp(columns_of(shown, BLUE)) > 0
    assert len(columns_of(shown, ORANGE)) == 0
    assert shown.dtype == np.float32 and 0.0 <= shown.min() <= shown.max() <= 1.0


def test_an_interval_beyond_the_figure_is_cut_at_its_edge() -> None:
    figure = forest([Interval("CNFL", 90.0, -50.0, 230.0, False), Interval("CNFD", None, 0, 0, False)], "t")
    assert columns_of(figure, ORANGE).max() < WIDTH


def test_higher_values_stand_higher() -> None:
    low, high = (violins([Group("g", (v, v), (10.0, 0.0), 1.0)], "CNFL", "mm") for v in (1.0, 9.0))
    assert rows_of(high, BLUE).mean() < rows_of(low, BLUE).mean()
    assert low.shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize(
    "group",
    [
        Group("empty", (), (), 1.0),
        Group("one", (3.0,), (), 1.0),
        Group("constant", (3.0,) * 9, (3.0,) * 9, 1.0),
        Group("many", tuple(np.linspace(0, 5, 400)), (1e6,), 1.0),
    ],
)
def test_odd_groups_draw(group: Group) -> None:
    assert np.isfinite(violins([group], "CNFL", "")).all()


def test_agreement_draws_one_dot_per_pair() -> None:
    figure = agreement([10.0, 12.0, 14.0], [10.5, 12.0, 13.0], (-1.5, -0.2, 1.2), 1.5, "CNFL")
    columns = columns_of(figure, BLUE)
    assert np.count_nonzero(np.diff(columns) > 1) == 2


def test_the_sheet_shows_each_frame_beside_its_neighbour() -> None:
    black, white = np.zeros((8, 8)), np.ones((8, 8))
    figure = neighbour_sheet([black], [white], ["x"], "t")
    assert figure[44 + 60, 16 + 60].max() == 0.0
    assert figure[44 + 60, 16 + 120 + 2 + 60].min() == 1.0


def test_a_notice_is_a_figure_of_the_usual_size() -> None:
    assert notice("t", "no pairs").shape == (HEIGHT, WIDTH, 3)
