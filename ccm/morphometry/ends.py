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
FOOT_FACTOR = (
    5.0  # an offshoot's foot lies at most this many half-widths of the junction behind its clear part
)
FOOT_GAP_UM = (
    8.0  # an end with this much clear space between it and the nerve that it points at leaves that nerve
)


@dataclass(frozen=True)
class CentreLines:
    """C finished centre-lines of M points in all; line c is points[offsets[c]:offsets[c+1]].

    points: [M,2] (x, y). widths: [M]. offsets: [C+1]. strand: [C], the number of the strand. closed: [C], rings, which
    end where they begin. parents: [C,2], the strands that the ends meet, -1 for none.
    """

    points: np.ndarray
    widths: np.ndarray
    offsets: np.ndarray
    strand: np.ndarray
    closed: np.ndarray
    parents: np.ndarray


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
    run_through = passing(strands)
    for chain, side in np.argwhere(chains.ends >= 0).tolist():
        junction = int(chains.ends[chain, side])
        parents[chain, side] = parent = run_through[junction][0]
        first, after = np.searchsorted(chains.strand, [parent, parent + 1])
        pool = line[chains.offsets[first] : chains.offsets[after]]
        start, towards = line[ends.point[chain, side]], ends.outward[chain, side]
        new_ends[chain, side] = _foot(start, towards, pool, junctions[junction], junction_radius[junction])
    points, widths, offsets = _assemble(chains, ends, new_ends)
    return CentreLines(points, widths, offsets, chains.strand, chains.closed, parents)


def _measure_ends(line: np.ndarray, offsets: np.ndarray, widths: np.ndarray) -> Ends:
    first, last = offsets[:-1], offsets[1:] - 1
    point = np.stack([first, last], axis=1)
    inward = np.array([1, -1])
    outward = line[point] - line[point + inward * np.minimum(TANGENT_STEPS, last - first)[:, None]]
    outward /= np.maximum(np.linalg.norm(outward, axis=-1, keepdims=True), 1e-9)
    window = point[..., None] + inward[:, None] * np.arange(TANGENT_STEPS)
    window = np.clip(window, first[:, None, None], last[:, None, None])
    return Ends(point, outward, 0.5 * np.median(widths[window], axis=-1))


def _foot(
    start: np.ndarray, towards: np.ndarray, parent: np.ndarray, junction: np.ndarray, radius: float
) -> np.ndarray:
    """Where the straight continuation of an offshoot meets its parent's centre-line, else the nearest point of it."""
    offset = parent - start
    along = offset @ towards
    side = offset @ np.array([towards[1], -towards[0]])
    near = np.hypot(*(parent - junction).T) < FOOT_FACTOR * radius + 6.0
    crosses = (
        (side[:-1] * side[1:] <= 0) & (side[:-1] != side[1:]) & near[:-1] & near[1:] & (along[:-1] > -2.0)
    )
    places = np.flatnonzero(crosses)
    if len(places):
        best = places[np.argmin(along[places])]
        share = side[best] / (side[best] - side[best + 1])
        return parent[best] + share * (parent[best + 1] - parent[best])
    return parent[np.argmin((offset**2).sum(axis=1))]


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
    points, widths = line[source], chains.widths[source]
    points[offsets[:-1][has[:, 0]]] = new_ends[has[:, 0], 0]
    points[offsets[1:][has[:, 1]] - 1] = new_ends[has[:, 1], 1]
    return points, widths, offsets
