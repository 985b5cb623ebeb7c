"""Plane curves as dense polylines [N,2] in um: making, clipping, cutting, measuring."""

from __future__ import annotations

import numpy as np

STEP_UM = 2.0


def arc_lengths(points: np.ndarray) -> np.ndarray:
    """Return the distance of each point from the first along the polyline, [N] um."""
    steps = np.hypot(*(points[1:] - points[:-1]).T)
    return np.concatenate([[0.0], np.cumsum(steps)])


def length_of(points: np.ndarray) -> float:
    """Return the length of a polyline, um."""
    return float(np.hypot(*(points[1:] - points[:-1]).T).sum())


def headings_of(points: np.ndarray, span: int = 3) -> np.ndarray:
    """Return the direction at each point, taken over `span` points either side, [N] radians."""
    index = np.arange(len(points))
    steps = points[np.minimum(index + span, len(points) - 1)] - points[np.maximum(index - span, 0)]
    return np.arctan2(steps[:, 1], steps[:, 0])


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


def wander(count: int, samples: int, rms: float, knot_um: float, rng: np.random.Generator) -> np.ndarray:
    """Return `count` random signals [count,samples] of the given RMS, sampled every STEP_UM.

    Nerves run straight for a while and then turn, rather than like sines: the signal is straight between
    random knots about knot_um apart, with rounded corners; a smaller copy at 0.4 of the spacing is added.
    """
    rows = np.arange(count)[:, None]
    signal = np.zeros((count, samples + 4))
    for spacing, share in ((knot_um, 0.92), (0.4 * knot_um, 0.4)):
        at = np.arange(samples + 4) * (STEP_UM / spacing) + rng.random((count, 1))
        cell = at.astype(np.intp)
        knots = rng.standard_normal((count, int(at[:, -1].max()) + 2))
        low = knots[rows, cell]
        signal += share * (low + (at - cell) * (knots[rows, cell + 1] - low))
    rounded = sum(signal[:, k : k + samples] for k in range(5))
    return np.asarray(rounded) * (rms * 0.26)


def walk(starts: np.ndarray, headings: np.ndarray) -> np.ndarray:
    """Return the polylines [K,N+1,2] that leave starts [K,2] and follow headings [K,N], STEP_UM a step."""
    moves = STEP_UM * np.stack([np.cos(headings), np.sin(headings)], axis=-1)
    return np.concatenate([starts[:, None], starts[:, None] + np.cumsum(moves, axis=1)], axis=1)
