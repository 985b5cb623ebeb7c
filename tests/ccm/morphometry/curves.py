"""Analytic curves with exact truth, drawn as masks: the test bed of the morphometry. Shares no code with the pack.

All lengths are in pixels; a pixel [row, column] has its centre at (column + 0.5, row + 0.5). A stroke of width w covers
the pixels whose centres lie within w / 2 of its curve, so it has round caps.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

STEP = 0.2


def by_arc_length(points: np.ndarray) -> np.ndarray:
    """Resample a fine polyline [N,2] at steps of 0.2 pixels."""
    along = np.append(0.0, np.cumsum(np.hypot(*np.diff(points, axis=0).T)))
    at = np.linspace(0.0, along[-1], max(int(along[-1] / STEP), 2) + 1)
    return np.stack([np.interp(at, along, points[:, axis]) for axis in (0, 1)], axis=1)


def line(start, end) -> np.ndarray:
    return by_arc_length(np.array([start, end], dtype=float))


def line_through(centre, degrees: float, length: float) -> np.ndarray:
    half = 0.5 * length * np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))])
    return line(np.array(centre) - half, np.array(centre) + half)


def arc(centre, radius: float, from_degrees: float, to_degrees: float) -> np.ndarray:
    angle = np.radians(np.linspace(from_degrees, to_degrees, 2000))
    return by_arc_length(np.array(centre) + radius * np.stack([np.cos(angle), np.sin(angle)], axis=1))


def sinusoid(
    centre, degrees: float, length: float, amplitude: float, wavelength: float, phase: float = 0.0
) -> np.ndarray:
    x = np.linspace(-length / 2.0, length / 2.0, 4000)
    y = amplitude * np.sin(2.0 * np.pi * x / wavelength + phase)
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return by_arc_length(np.array(centre) + np.stack([c * x - s * y, s * x + c * y], axis=1))


def inside(points: np.ndarray, shape) -> np.ndarray:
    x, y = points.T
    return (x >= 0) & (y >= 0) & (x <= shape[1]) & (y <= shape[0])


def length_inside(points: np.ndarray, shape) -> float:
    steps = np.hypot(*np.diff(points, axis=0).T)
    return float(steps[inside(0.5 * (points[1:] + points[:-1]), shape)].sum())


def draw(shape, strokes) -> np.ndarray:
    """Mask [H,W] of strokes (points, width)."""
    mask = np.zeros(shape, dtype=bool)
    for points, width in strokes:
        reach = int(np.ceil(width / 2.0)) + 1
        around = np.arange(-reach, reach + 1)
        columns = np.floor(points[:, 0]).astype(int)[:, None, None] + around[None, None, :]
        rows = np.floor(points[:, 1]).astype(int)[:, None, None] + around[None, :, None]
        near = (columns + 0.5 - points[:, 0, None, None]) ** 2 + (rows + 0.5 - points[:, 1, None, None]) ** 2
        hit = (near <= (width / 2.0) ** 2) & (columns >= 0) & (rows >= 0)
        hit &= (columns < shape[1]) & (rows < shape[0])
        rows, columns = np.broadcast_arrays(rows, columns)
        mask[rows[hit], columns[hit]] = True
    return mask


@dataclass
class Phantom:
    """A drawing and its truth. mains and branches: lists of (points, width); feet: branch points on mains."""

    shape: tuple[int, int] = (384, 384)
    um_per_px: float = 400.0 / 384.0
    strokes: list = field(default_factory=list)
    mains: int = 0
    branches: int = 0
    branch_points: int = 0

    def mask(self) -> np.ndarray:
        return draw(self.shape, self.strokes)

    @property
    def length_um(self) -> float:
        return self.um_per_px * sum(length_inside(points, self.shape) for points, _ in self.strokes)


def min_distance(a: np.ndarray, b: np.ndarray) -> float:
    from scipy.spatial import cKDTree

    return float(cKDTree(b).query(a)[0].min())


def heading(points: np.ndarray, at: int) -> float:
    low, high = max(at - 10, 0), min(at + 10, len(points) - 1)
    return float(np.arctan2(*(points[high] - points[low])[::-1]))


def wander(rng, start, angle: float, length: float, bend: float) -> np.ndarray:
    """A smooth random curve: its heading is a sum of three sine waves of random phase, `bend` radians strong."""
    s = np.arange(0.0, length, STEP)
    turn = np.zeros_like(s)
    for wavelength in rng.uniform(100.0, 400.0, 3):
        phase = rng.uniform(0, 2 * np.pi)
        turn += bend / np.sqrt(3) * (np.sin(2 * np.pi * s / wavelength + phase) - np.sin(phase))
    theta = angle + turn
    return np.array(start) + STEP * np.cumsum(np.stack([np.cos(theta), np.sin(theta)], axis=1), axis=0)


def random_phantom(rng, shape=(384, 384), um_per_px: float = 400.0 / 384.0, crossings: bool = True) -> Phantom:
    """A nerve tree like those of CCM frames: mains, one or more crossings, branches, connections, nerves that end inside.

    Features keep a distance from each other, so that the truth is what a human would count.
    """
    size = max(shape)
    phantom = Phantom(shape, um_per_px)
    mains: list[tuple[np.ndarray, float]] = []
    marks: list[np.ndarray] = []  # crossings and branch points
    main_direction = rng.uniform(0, np.pi)
    wanted = rng.integers(1, 9)
    for _ in range(60):
        if len(mains) >= wanted:
            break
        crossing = crossings and len(mains) > 1 and rng.random() < 0.5
        angle = main_direction + (rng.uniform(0.5, np.pi / 2) * rng.choice([-1, 1]) if crossing else rng.normal(0, 0.1))
        centre = rng.uniform(0.1, 0.9, 2) * np.array(shape[::-1])
        start = centre - 0.8 * size * np.array([np.cos(angle), np.sin(angle)])
        points = wander(rng, start, angle, 1.6 * size, rng.uniform(0, 0.25))
        if rng.random() < 0.2:  # ends inside
            points = points[: int(len(points) * rng.uniform(0.45, 0.7))]
        width = rng.uniform(2.0, 7.0)
        points = _longest_inside(points, shape)
        if length_inside(points, shape) * um_per_px < 110.0 or _ends_at_another(points, mains):
            continue
        found = _crossings(points, width, mains, shape, marks)
        if found is None:
            continue
        mains.append((points, width))
        marks.extend(found)
    phantom.mains = len(mains)
    strokes = list(mains)
    wanted = rng.integers(0, 11)
    for _ in range(60):
        if phantom.branches >= wanted:
            break
        owner = int(rng.integers(len(mains)))
        if _grow_branch(rng, phantom, mains, owner, strokes, marks):
            phantom.branches += 1
    phantom.strokes = strokes
    return phantom


def _longest_inside(points: np.ndarray, shape) -> np.ndarray:
    """The longest run inside the frame, with a margin outside so that a stroke is cut by the border."""
    ok = inside(points, shape)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], ok.astype(int), [0]])))
    if len(edges) == 0:
        return points[:0]
    runs = edges.reshape(-1, 2)
    first, last = runs[np.argmax(runs[:, 1] - runs[:, 0])]
    if len(runs) > 1:
        return points[first:last][:0]  # re-enters: skip
    margin = int(12 / STEP)
    return points[max(first - margin, 0) : last + margin]


def _ends_at_another(points: np.ndarray, mains) -> bool:
    """Whether an end comes within 25 pixels of another main, or the end of another main comes that close to this one."""
    return any(
        min(min_distance(points[[0, -1]], other), min_distance(other[[0, -1]], points)) < 25.0 for other, _ in mains
    )


def _crossings(points, width, mains, shape, marks):
    """Crossing points with the mains so far; None if the new main comes too close without a clean crossing."""
    from scipy.spatial import cKDTree

    found = []
    for other, other_width in mains:
        distance, index = cKDTree(other, balanced_tree=False, compact_nodes=False).query(points, distance_upper_bound=30.0)
        need = 0.5 * (width + other_width) + 5.0
        close = distance < need
        if not close.any():
            continue
        edges = np.flatnonzero(np.diff(np.concatenate([[0], close.astype(int), [0]]))).reshape(-1, 2)
        for first, last in edges:
            at = first + int(np.argmin(distance[first:last]))
            turn = abs((heading(points, at) - heading(other, int(index[at])) + np.pi / 2) % np.pi - np.pi / 2)
            point = points[at]
            clear = min(point[0], point[1], shape[1] - point[0], shape[0] - point[1])
            if distance[at] > 0.3 or turn < np.radians(28) or clear < 30 or first == 0 or last == len(points):
                return None
            if any(np.hypot(*(point - mark)) < 45 for mark in marks + found):
                return None
            found.append(point)
    return found


def _grow_branch(rng, phantom, mains, owner, strokes, marks) -> bool:
    from scipy.spatial import cKDTree

    points, parent_width = mains[owner]
    at = int(rng.integers(len(points)))
    foot, shape = points[at], phantom.shape
    if min(foot[0], foot[1], shape[1] - foot[0], shape[0] - foot[1]) < 15:
        return False
    if min(at, len(points) - at) * STEP < 25 or any(np.hypot(*(foot - mark)) < 30 for mark in marks):
        return False
    width = min(rng.uniform(2.0, 4.5), parent_width)
    angle = heading(points, at) + rng.choice([-1, 1]) * rng.uniform(np.radians(28), np.radians(75))
    angle += np.pi * rng.integers(2)
    branch = wander(rng, foot, angle, rng.uniform(35, 160), rng.uniform(0, 0.25))
    clear = int((parent_width + 16) / STEP)
    if len(branch) < clear + 20:
        return False
    outside = np.flatnonzero(~inside(branch, shape))
    if len(outside):
        if outside[0] * STEP < 30:
            return False
        branch = branch[: outside[0] + int(12 / STEP)]
    joins = 0
    for number, (other, other_width) in enumerate(strokes):
        part = branch[clear:] if number == owner else branch
        distance, index = cKDTree(other, balanced_tree=False, compact_nodes=False).query(part, distance_upper_bound=30.0)
        hit = np.flatnonzero(distance < 0.5 * (width + other_width) + 6.0)
        if len(hit) == 0:
            continue
        if number == owner or number >= len(mains) or joins:
            return False
        touch = np.flatnonzero(distance < 0.25)
        if len(touch) == 0 or touch[0] * STEP < 40:
            return False
        spot = other[int(index[touch[0]])]
        turn = abs((heading(branch, touch[0]) - heading(other, int(index[touch[0]])) + np.pi / 2) % np.pi - np.pi / 2)
        edge = min(spot[0], spot[1], shape[1] - spot[0], shape[0] - spot[1])
        along = min(int(index[touch[0]]), len(other) - int(index[touch[0]])) * STEP
        if turn < np.radians(28) or edge < 15 or along < 25 or any(np.hypot(*(spot - mark)) < 30 for mark in marks):
            return False
        branch, joins = branch[: touch[0] + 1], 1
        marks_new = spot
        # the connection must not touch anything else before it joins: checked by the loop for the other strokes
    if length_inside(branch, shape) * phantom.um_per_px < 25:
        return False
    strokes.append((branch, width))
    marks.append(foot)
    phantom.branch_points += 1 + joins
    if joins:
        marks.append(marks_new)
    return True
