"""Arms: the ends of pixel paths, with the directions and widths that tell which of them are one nerve.

Arm number 2 * path is the path's first end, 2 * path + 1 its last. All lengths are in pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .skeleton import PixelPaths

TWIG_UM = 15.0  # a shorter offshoot is no branch
REACH_UM = 16.0  # the direction of an arm is taken over this length
WIDTH_TURN = math.radians(25.0)  # a width ratio of e counts as much as this turn


@dataclass(frozen=True)
class Arms:
    """Geometry of the 2 S arms of S paths."""

    tip: np.ndarray  # [2S,2] the end itself (x, y)
    near: np.ndarray  # [2S,2] a point beyond the pixels that the junction or the end distorts
    away: np.ndarray  # [2S,2] direction away from the end, a unit vector
    radius: np.ndarray  # [2S] half-width
    skip: np.ndarray  # [2S] number of distorted pixels
    junction: np.ndarray  # [2S] junction number, -1 for a free end
    leaves: np.ndarray  # [2S] whether it is a free end at the edge of the field of view
    stub_um: np.ndarray  # [2S] length of its path if that ends inside the field, else infinite


def distorted_counts(paths: PixelPaths, radius: np.ndarray, junction_radius: np.ndarray) -> np.ndarray:
    """How many pixels at each arm [2S] lie in the reach of its junction, or in the cap of its free end.

    radius [N], junction_radius [J]: distance to the outline.
    """
    junction = paths.ends.ravel()
    held = junction >= 0
    skip = radius[_tips(paths)].astype(int) + 1
    skip[held] = (1.5 * junction_radius[junction[held]]).astype(int) + 1
    skip[np.repeat(paths.closed, 2)] = 0
    return np.minimum(skip, np.repeat(np.diff(paths.offsets), 2))


def _tips(paths: PixelPaths) -> np.ndarray:
    return np.stack([paths.offsets[:-1], paths.offsets[1:] - 1], axis=1).ravel()


def measure_arms(
    paths: PixelPaths, half_width: np.ndarray, edge_distance: np.ndarray, skip: np.ndarray, um_per_px: float
) -> Arms:
    """Points, directions and half-widths of all arms of paths with refined points.

    half_width, edge_distance [N]: half the width of the nerve, and the distance from the edge of the field of view.
    skip [2S]: number of distorted pixels.
    """
    lengths = np.repeat(np.diff(paths.offsets), 2)
    junction = paths.ends.ravel()
    end, inward = _tips(paths), np.tile([1, -1], len(paths.ends))
    near = np.minimum(skip, (lengths - 1) // 3)
    far = np.minimum(near + max(10, round(REACH_UM / um_per_px)), lengths - 1)
    start, stop = end + inward * near, end + inward * far
    radius = _mean_between(half_width, start, stop)
    leaves = (junction < 0) & (edge_distance[end] <= radius + 2.0)
    inside = ((junction < 0) & ~leaves).reshape(-1, 2).any(axis=1)
    return Arms(
        tip=paths.points[end],
        near=paths.points[start],
        away=_directions(paths, start, stop, junction),
        radius=radius,
        skip=skip,
        junction=junction,
        leaves=leaves,
        stub_um=np.where(np.repeat(inside, 2), lengths * um_per_px, np.inf),
    )


def _directions(paths: PixelPaths, start: np.ndarray, stop: np.ndarray, junction: np.ndarray) -> np.ndarray:
    """Unit vectors from pixel start to pixel stop; for a path of one pixel, from its junction to it."""
    away = paths.points[stop] - paths.points[start]
    single = (start == stop) & (junction >= 0)
    away[single] = paths.points[start[single]] - paths.junctions[junction[single]]
    return away / np.maximum(np.hypot(*away.T), 1e-9)[:, None]


def _mean_between(values: np.ndarray, start: np.ndarray, stop: np.ndarray) -> np.ndarray:
    total = np.append(0.0, np.cumsum(values))
    low, high = np.minimum(start, stop), np.maximum(start, stop)
    return (total[high + 1] - total[low]) / (high - low + 1)


def bends(arms: Arms, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Total turn [P] in radians on the way from arms a to arms b, both [P].

    The way comes in along arm a, goes over the chord between the near points of both, and out along arm b.
    """
    chord = _heading(arms.near[b] - arms.near[a])
    return _angle(_heading(-arms.away[a]) - chord) + _angle(_heading(arms.away[b]) - chord)


def turn_costs(arms: Arms, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The bends from arms a to arms b, both [P], and what the change of width counts."""
    width = np.log(np.maximum(arms.radius, 0.5))
    return bends(arms, a, b) + WIDTH_TURN * np.abs(width[a] - width[b])


def _heading(vectors: np.ndarray) -> np.ndarray:
    return np.arctan2(vectors[:, 1], vectors[:, 0])


def _angle(difference: np.ndarray) -> np.ndarray:
    return np.abs((difference + np.pi) % (2.0 * np.pi) - np.pi)
