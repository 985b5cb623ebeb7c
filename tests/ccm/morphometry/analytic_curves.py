"""Analytic curves with exact truth, drawn as masks: the test bed of the morphometry. Shares no code with the pack.

All lengths are in pixels. Points are (x, y), and pixel [row, column] has its centre at (column + 0.5, row + 0.5). A
stroke of width w covers the pixels whose centres lie within w / 2 of its curve, so that it has round caps.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

UM_PER_PX = 400.0 / 384.0
FRAME = (384, 384)
STEP = 0.2  # curves are polylines of such steps

Stroke = tuple[np.ndarray, float]  # points [N,2] and width


def by_arc_length(points: np.ndarray) -> np.ndarray:
    """Resample a fine polyline [N,2] to equal steps."""
    along = np.append(0.0, np.cumsum(np.hypot(*np.diff(points, axis=0).T)))
    at = np.linspace(0.0, along[-1], max(round(along[-1] / STEP), 2) + 1)
    return np.stack([np.interp(at, along, points[:, axis]) for axis in (0, 1)], axis=1)


def unit(degrees: float) -> np.ndarray:
    return np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))])


def line(start: Iterable[float], end: Iterable[float]) -> np.ndarray:
    return by_arc_length(np.array([list(start), list(end)], dtype=float))


def line_through(centre: Iterable[float], degrees: float, length: float = 1200.0) -> np.ndarray:
    middle = np.array(list(centre))
    return line(middle - 0.5 * length * unit(degrees), middle + 0.5 * length * unit(degrees))


def ray(start: Iterable[float], degrees: float, length: float) -> np.ndarray:
    begin = np.array(list(start))
    return line(begin, begin + length * unit(degrees))


def arc(centre: Iterable[float], radius: float, first: float, last: float) -> np.ndarray:
    angle = np.radians(np.linspace(first, last, 4000))
    return by_arc_length(np.array(list(centre)) + radius * np.stack([np.cos(angle), np.sin(angle)], axis=1))


def sinusoid(
    centre: Iterable[float], degrees: float, length: float, amplitude: float, wavelength: float
) -> np.ndarray:
    x = np.linspace(-length / 2.0, length / 2.0, 4000)
    y = amplitude * np.sin(2.0 * np.pi * x / wavelength)
    return by_arc_length(
        np.array(list(centre)) + x[:, None] * unit(degrees) + y[:, None] * unit(degrees + 90)
    )


def inside(points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    return (points >= 0).all(axis=1) & (points[:, 0] <= shape[1]) & (points[:, 1] <= shape[0])


def to_border(point: np.ndarray, shape: tuple[int, int]) -> float:
    return float(min(point[0], point[1], shape[1] - point[0], shape[0] - point[1]))


def length_inside(points: np.ndarray, shape: tuple[int, int] = FRAME) -> float:
    steps = np.hypot(*np.diff(points, axis=0).T)
    return float(steps[inside(0.5 * (points[1:] + points[:-1]), shape)].sum())


def draw(strokes: Iterable[Stroke], shape: tuple[int, int] = FRAME) -> np.ndarray:
    """Mask, bool [H,W]."""
    mask = np.zeros(shape, dtype=bool)
    for points, width in strokes:
        reach = int(np.ceil(width / 2.0)) + 1
        around = np.arange(-reach, reach + 1)
        columns = np.floor(points[:, 0]).astype(int)[:, None, None] + around[None, None, :]
        rows = np.floor(points[:, 1]).astype(int)[:, None, None] + around[None, :, None]
        away = (columns + 0.5 - points[:, 0, None, None]) ** 2 + (rows + 0.5 - points[:, 1, None, None]) ** 2
        hit = (away <= (width / 2.0) ** 2) & (columns >= 0) & (rows >= 0)
        hit &= (columns < shape[1]) & (rows < shape[0])
        rows, columns = np.broadcast_arrays(rows, columns)
        mask[rows[hit], columns[hit]] = True
    return mask


@dataclass
class Phantom:
    """A drawing and its truth; the first `mains` strokes are main fibres, the others branches."""

    shape: tuple[int, int] = FRAME
    strokes: list[Stroke] = field(default_factory=list)
    mains: int = 0
    branches: int = 0
    branch_points: int = 0

    def mask(self, scale: float = 1.0) -> np.ndarray:
        shape = (round(self.shape[0] * scale), round(self.shape[1] * scale))
        return draw([(scale * points, scale * width) for points, width in self.strokes], shape)

    @property
    def length(self) -> float:
        return sum(length_inside(points, self.shape) for points, _ in self.strokes)
