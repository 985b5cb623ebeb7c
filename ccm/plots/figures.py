"""Forest, violins, agreement and neighbour sheet: values in, one figure out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .canvas import BAND, BLUE, FAINT, INK, ORANGE, Axis, Canvas, Colour

WIDTH, HEIGHT = 760, 480
TOP, LEFT, BOTTOM = 44, 76, 64
VIOLIN_PX = 46  # half the width of a violin
DENSITY_STEPS = 64
SHEET_COLUMNS = 4
SHEET_FRAME_PX = 120
ROW_LABEL_PX = 150


@dataclass(frozen=True)
class Interval:
    """A row of a forest: a difference with its interval, in multiples of the margin, or None if not tested."""

    label: str
    value: float | None
    low: float
    high: float
    shown: bool


@dataclass(frozen=True)
class Group:
    """Real and generated values of one cohort, and the margin around the real mean."""

    label: str
    real: tuple[float, ...]
    generated: tuple[float, ...]
    margin: float


@dataclass(frozen=True)
class Range:
    """A mean with the lowest and the highest value behind it."""

    label: str
    mean: float
    low: float
    high: float


def forest(rows: Sequence[Interval], title: str) -> np.ndarray:
    """Intervals over the margin band -1..1: inside it equivalence is shown, [H,W,3] in 0..1."""
    canvas = Canvas(WIDTH, TOP + BOTTOM + 30 * max(len(rows), 1))
    bottom = canvas.height - BOTTOM
    bounds = [x for row in rows if row.value is not None for x in (row.low, row.high)]
    axis = Axis.around([-1.3, 1.3, *(float(np.clip(x, -4.0, 4.0)) for x in bounds)], 190, WIDTH - 30)
    canvas.text((12, 22), title)
    canvas.box((axis(-1.0), TOP), (axis(1.0), bottom), BAND)
    canvas.line([(axis(0.0), TOP), (axis(0.0), bottom)], FAINT)
    for number, row in enumerate(rows):
        y = TOP + 30 * number + 15
        canvas.text((12, y), row.label)
        if row.value is None:
            canvas.text((axis(0.0), y), "not tested", "mm")
            continue
        colour = BLUE if row.shown else ORANGE
        low, high = (float(np.clip(x, axis.low, axis.high)) for x in (row.low, row.high))
        canvas.line([(axis(low), y), (axis(high), y)], colour, 2.0)
        if axis.low <= row.value <= axis.high:
            canvas.dot((axis(row.value), y), colour, 4.5)
    _ticks_below(canvas, axis, bottom)
    said = "difference / margin, 90 % interval; blue: equivalence shown, orange: not shown"
    canvas.text((WIDTH / 2, canvas.height - 16), said, "mm")
    return canvas.array()


def violins(groups: Sequence[Group], title: str, unit: str) -> np.ndarray:
    """Real and generated patients of each cohort side by side, with the band real mean +- margin, [H,W,3] in 0..1."""
    canvas = Canvas(WIDTH, HEIGHT)
    bottom = HEIGHT - BOTTOM
    edges = [np.mean(g.real) + sign * g.margin for g in groups if g.real for sign in (-1, 1)]
    values = [x for group in groups for x in (*group.real, *group.generated)]
    axis = Axis.around([*values, *map(float, edges)], bottom, TOP)
    canvas.text((12, 22), f"{title}, {unit}" if unit else title)
    step = (WIDTH - LEFT - 20) / max(len(groups), 1)
    for number, group in enumerate(groups):
        middle = LEFT + step * (number + 0.5)
        if group.real:
            mean = float(np.mean(group.real))
            span = axis(mean + group.margin), axis(mean - group.margin)
            canvas.box((middle - 0.45 * step, span[0]), (middle + 0.45 * step, span[1]), BAND)
            canvas.line([(middle - 0.45 * step, axis(mean)), (middle + 0.45 * step, axis(mean))], FAINT)
        _violin(canvas, axis, middle - 0.22 * step, group.real, BLUE)
        _violin(canvas, axis, middle + 0.22 * step, group.generated, ORANGE)
        counts = f"{group.label} ({len(group.real)}, {len(group.generated)})"
        canvas.text((middle, bottom + 18), counts, "mm")
    _ticks_left(canvas, axis)
    said = "blue: real patients, orange: generated; green band: real mean +- margin"
    canvas.text((WIDTH / 2, HEIGHT - 16), said, "mm")
    return canvas.array()


def agreement(
    real: Sequence[float], generated: Sequence[float], lines: Sequence[float], margin: float, title: str
) -> np.ndarray:
    """Bland-Altman: difference over mean of each pair; `lines` are lower limit, bias and upper limit. [H,W,3]."""
    canvas = Canvas(WIDTH, HEIGHT)
    right, bottom = WIDTH - 110, HEIGHT - BOTTOM
    a, b = np.asarray(real), np.asarray(generated)
    across = Axis.around(((a + b) / 2.0).tolist(), LEFT, right)
    down = Axis.around([*(b - a).tolist(), *lines, -margin, margin], bottom, TOP)
    canvas.text((12, 22), title)
    canvas.box((LEFT, down(margin)), (right, down(-margin)), BAND)
    for name, value in zip(("lower", "bias", "upper"), lines, strict=True):
        canvas.dashes((LEFT, down(value)), (right, down(value)))
        canvas.text((right + 6, down(value)), f"{name} {value:+.3g}")
    for x, y in zip((a + b) / 2.0, b - a, strict=True):
        canvas.dot((across(float(x)), down(float(y))), BLUE)
    _ticks_left(canvas, down)
    _ticks_below(canvas, across, bottom)
    said = "generated - real over their mean, one dot per patient; green band: margin"
    canvas.text((WIDTH / 2, HEIGHT - 16), said, "mm")
    return canvas.array()


def notice(title: str, text: str) -> np.ndarray:
    """A figure that says why there is none, [H,W,3] in 0..1."""
    canvas = Canvas(WIDTH, HEIGHT)
    canvas.text((12, 22), title)
    canvas.text((WIDTH / 2, HEIGHT / 2), text, "mm")
    return canvas.array()


def neighbour_sheet(
    frames: Sequence[np.ndarray], nearest: Sequence[np.ndarray], captions: Sequence[str], title: str
) -> np.ndarray:
    """Frames [H,W] in 0..1, each beside its nearest neighbour, with a line of text below the pair."""
    columns = min(SHEET_COLUMNS, max(len(frames), 1))
    rows = -(-len(frames) // columns)
    cell_x, cell_y = 2 * SHEET_FRAME_PX + 16, SHEET_FRAME_PX + 30
    canvas = Canvas(max(columns * cell_x + 16, 480), TOP + max(rows, 1) * cell_y)
    canvas.text((12, 22), title)
    for number, (frame, other, caption) in enumerate(zip(frames, nearest, captions, strict=True)):
        x, y = 16 + cell_x * (number % columns), TOP + cell_y * (number // columns)
        canvas.paste(frame, (x, y), SHEET_FRAME_PX)
        canvas.paste(other, (x + SHEET_FRAME_PX + 2, y), SHEET_FRAME_PX)
        canvas.text((x, y + SHEET_FRAME_PX + 12), caption)
    return canvas.array()


def frame_rows(rows: Sequence[tuple[str, Sequence[np.ndarray]]], title: str) -> np.ndarray:
    """Rows of frames [H,W] in 0..1, each row with its label on the left."""
    step = SHEET_FRAME_PX + 6
    columns = max((len(frames) for _, frames in rows), default=0)
    canvas = Canvas(max(ROW_LABEL_PX + columns * step + 10, 480), TOP + max(len(rows), 1) * step + 6)
    canvas.text((12, 22), title)
    for number, (label, frames) in enumerate(rows):
        y = TOP + step * number
        canvas.text((12, y + SHEET_FRAME_PX / 2), label)
        for column, frame in enumerate(frames):
            canvas.paste(frame, (ROW_LABEL_PX + column * step, y), SHEET_FRAME_PX)
    return canvas.array()


def ranges(rows: Sequence[Range], title: str, said: str) -> np.ndarray:
    """Means as dots on their ranges, over one axis from 0; the first row, a floor, blue, the others orange. [H,W,3]."""
    canvas = Canvas(WIDTH, TOP + BOTTOM + 40 * max(len(rows), 1))
    bottom = canvas.height - BOTTOM
    axis = Axis.around([0.0, *(x for row in rows for x in (row.low, row.high))], 240, WIDTH - 90)
    canvas.text((12, 22), title)
    for number, row in enumerate(rows):
        y, colour = TOP + 40 * number + 20, ORANGE if number else BLUE
        canvas.text((12, y), row.label)
        canvas.line([(axis(row.low), y), (axis(row.high), y)], colour, 4.0)
        canvas.dot((axis(row.mean), y), colour, 5.0)
        canvas.text((axis(row.high) + 10, y), f"{row.mean:.3g}")
    _ticks_below(canvas, axis, bottom)
    canvas.text((WIDTH / 2, canvas.height - 16), said, "mm")
    return canvas.array()


def _violin(canvas: Canvas, axis: Axis, middle: float, values: Sequence[float], colour: Colour) -> None:
    outline = _density(values)
    if outline is not None:
        heights, widths = outline
        side = [(float(w) * VIOLIN_PX, axis(float(y))) for y, w in zip(heights, widths, strict=True)]
        tint: Colour = tuple(round(255 - 0.35 * (255 - c)) for c in colour)  # type: ignore[assignment]
        canvas.area([(middle - w, y) for w, y in side] + [(middle + w, y) for w, y in reversed(side)], tint)
    for value in values:
        canvas.dot((middle, axis(value)), colour, 2.0)
    if values:
        mean = axis(float(np.mean(values)))
        canvas.line([(middle - 16, mean), (middle + 16, mean)], INK, 2.0)


def _density(values: Sequence[float]) -> tuple[np.ndarray, np.ndarray] | None:
    """Heights and relative widths of a kernel density between the extremes; None without a spread."""
    if len(values) < 3 or np.ptp(values) == 0.0:
        return None
    from scipy.stats import gaussian_kde

    heights = np.linspace(min(values), max(values), DENSITY_STEPS)
    widths = gaussian_kde(values)(heights)
    return heights, widths / widths.max()


def _ticks_below(canvas: Canvas, axis: Axis, y: float) -> None:
    canvas.line([(axis.start, y), (axis.end, y)])
    for tick in axis.ticks():
        canvas.line([(axis(tick), y), (axis(tick), y + 5)])
        canvas.text((axis(tick), y + 15), f"{tick:g}", "mm")


def _ticks_left(canvas: Canvas, axis: Axis) -> None:
    canvas.line([(LEFT, axis.start), (LEFT, axis.end)])
    for tick in axis.ticks():
        canvas.line([(LEFT - 5, axis(tick)), (LEFT, axis(tick))])
        canvas.text((LEFT - 9, axis(tick)), f"{tick:g}", "rm")
