"""Nerves over gaps, where they are too faint to be seen: two ends that are one nerve, and offshoots with a hidden foot.

All lengths are in pixels.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from .arms import Arms, bends
from .ends import TANGENT_STEPS, CentreLines

GAP_UM = 20.0  # as much clear space as there may be between an end and what it faces, if they belong together
GAP_TURN = math.radians(50.0)  # ends face each other: a nerve turns less than this over a gap
SIDE_TURN = math.radians(
    30.0
)  # an end faces a side: so far from straight ahead; ends that pass are not faced


def bridge_gaps(closed: np.ndarray, arms: Arms, um_per_px: float) -> dict[int, int]:
    """Pairs of free ends inside the field that face each other over a short gap: {arm: other arm}.

    closed [S]: the paths that are rings.
    """
    free = np.flatnonzero((arms.junction < 0) & ~arms.leaves & ~np.repeat(closed, 2))
    if len(free) < 2:
        return {}
    a, b, clear = _close_pairs(free, arms, GAP_UM / um_per_px)
    bend = bends(arms, a, b)
    facing = (a // 2 != b // 2) & (bend < GAP_TURN)
    nearest_first = np.argsort((np.maximum(clear, 1.0) * (1.0 + bend))[facing], kind="stable")
    mates: dict[int, int] = {}
    for one, other in np.stack([a, b], axis=1)[facing][nearest_first].tolist():
        if one not in mates and other not in mates:
            mates[one], mates[other] = other, one
    return mates


def _close_pairs(free: np.ndarray, arms: Arms, limit: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of the arms `free` with less than `limit` between their caps, [P] and [P], and that clear space [P]."""
    from scipy.spatial import KDTree

    tip, radius = arms.tip[free], arms.radius[free]
    pairs = KDTree(tip).query_pairs(limit + 2.0 * float(radius.max()), output_type="ndarray")
    clear = np.hypot(*(tip[pairs[:, 0]] - tip[pairs[:, 1]]).T) - radius[pairs].sum(axis=1)
    near = clear < limit
    a, b = free[pairs[near]].T
    return a, b, clear[near]


def leave_over_gaps(lines: CentreLines, inside: np.ndarray, um_per_px: float) -> CentreLines:
    """Let a nerve that meets no other leave the one whose side an end of it faces over a short gap.

    inside [C,2]: the ends, inside the field, of such nerves. The gap does not count as length. A nerve leaves one other
    at most, over the smaller gap: what ends beside a second one need not join it.
    """
    from scipy.spatial import KDTree

    rows, sides = np.nonzero(inside)
    if len(rows) == 0:
        return lines
    tip, outward = _tips(lines, rows, sides)
    owner = np.repeat(lines.strand, np.diff(lines.offsets))
    limit = GAP_UM / um_per_px
    near = KDTree(lines.points).query_ball_point(tip, limit + 0.5 * float(lines.widths.max()))
    end = np.repeat(np.arange(len(rows)), [len(found) for found in near])
    point = np.array([number for found in near for number in found], dtype=int)
    offset = lines.points[point] - tip[end]
    distance = np.hypot(*offset.T)
    facing = (offset * outward[end]).sum(axis=1) > math.cos(SIDE_TURN) * distance
    clear = distance - 0.5 * lines.widths[point]
    taken = np.flatnonzero(facing & (clear < limit) & (owner[point] != lines.strand[rows[end]]))
    nerve = lines.strand[rows[end]]
    taken = taken[np.lexsort((clear[taken], nerve[taken]))]
    taken = taken[np.diff(nerve[taken], prepend=-1) > 0]  # the nearest one of each
    taken = taken[_leaves(nerve[taken], owner[point[taken]], clear[taken])]
    parents, feet = lines.parents.copy(), lines.feet.copy()
    place = rows[end[taken]], sides[end[taken]]
    parents[place], feet[place] = owner[point[taken]], lines.points[point[taken]]
    return replace(lines, parents=parents, feet=feet)


def _leaves(nerve: np.ndarray, faced: np.ndarray, clear: np.ndarray) -> np.ndarray:
    """Which nerves [N] leave those that they face, bool [N]: of two that face each other, the one that is nearer."""
    pairs = list(zip(nerve.tolist(), faced.tolist(), strict=True))
    gaps = {(one, other): (gap, one) for (one, other), gap in zip(pairs, clear.tolist(), strict=True)}
    return np.array([gaps[pair] <= gaps.get(pair[::-1], gaps[pair]) for pair in pairs], dtype=bool)


def _tips(lines: CentreLines, rows: np.ndarray, sides: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The ends [F,2] of lines, side 0 the first and 1 the last point, and their directions outwards [F,2]."""
    first, last = lines.offsets[rows], lines.offsets[rows + 1] - 1
    steps = np.minimum(TANGENT_STEPS, last - first)
    end = np.where(sides == 0, first, last)
    tip = lines.points[end]
    outward = tip - lines.points[end + np.where(sides == 0, steps, -steps)]
    return tip, outward / np.maximum(np.linalg.norm(outward, axis=1, keepdims=True), 1e-9)
