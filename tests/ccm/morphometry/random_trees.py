"""Random nerve trees of analytic curves with exact truth. All lengths are in pixels.

Features keep a distance from each other and from the border, so that the truth is what a human would count: strokes
that do not meet are 5 or more pixels apart, crossings and feet 30 or more, and nothing crosses or leaves at less than
28 degrees.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from analytic_curves import FRAME, STEP, Phantom, Stroke, inside, length_inside, to_border
from scipy.spatial import cKDTree

LEAST_ANGLE = np.radians(28.0)
MARGIN = round(12 / STEP)  # points outside of the frame, so that the border cuts a stroke
SHORTEST_MAIN = 110.0


def random_tree(seed: int, shape: tuple[int, int] = FRAME) -> Phantom:
    """Up to 8 main fibres, some of which cross or end inside, and up to 10 branches and connections."""
    rng = np.random.default_rng(seed)
    tree = _Tree(rng, shape, direction=rng.uniform(0.0, np.pi))
    mains, branches = int(rng.integers(1, 9)), int(rng.integers(0, 11))
    for _ in range(60):
        if len(tree.strokes) < mains:
            tree.add_main()
    tree.phantom.mains = len(tree.strokes)
    for _ in range(60):
        if tree.strokes and tree.phantom.branches < branches:
            tree.add_branch()
    tree.phantom.strokes = tree.strokes
    return tree.phantom


@dataclass
class _Tree:
    rng: np.random.Generator
    shape: tuple[int, int]
    direction: float
    strokes: list[Stroke] = field(default_factory=list)
    marks: list[np.ndarray] = field(default_factory=list)  # crossings and feet
    phantom: Phantom = field(init=False)

    def __post_init__(self) -> None:
        self.phantom = Phantom(self.shape)

    def add_main(self) -> None:
        rng, size = self.rng, max(self.shape)
        across = len(self.strokes) > 1 and rng.random() < 0.5
        turn = rng.uniform(0.5, np.pi / 2) * rng.choice([-1, 1]) if across else rng.normal(0, 0.1)
        angle = self.direction + turn
        centre = rng.uniform(0.1, 0.9, 2) * np.array(self.shape[::-1])
        start = centre - 0.8 * size * np.array([np.cos(angle), np.sin(angle)])
        points = _wander(rng, start, angle, 1.6 * size)
        if rng.random() < 0.2:  # ends inside
            points = points[: int(len(points) * rng.uniform(0.45, 0.7))]
        points, width = _seen(points, self.shape), rng.uniform(2.0, 7.0)
        crossings = self._crossings(points, width)
        if length_inside(points, self.shape) >= SHORTEST_MAIN and crossings is not None:
            self.strokes.append((points, width))
            self.marks.extend(crossings)

    def _crossings(self, points: np.ndarray, width: float) -> list[np.ndarray] | None:
        """Where a new main crosses others; None if it comes too close to one without a clean crossing."""
        found: list[np.ndarray] = []
        for other, other_width in self.strokes:
            if (
                min(_distances(points[[0, -1]], other)[0].min(), _distances(other[[0, -1]], points)[0].min())
                < 25
            ):
                return None
            distance, index = _distances(points, other)
            for first, last in _runs(distance < 0.5 * (width + other_width) + 5.0):
                at = first + int(np.argmin(distance[first:last]))
                turn = _angle(_heading(points, at) - _heading(other, int(index[at])))
                clean = distance[at] < 0.3 and turn > LEAST_ANGLE and to_border(points[at], self.shape) > 30
                if not clean or self._near_mark(points[at], 45.0, found):
                    return None
                found.append(points[at])
        return found

    def add_branch(self) -> None:
        rng = self.rng
        parent, parent_width = self.strokes[int(rng.integers(self.phantom.mains))]
        at = int(rng.integers(len(parent)))
        if not self._foot_is_free(parent, at):
            return
        width = min(rng.uniform(2.0, 4.5), parent_width)
        turn = rng.choice([-1, 1]) * rng.uniform(LEAST_ANGLE, np.radians(75)) + np.pi * rng.integers(2)
        branch = _wander(rng, parent[at], _heading(parent, at) + turn, rng.uniform(35, 160))
        outside = np.flatnonzero(~inside(branch, self.shape))
        if len(outside):
            branch = branch[: outside[0] + MARGIN]
        branch, joined = self._up_to_first_meeting(branch, width, parent, parent_width)
        if branch is not None and length_inside(branch, self.shape) > 25:
            self.strokes.append((branch, width))
            self.marks += [branch[0], branch[-1]] if joined else [branch[0]]
            self.phantom.branches += 1
            self.phantom.branch_points += 1 + joined

    def _up_to_first_meeting(
        self, branch: np.ndarray, width: float, parent: np.ndarray, parent_width: float
    ) -> tuple[np.ndarray | None, bool]:
        """The branch cut where it joins another main, and whether it does; None if it comes too close to any."""
        clear, joined = round((parent_width + 16) / STEP), False
        for number, (other, other_width) in enumerate(self.strokes):
            own = other is parent
            part = branch[clear:] if own else branch
            distance, index = _distances(part, other) if len(part) else (np.ones(0), np.zeros(0, int))
            if not (distance < 0.5 * (width + other_width) + 6.0).any():
                continue
            touch = np.flatnonzero(distance < 0.25)
            if own or joined or number >= self.phantom.mains or not len(touch) or touch[0] * STEP < 40:
                return None, False
            there = int(index[touch[0]])
            turn = _angle(_heading(branch, touch[0]) - _heading(other, there))
            if turn < LEAST_ANGLE or not self._foot_is_free(other, there):
                return None, False
            branch, joined = branch[: touch[0] + 1], True
        return branch, joined

    def _foot_is_free(self, main: np.ndarray, at: int) -> bool:
        far_from_ends = min(at, len(main) - at) * STEP >= 25
        return (
            far_from_ends and to_border(main[at], self.shape) > 15 and not self._near_mark(main[at], 30.0, [])
        )

    def _near_mark(self, point: np.ndarray, distance: float, more: list[np.ndarray]) -> bool:
        return any(np.hypot(*(point - mark)) < distance for mark in self.marks + more)


def _wander(rng: np.random.Generator, start: np.ndarray, angle: float, length: float) -> np.ndarray:
    """A smooth random curve: its heading is a sum of three sine waves."""
    s = np.arange(0.0, length, STEP)
    bend = rng.uniform(0.0, 0.25) / np.sqrt(3)
    theta = np.full_like(s, angle)
    for wavelength in rng.uniform(100.0, 400.0, 3):
        phase = rng.uniform(0.0, 2.0 * np.pi)
        theta += bend * (np.sin(2.0 * np.pi * s / wavelength + phase) - np.sin(phase))
    return start + STEP * np.cumsum(np.stack([np.cos(theta), np.sin(theta)], axis=1), axis=0)


def _seen(points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The part inside the frame, and a little more; nothing if the curve comes back in."""
    runs = _runs(inside(points, shape))
    if len(runs) != 1:
        return points[:2]
    first, last = runs[0]
    return points[max(first - MARGIN, 0) : last + MARGIN]


def _runs(flags: np.ndarray) -> np.ndarray:
    """First and last + 1 of each run of True, [R,2]."""
    return np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(int), [0]]))).reshape(-1, 2)


def _distances(points: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance of each point to the nearest point of the other curve (infinite beyond 30), and which that is."""
    tree = cKDTree(other, balanced_tree=False, compact_nodes=False)
    return tree.query(points, distance_upper_bound=30.0)


def _heading(points: np.ndarray, at: int) -> float:
    low, high = max(at - 10, 0), min(at + 10, len(points) - 1)
    return float(np.arctan2(*(points[high] - points[low])[::-1]))


def _angle(difference: float) -> float:
    return float(abs((difference + np.pi / 2) % np.pi - np.pi / 2))
