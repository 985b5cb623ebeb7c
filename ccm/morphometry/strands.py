"""From paired pixel paths to sub-pixel centre-lines that end where the nerve ends. All lengths are in pixels."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .arms import Arms
from .centreline import (
    OPEN_FACTOR,
    in_field,
    normals,
    reach_of_ends,
    shift_to_centre,
    smooth,
    to_outline,
    widths_from,
)
from .skeleton import PixelPaths
from .topology import Strand, passing

TANGENT_STEPS = 8  # the direction of an end is taken over this many points
FOOT_FACTOR = (
    5.0  # an offshoot's foot lies at most this many half-widths of the junction behind its clear part
)


@dataclass(frozen=True)
class Chains:
    """C pixel chains, one for each gapless piece of a strand.

    points [N,2], weights [N] (0 where a junction or an end distorts the skeleton), radius [N] and edge [N] (distance
    to the outline and to the edge of the field of view), offsets [C+1];
    strand [C]: number of the strand; closed [C]: rings; ends [C,2]: the junction at each end, -1 for a free end
    and for one at a junction that no strand runs through.
    """

    points: np.ndarray
    weights: np.ndarray
    radius: np.ndarray
    edge: np.ndarray
    offsets: np.ndarray
    strand: np.ndarray
    closed: np.ndarray
    ends: np.ndarray


@dataclass(frozen=True)
class CentreLine:
    """A finished piece of a strand: points [n,2] (x, y), widths [n], and the strands met at its ends (-1: none)."""

    points: np.ndarray
    widths: np.ndarray
    strand: int
    closed: bool
    parents: tuple[int, int]


def build_chains(
    paths: PixelPaths,
    strands: list[Strand],
    arms: Arms,
    radius: np.ndarray,
    junction_radius: np.ndarray,
    edge_distance: np.ndarray,
) -> Chains:
    """Lay the pixels of each strand in a row, junctions included, and cut distorted ends off.

    radius, edge_distance [N]: distance of a pixel to the mask's outline, and to the edge of the field of view.
    """
    count = len(paths.points)
    table = np.concatenate([paths.points, paths.junctions])
    radii = np.concatenate([radius, junction_radius])
    distorted = np.append(_distorted(paths, arms), np.ones(len(paths.junctions), dtype=bool))
    drop = distorted | np.append(edge_distance < radius + 1.0, distorted[count:])
    pixels = np.split(np.arange(count), paths.offsets[1:-1])
    parents_at = passing(strands)
    rows, owners, ends = [], [], []
    for number, strand in enumerate(strands):
        at = [int(arms.junction[arm]) for arm in strand.ends or ()]
        hangs = [junction if junction in parents_at else -1 for junction in at] or [-1, -1]
        pieces = _pieces(strand, pixels, count)
        for place, piece in enumerate(pieces):
            rows.append(
                piece if strand.ends is None else _cut(_cut(piece, drop, radii)[::-1], drop, radii)[::-1]
            )
            owners.append(number)
            ends.append((hangs[0] if place == 0 else -1, hangs[1] if place == len(pieces) - 1 else -1))
    order = np.concatenate(rows) if rows else np.zeros(0, dtype=int)
    owner = np.array(owners, dtype=int)
    return Chains(
        points=table[order],
        weights=np.where(distorted[order], 0.0, 1.0),
        radius=radii[order],
        edge=np.append(edge_distance, np.full(len(paths.junctions), np.inf))[order],
        offsets=np.append(0, np.cumsum([len(row) for row in rows])).astype(int),
        strand=owner,
        closed=np.array([strand.ends is None for strand in strands], dtype=bool)[owner],
        ends=np.array(ends, dtype=int).reshape(-1, 2),
    )


def _distorted(paths: PixelPaths, arms: Arms) -> np.ndarray:
    """The pixels [N] that lie in the reach of a junction or in the cap of an end."""
    lengths = np.diff(paths.offsets)
    place = np.arange(len(paths.points)) - np.repeat(paths.offsets[:-1], lengths)
    skip = np.where(np.repeat(paths.closed, 2), 0, arms.skip)
    distorted = place < np.repeat(skip[0::2], lengths)
    return distorted | (np.repeat(lengths, lengths) - 1 - place < np.repeat(skip[1::2], lengths))


def _pieces(strand: Strand, pixels: list[np.ndarray], count: int) -> list[np.ndarray]:
    """Pixel numbers of each gapless piece; junction j is number count + j."""
    pieces: list[list[np.ndarray]] = [[]]
    for place, (path, back) in enumerate(strand.steps):
        pieces[-1].append(pixels[path][::-1] if back else pixels[path])
        if place == len(strand.joints):
            break
        joint = strand.joints[place]
        if joint is None:
            pieces.append([])
            continue
        pieces[-1].append(np.array([count + joint.junctions[0]]))
        for (link, link_back), junction in zip(joint.links, joint.junctions[1:], strict=True):
            pieces[-1].append(pixels[link][::-1] if link_back else pixels[link])
            pieces[-1].append(np.array([count + junction]))
    return [np.concatenate(piece) for piece in pieces]


def _cut(piece: np.ndarray, drop: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Drop flagged pixels from the start, but at most five half-widths of them, and never the last five pixels."""
    limit = int(min(5.0 * radii[piece[0]] + 3.0, len(piece) - 5))
    if limit <= 0:
        return piece
    clear = ~drop[piece[:limit]]
    return piece[int(clear.argmax()) if clear.any() else limit :]


def finish(
    chains: Chains,
    strands: list[Strand],
    junctions: np.ndarray,
    junction_radius: np.ndarray,
    mask: np.ndarray,
    field: np.ndarray | None,
    um_per_px: float,
) -> list[CentreLine]:
    """Smooth all chains, lead free ends to where the nerve ends, and offshoots to their parent's centre-line.

    mask, field: float32 [H,W], 1 inside; junctions [J,2] with the half-widths junction_radius [J].
    """
    chains, line, widths = _refine(chains, mask, field, um_per_px)
    offsets = chains.offsets
    ends, outward, half_width = _end_geometry(line, offsets, widths)
    new_ends = np.full((len(ends), 2, 2), np.nan)
    parents = np.full((len(ends), 2), -1)
    free = (chains.ends < 0) & ~chains.closed[:, None]
    reach = reach_of_ends(line[ends[free]], outward[free], half_width[free], mask, field)
    new_ends[free] = line[ends[free]] + reach[:, None] * outward[free]
    parents_at = passing(strands)
    for chain, side in np.argwhere(chains.ends >= 0).tolist():
        junction = int(chains.ends[chain, side])
        parent = parents_at[junction][0]
        first, after = np.searchsorted(chains.strand, [parent, parent + 1])
        pool = line[offsets[first] : offsets[after]]
        start, towards = line[ends[chain, side]], outward[chain, side]
        new_ends[chain, side] = _foot(start, towards, pool, junctions[junction], junction_radius[junction])
        parents[chain, side] = parent
    finished = []
    for c in range(len(ends)):
        part = slice(offsets[c], offsets[c + 1])
        points, across = _with_ends(line[part], widths[part], new_ends[c], outward[c])
        if chains.closed[c]:
            points, across = np.append(points, points[:1], axis=0), np.append(across, across[0])
        met = (int(parents[c, 0]), int(parents[c, 1]))
        finished.append(CentreLine(points, across, int(chains.strand[c]), bool(chains.closed[c]), met))
    return finished


def _refine(
    chains: Chains, mask: np.ndarray, field: np.ndarray | None, um_per_px: float
) -> tuple[Chains, np.ndarray, np.ndarray]:
    """Chains moved to the middle between the outlines, their smooth lines [N,2] and widths [N].

    Ends that the edge of the field cuts lengthwise are dropped where the centre lies outside of the field.
    """
    line = _smooth_all(chains, um_per_px)
    normal = normals(line, chains.offsets)
    usual = _by_chain(chains.radius, chains, np.ones(len(line), dtype=bool), fewest=1)
    sides = to_outline(line, normal, OPEN_FACTOR * usual + 2.0, mask)
    widths = widths_from(sides, usual)
    half_width = 0.5 * _by_chain(widths, chains, chains.edge > chains.radius + 1.0, fewest=10)
    shift = shift_to_centre(line, normal, sides, half_width, mask.shape, field)
    chains = replace(chains, points=line + shift)
    keep = _inner_part(chains, in_field(chains.points, mask.shape, field))
    chains = _part(chains, keep)
    return chains, _smooth_all(chains, um_per_px), widths[keep]


def _by_chain(values: np.ndarray, chains: Chains, clear: np.ndarray, fewest: int) -> np.ndarray:
    """The median [N] of each chain's clear values; 0 for a chain with fewer than `fewest` of them."""
    medians = np.zeros(len(chains.strand))
    for c, (first, last) in enumerate(zip(chains.offsets[:-1], chains.offsets[1:], strict=True)):
        part = values[first:last][clear[first:last]]
        medians[c] = np.median(part) if len(part) >= fewest else 0.0
    return np.repeat(medians, np.diff(chains.offsets))


def _inner_part(chains: Chains, inside: np.ndarray) -> np.ndarray:
    """False [N] for points at both ends of each open chain that are not inside, if five points remain."""
    keep = np.ones(len(inside), dtype=bool)
    if inside.all():
        return keep
    for first, last, ring in zip(chains.offsets[:-1], chains.offsets[1:], chains.closed, strict=True):
        held = np.flatnonzero(inside[first:last])
        if len(held) >= 5 and not ring:
            keep[first:last] = False
            keep[first + held[0] : first + held[-1] + 1] = True
    return keep


def _part(chains: Chains, keep: np.ndarray) -> Chains:
    chain = np.repeat(np.arange(len(chains.strand)), np.diff(chains.offsets))
    return replace(
        chains,
        points=chains.points[keep],
        weights=chains.weights[keep],
        radius=chains.radius[keep],
        edge=chains.edge[keep],
        offsets=np.append(0, np.cumsum(np.bincount(chain[keep], minlength=len(chains.strand)))),
    )


def _end_geometry(
    line: np.ndarray, offsets: np.ndarray, widths: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of both ends of each chain: point number [C,2], direction outwards [C,2,2], and half-width nearby [C,2]."""
    first, last = offsets[:-1], offsets[1:] - 1
    ends = np.stack([first, last], axis=1)
    inward = np.array([1, -1])
    outward = line[ends] - line[ends + inward * np.minimum(TANGENT_STEPS, last - first)[:, None]]
    outward /= np.maximum(np.linalg.norm(outward, axis=-1, keepdims=True), 1e-9)
    window = ends[..., None] + inward[:, None] * np.arange(TANGENT_STEPS)
    window = np.clip(window, first[:, None, None], last[:, None, None])
    return ends, outward, 0.5 * np.median(widths[window], axis=-1)


def _smooth_all(chains: Chains, um_per_px: float) -> np.ndarray:
    """Smooth centre-lines [N,2]; rings are run over three times, so that they have no ends."""
    if not chains.closed.any():
        return smooth(chains.points, chains.weights, chains.offsets, um_per_px)
    order, keep = [], []
    for start, length, ring in zip(chains.offsets, np.diff(chains.offsets), chains.closed, strict=False):
        laps = np.arange(-length, 2 * length) if ring else np.arange(length)
        order.append(start + laps % length)
        keep.append((laps >= 0) & (laps < length))
    rows = np.concatenate(order)
    offsets = np.append(0, np.cumsum([len(row) for row in order]))
    return smooth(chains.points[rows], chains.weights[rows], offsets, um_per_px)[np.concatenate(keep)]


def _foot(
    start: np.ndarray, towards: np.ndarray, parent: np.ndarray, junction: np.ndarray, radius: float
) -> np.ndarray:
    """Where the straight continuation of an offshoot meets its parent's centre-line, else the nearest point of it."""
    reach = FOOT_FACTOR * radius + 6.0
    near = np.flatnonzero(np.hypot(*(parent - junction).T) < reach)
    offset = parent[near] - start
    along = offset @ towards
    side = offset[:, 0] * towards[1] - offset[:, 1] * towards[0]
    crosses = np.flatnonzero(
        (np.diff(near) == 1) & (side[:-1] * side[1:] <= 0) & (side[:-1] != side[1:]) & (along[:-1] > -2.0)
    )
    if len(crosses):
        best = crosses[np.argmin(along[crosses])]
        share = side[best] / (side[best] - side[best + 1])
        return parent[near[best]] + share * (parent[near[best + 1]] - parent[near[best]])
    return parent[np.argmin(np.hypot(*(parent - start).T))]


def _with_ends(
    line: np.ndarray, widths: np.ndarray, new_ends: np.ndarray, outward: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The line and its widths with new end points [2,2] (NaN: none); what lies beyond or next to one is dropped."""
    for side in (0, 1):
        if np.isnan(new_ends[side, 0]):
            continue
        order = slice(None, None, 1 if side == 0 else -1)
        line, widths = line[order], widths[order]
        behind = (line[: 2 * TANGENT_STEPS] - new_ends[side]) @ outward[side] < -0.5
        keep = int(behind.argmax()) if behind.any() else len(behind) - 1
        line = np.concatenate([new_ends[side][None], line[keep:]])[order]
        widths = np.append(widths[keep], widths[keep:])[order]
    return line, widths
