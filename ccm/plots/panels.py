"""Small panels side by side, one for each biomarker, with the values of every group as dots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .canvas import BLUE, FAINT, INK, ORANGE, Axis, Canvas, Colour

COLUMNS = 3
PANEL_X, PANEL_Y = 340, 260
LEFT, TOP, BELOW = 64, 44, 30
NOTE = 34
SPREAD_PX = 26  # how far dots are moved sideways, so that they do not hide one another
GREEN: Colour = (0, 158, 115)  # the third of Okabe and Ito
COLOURS = (BLUE, GREEN, ORANGE)


@dataclass(frozen=True)
class Panel:
    """A heading, its unit, and the values of each group."""

    title: str
    unit: str
    groups: dict[str, tuple[float, ...]]


def panels(drawn: Sequence[Panel], note: str) -> np.ndarray:
    """The panels row by row, float32 [H,W,3] in 0..1."""
    rows = -(-len(drawn) // COLUMNS)
    canvas = Canvas(COLUMNS * PANEL_X + 20, rows * PANEL_Y + NOTE)
    for number, panel in enumerate(drawn):
        _draw(canvas, panel, (number % COLUMNS) * PANEL_X, (number // COLUMNS) * PANEL_Y)
    canvas.text((canvas.width / 2, canvas.height - NOTE / 2), note, "mm")
    return canvas.array()


def _draw(canvas: Canvas, panel: Panel, x: float, y: float) -> None:
    bottom = y + PANEL_Y - BELOW
    axis = Axis.around([value for values in panel.groups.values() for value in values], bottom, y + TOP)
    canvas.text((x + 16, y + 20), f"{panel.title}, {panel.unit}" if panel.unit else panel.title)
    for tick in axis.ticks():
        canvas.line([(x + LEFT, axis(tick)), (x + PANEL_X, axis(tick))], FAINT)
        canvas.text((x + LEFT - 8, axis(tick)), f"{tick:g}", "rm")
    step = (PANEL_X - LEFT) / max(len(panel.groups), 1)
    for number, (label, values) in enumerate(panel.groups.items()):
        middle = x + LEFT + step * (number + 0.5)
        _dots(canvas, axis, middle, values, COLOURS[number % len(COLOURS)])
        canvas.text((middle, bottom + 16), label if values else f"{label}: none", "mm")


def _dots(canvas: Canvas, axis: Axis, middle: float, values: Sequence[float], colour: Colour) -> None:
    """The values as dots, moved aside by the fractions of the golden ratio, and the bar of their mean."""
    for number, value in enumerate(values):
        aside = 2.0 * ((number * 0.618034) % 1.0) - 1.0 if len(values) > 1 else 0.0
        canvas.dot((middle + SPREAD_PX * aside, axis(value)), colour, 3.0)
    if values:
        mean = axis(float(np.mean(values)))
        canvas.line([(middle - 34, mean), (middle + 34, mean)], INK, 2.0)
