"""Plane curves as dense polylines [N,2] in um: making, clipping, cutting, measuring."""

from __future__ import annotations

import numpy as np

STEP_UM = 2.0


def arc_lengths(points: np.ndarray) -> np.ndarray:
    """Return the distance of each point from the first along the polyline, [N] um."""
    steps = np.hypot(*np.diff(points, axis=0).T)
    return np.concatenate([[0.0], np.cumsum(steps)])


def length_of(points: np.ndarray) -> float:
    """Return the length of a polyline, um."""
    return float(np.hypot(*np.diff(points, axis=0).T).sum())


def cut_to_length(points: np.ndarray, length: float) -> np.ndarray:
    """Return the first part of a polyline, exactly `length` um long (or all of it)."""
    arcs = arc_lengths(points)
    if length >= arcs[-1]:
        return points
    end = [np.interp(length, arcs, points[:, axis]) for axis in (0, 1)]
    return np.vstack([points[arcs < length - 1e-6], end])


def clip_to_frame(points: np.ndarray, size_um: tuple[float, float]) -> np.ndarray:
    """Return the longest run of a polyline inside the frame, cut exactly on the border ([0,2] if none)."""
    limits = np.asarray(size_um)
    inside = ((points >= 0) & (points <= limits)).all(axis=1)
    if inside.all():
        return points
    edges = np.flatnonzero(np.diff(np.concatenate([[0], inside.astype(np.int8), [0]])))
    if edges.size == 0:
        return points[:0]
    runs = edges.reshape(-1, 2)
    start, stop = (int(v) for v in runs[np.argmax(runs[:, 1] - runs[:, 0])])
    run = points[start:stop]
    if start > 0:
        run = np.vstack([_border_point(points[start], points[start - 1], limits), run])
    if stop < len(points):
        run = np.vstack([run, _border_point(points[stop - 1], points[stop], limits)])
    return run


def _border_point(inner: np.ndarray, outer: np.ndarray, limits: np.ndarray) -> np.ndarray:
    step = outer - inner
    with np.errstate(divide="ignore", invalid="ignore"):
        reach = np.where(step > 0, (limits - inner) / step, np.where(step < 0, -inner / step, np.inf))
    return np.clip(inner + step * min(1.0, float(reach.min())), 0.0, limits)


def undulation(
    distance: np.ndarray, rms: float, wavelengths: tuple[float, float], rng: np.random.Generator
) -> np.ndarray:
    """Return a smooth random offset of the given RMS: six sines, long waves higher than short ones."""
    lengths = np.exp(rng.uniform(*np.log(wavelengths), 6))
    heights = lengths * rng.uniform(0.5, 1.0, 6)
    heights *= rms * np.sqrt(2.0) / np.sqrt((heights**2).sum())
    phases = rng.uniform(0, 2 * np.pi, 6)
    return np.sin(2 * np.pi * distance[:, None] / lengths + phases) @ heights


def walk(start: np.ndarray, headings: np.ndarray, step: float = STEP_UM) -> np.ndarray:
    """Return the polyline that starts at a point and follows headings [N] (radians), one per step."""
    moves = step * np.stack([np.cos(headings), np.sin(headings)], axis=1)
    return np.vstack([start, start + np.cumsum(moves, axis=0)])


def bezier(corners: np.ndarray, count: int) -> np.ndarray:
    """Return `count` points of the cubic Bezier curve with four corners [4,2]."""
    t = np.linspace(0.0, 1.0, count)[:, None]
    weights = np.hstack([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3])
    return weights @ corners
