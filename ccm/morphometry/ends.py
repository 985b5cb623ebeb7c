"""Where nerves end: at the edge of the field, inside it, or on the centre-line of the nerve that they leave.

All lengths are in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .centreline import reach_of_ends
from .chains import Chains
from .topology import Strand, passing

TANGENT_STEPS = 8  # the direction of an end is taken over this many points
FEET_AT_ONCE = 64  # to bound the memory
FOOT_FACTOR = (
    5.0  # an offshoot's foot lies at most this many half-widths of the junction behind its clear part
)


@dataclass(frozen=True)
class CentreLines:
    """C finished centre-lines of M points in all; line c is points[offsets[c]:offsets[c+1]].

    points: [M,2] (x, y). widths: [M]. offsets: [C+1]. strand: [C], the number of the strand. closed: [C], rings, which
    end where they begin. parents: [C,2], the strands that the ends meet, -1 for none. feet: [C,2,2], where they do.
    """

    points: np.ndarray
    widths: np.ndarray
    offsets: np.ndarray
    strand: np.ndarray
    closed: np.ndarray
    parents: np.ndarray
    feet: np.ndarray


@dataclass(frozen=True)
class Ends:
    """Both ends of C chains: point number [C,2], direction outwards [C,2,2], half-width nearby [C,2]."""

    point: np.ndarray
    outward: np.ndarray
    half_width: np.ndarray


def finish(
    chains: Chains,
    strands: list[Strand],
    junctions: np.ndarray,
    junction_radius: np.ndarray,
    mask: np.ndarray,
    field: np.ndarray | None,
) -> CentreLines:
    """Lead smooth chains, cut where they leave the field, to where the nerves end.

    Free ends go on outwards, offshoots to their parents.

    junctions [J,2] have the half-widths junction_radius [J]; mask, field: float32 [H,W], 1 inside.
    """
    line = chains.points
    ends = _measure_ends(line, chains.offsets, chains.widths)
    new_ends = np.full((len(chains.strand), 2, 2), np.nan)
    parents = np.full((len(chains.strand), 2), -1)
    free = (chains.ends < 0) & ~chains.closed[:, None]
    tips, outward, half_width = line[ends.point[free]], ends.outward[free], ends.half_width[free]
    reach = reach_of_ends(tips, outward, half_width, mask, field)
    reach = np.where(
        chains.cut[free] > 0, np.minimum(reach, 1.0), reach
    )  # it left the field at the next point
    new_ends[free] = tips + reach[:, None] * outward
    hangs = chains.ends >= 0
    parents[hangs], new_ends[hangs] = _on_parents(chains, strands, ends, hangs, junctions, junction_radius)
    points, widths, offsets = _assemble(chains, ends, new_ends)
    return CentreLines(points, widths, offsets, chains.strand, chains.closed, parents, new_ends)


def _measure_ends(line: np.ndarray, offsets: np.ndarray, widths: np.ndarray) -> Ends:
    first, last = offsets[:-1], offsets[1:] - 1
    point = np.stack([first, last], axis=1)
    inward = np.array([1, -1])
    outward = line[point] - line[point + inward * np.minimum(TANGENT_STEPS, last - first)[:, None]]
    outward /= np.maximum(np.linalg.norm(outward, axis=-1, keepdims=True), 1e-9)
    window = point[..., None] + inward[:, None] * np.arange(TANGENT_STEPS)
    window = np.clip(window, first[:, None, None], last[:, None, None])
    middle = np.sort(widths[window], axis=-1)[..., TANGENT_STEPS // 2 - 1 : TANGENT_STEPS // 2 + 1]
    return Ends(point, outward, 0.5 * middle.mean(axis=-1))


def _on_parents(
    chains: Chains,
    strands: list[Strand],
    ends: Ends,
    hangs: np.ndarray,
    junctions: np.ndarray,
    junction_radius: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """The strands [F] that offshoots leave, and the points [F,2] where they do; hangs [C,2] marks their ends."""
    at, run_through = chains.ends[hangs], passing(strands)
    parents = np.array([run_through[junction][0] for junction in at.tolist()], dtype=int)
    bounds = chains.offsets[np.searchsorted(chains.strand, [parents, parents + 1])]
    start, towards = chains.points[ends.point[hangs]], ends.outward[hangs]
    reach = FOOT_FACTOR * junction_radius[at] + 6.0
    feet = np.empty_like(start)
    for first in range(0, len(at), FEET_AT_ONCE):
        some = slice(first, first + FEET_AT_ONCE)
        feet[some] = _feet(
            start[some], towards[some], chains.points, bounds[:, some], junctions[at[some]], reach[some]
        )
    return parents, feet


def _feet(
    start: np.ndarray,
    towards: np.ndarray,
    line: np.ndarray,
    bounds: np.ndarray,
    junction: np.ndarray,
    reach: np.ndarray,
) -> np.ndarray:
    """Where the straight continuations of F offshoots meet their parents' centre-lines, else the nearest points.

    start, towards [F,2]: the end of an offshoot and its direction. line[bounds[0]:bounds[1]] is its parent, bounds
    [2,F]. An offshoot meets its parent within `reach` [F] of the junction [F,2]. Returns [F,2].
    """
    lengths = bounds[1] - bounds[0]
    number = np.repeat(np.arange(len(start)), lengths)
    point = np.arange(len(number)) + (bounds[0] - np.cumsum(lengths) + lengths).take(number)
    x, y = (line.take(point, axis=0) - junction.take(number, axis=0)).T
    near = x * x + y * y < (reach * reach).take(number)
    step = np.flatnonzero(near[:-1] & near[1:] & (number[:-1] == number[1:]))
    number, point = number[step], point[step]
    (x, y), (ahead_x, ahead_y) = (line[point] - start[number]).T, towards[number].T
    (next_x, next_y), along = (line[point + 1] - start[number]).T, x * ahead_x + y * ahead_y
    side, next_side = x * ahead_y - y * ahead_x, next_x * ahead_y - next_y * ahead_x
    places = np.flatnonzero((side * next_side <= 0) & (side != next_side) & (along > -2.0))
    places = places[np.lexsort((along[places], number[places]))]
    best = places[np.diff(number[places], prepend=-1) > 0]  # the first one of each
    share = (side[best] / (side[best] - next_side[best]))[:, None]
    feet = np.full_like(start, np.nan)
    feet[number[best]] = line[point[best]] + share * (line[point[best] + 1] - line[point[best]])
    for one in np.flatnonzero(np.isnan(feet[:, 0])).tolist():
        parent = line[bounds[0, one] : bounds[1, one]]
        feet[one] = parent[np.argmin(((parent - start[one]) ** 2).sum(axis=1))]
    return feet


def _assemble(chains: Chains, ends: Ends, new_ends: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lines with their new ends [C,2,2] (NaN: none): points [M,2], widths [M], offsets [C+1].

    Points beyond a new end, or within half a pixel of it, are dropped. A ring gets its first point as a new last end.
    """
    line = chains.points
    first, last = ends.point[:, 0].copy(), ends.point[:, 1].copy()
    new_ends[chains.closed, 1] = line[first[chains.closed]]
    has = ~np.isnan(new_ends[..., 0])
    window = np.arange(2 * TANGENT_STEPS)
    for side, edge, sign in ((0, first, 1), (1, last, -1)):
        moved = has[:, side] & ~chains.closed
        rows = np.clip(edge[moved, None] + sign * window, ends.point[moved, :1], ends.point[moved, 1:])
        offset = line[rows] - new_ends[moved, side][:, None]
        behind = (offset * ends.outward[moved, side][:, None]).sum(axis=2) < -0.5
        skip = np.where(behind.any(axis=1), behind.argmax(axis=1), window[-1])
        edge[moved] = rows[np.arange(len(rows)), skip]
    last = np.maximum(last, first)
    counts = last - first + 1 + has.sum(axis=1)
    offsets = np.append(0, np.cumsum(counts))
    source = np.arange(offsets[-1]) - np.repeat(offsets[:-1] + has[:, 0] - first, counts)
    source = np.clip(source, np.repeat(first, counts), np.repeat(last, counts))
    points, widths = line.take(source, axis=0), chains.widths.take(source)
    points[offsets[:-1][has[:, 0]]] = new_ends[has[:, 0], 0]
    points[offsets[1:][has[:, 1]] - 1] = new_ends[has[:, 1], 1]
    return points, widths, offsets
