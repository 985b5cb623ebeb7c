"""From paired pixel paths to sub-pixel centre-lines that end where the nerve ends. All lengths are in pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .centreline import reach_of_ends, smooth
from .skeleton import PixelPaths
from .topology import Arms, Strand

TANGENT_STEPS = 8  # the direction of an end is taken over this many points
FOOT_FACTOR = (
    5.0  # an offshoot's foot lies at most this many half-widths of the junction behind its clear part
)


@dataclass(frozen=True)
class Chains:
    """C pixel chains, one for each gapless piece of a strand.

    points [N,2], weights [N], radius [N], offsets [C+1]; strand [C]: number of the strand; closed [C]: rings;
    ends [C,2]: the junction at which each end hangs, -1 for a free end.
    """

    points: np.ndarray
    weights: np.ndarray
    radius: np.ndarray
    offsets: np.ndarray
    strand: np.ndarray
    closed: np.ndarray
    ends: np.ndarray


@dataclass(frozen=True)
class CentreLine:
    """A finished piece: points [n,2] (x, y), typical half-width, and for both ends the strand met there (-1: none)."""

    points: np.ndarray
    radius: float
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
    """Lay the pixels of each strand in a row, junctions included, and cut off what a junction or the edge distorts."""
    count = len(paths.points)
    table = np.concatenate([paths.points, paths.junctions])
    radii = np.concatenate([radius, junction_radius])
    weights = np.append(_weights(paths, arms), np.zeros(len(paths.junctions)))
    at_edge = np.append(edge_distance < radius + 1.0, np.zeros(len(paths.junctions), dtype=bool))
    pixels = np.split(np.arange(count), paths.offsets[1:-1])
    rows, owners, closed, ends = [], [], [], []
    for number, strand in enumerate(strands):
        hangs = [-1, -1] if strand.ends is None else [int(arms.junction[arm]) for arm in strand.ends]
        pieces = _pieces(strand, pixels, count)
        for place, piece in enumerate(pieces):
            piece_ends = (hangs[0] if place == 0 else -1, hangs[1] if place == len(pieces) - 1 else -1)
            if strand.ends is not None:
                for side in (0, 1):
                    flags = at_edge if piece_ends[side] < 0 else weights == 0.0
                    piece = _cut(piece, flags, radii, side)
            rows.append(piece)
            owners.append(number)
            closed.append(strand.ends is None)
            ends.append(piece_ends)
    order = np.concatenate(rows) if rows else np.zeros(0, dtype=int)
    offsets = np.append(0, np.cumsum([len(row) for row in rows])).astype(int)
    return Chains(
        table[order],
        weights[order],
        radii[order],
        offsets,
        np.array(owners, dtype=int),
        np.array(closed, dtype=bool),
        np.array(ends, dtype=int).reshape(-1, 2),
    )


def _weights(paths: PixelPaths, arms: Arms) -> np.ndarray:
    """0 for the pixels that a junction distorts, else 1, [N]."""
    lengths = np.diff(paths.offsets)
    place = np.arange(len(paths.points)) - np.repeat(paths.offsets[:-1], lengths)
    skip = np.where(arms.junction >= 0, arms.skip, 0)
    clear = place >= np.repeat(skip[0::2], lengths)
    clear &= np.repeat(lengths, lengths) - 1 - place >= np.repeat(skip[1::2], lengths)
    return clear.astype(float)


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


def _cut(piece: np.ndarray, flags: np.ndarray, radii: np.ndarray, side: int) -> np.ndarray:
    """Cut the flagged pixels off one end, but never more than three half-widths nor the last five pixels."""
    ordered = piece if side == 0 else piece[::-1]
    limit = int(min(3.0 * radii[ordered[0]] + 3.0, len(ordered) - 5))
    if limit <= 0:
        return piece
    clear = ~flags[ordered[:limit]]
    ordered = ordered[int(clear.argmax()) if clear.any() else limit :]
    return ordered if side == 0 else ordered[::-1]


def finish(
    chains: Chains,
    strands: list[Strand],
    junctions: np.ndarray,
    junction_radius: np.ndarray,
    mask: np.ndarray,
    field: np.ndarray | None,
    um_per_px: float,
) -> list[CentreLine]:
    """Smooth all chains, lead free ends to where the nerve ends, and offshoots to their parent's centre-line."""
    line, offsets = _smooth_all(chains, um_per_px)
    first, last = offsets[:-1], offsets[1:] - 1
    ends = np.stack([first, last], axis=1)
    steps = np.minimum(TANGENT_STEPS, last - first)[:, None] * np.array([1, -1])
    outward = line[ends] - line[ends + steps]  # [C,2,2]
    outward /= np.maximum(np.linalg.norm(outward, axis=-1, keepdims=True), 1e-9)
    free = (chains.ends < 0) & ~chains.closed[:, None]
    new_ends = np.full((len(first), 2, 2), np.nan)
    parents = np.full((len(first), 2), -1)
    window = np.clip(
        ends[..., None] + np.sign(steps)[..., None] * np.arange(2, 10),
        first[:, None, None],
        last[:, None, None],
    )
    half_width = chains.radius[window].mean(axis=-1)
    reach = reach_of_ends(line[ends[free]], outward[free], half_width[free], mask, field)
    new_ends[free] = line[ends[free]] + reach[:, None] * outward[free]
    passing = _passing(strands)
    for chain, side in np.argwhere(chains.ends >= 0).tolist():
        junction = int(chains.ends[chain, side])
        for parent in passing.get(junction, ())[:1]:
            pool = line[
                offsets[np.searchsorted(chains.strand, parent)] : offsets[
                    np.searchsorted(chains.strand, parent, "right")
                ]
            ]
            new_ends[chain, side] = _foot(
                line[ends[chain, side]],
                outward[chain, side],
                pool,
                junctions[junction],
                float(junction_radius[junction]),
            )
            parents[chain, side] = parent
    return [
        CentreLine(
            _with_ends(line[offsets[c] : offsets[c + 1]], new_ends[c], outward[c]),
            float(np.median(chains.radius[offsets[c] : offsets[c + 1]])),
            int(chains.strand[c]),
            bool(chains.closed[c]),
            (int(parents[c, 0]), int(parents[c, 1])),
        )
        for c in range(len(first))
    ]


def _smooth_all(chains: Chains, um_per_px: float) -> tuple[np.ndarray, np.ndarray]:
    """Smooth centre-lines and their offsets; rings are run over twice, so that they have no ends."""
    if not chains.closed.any():
        return smooth(chains.points, chains.weights, chains.offsets, um_per_px), chains.offsets
    lengths = np.diff(chains.offsets)
    order, keep = [], []
    for start, length, ring in zip(chains.offsets, lengths, chains.closed, strict=False):
        margin = length if ring else 0
        order.append(start + np.arange(-margin, length + margin) % length)
        keep.append(np.abs(2 * np.arange(-margin, length + margin) - length + 1) < length)
    rows = np.concatenate(order)
    offsets = np.append(0, np.cumsum([len(row) for row in order]))
    line = smooth(chains.points[rows], chains.weights[rows], offsets, um_per_px)
    return line[np.concatenate(keep)], chains.offsets


def _passing(strands: list[Strand]) -> dict[int, list[int]]:
    """The strands that run through each junction."""
    passing: dict[int, list[int]] = {}
    for number, strand in enumerate(strands):
        for joint in strand.joints:
            for junction in joint.junctions if joint else ():
                passing.setdefault(junction, []).append(number)
    return passing


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


def _with_ends(line: np.ndarray, new_ends: np.ndarray, outward: np.ndarray) -> np.ndarray:
    """The line with its new end points [2,2] (NaN: none); points beyond a new end are dropped."""
    for side in (0, 1):
        if np.isnan(new_ends[side, 0]):
            continue
        inside = (line - new_ends[side]) @ outward[side] < -1e-6
        inside[len(line) // 2] = True
        near_end = np.arange(len(line)) if side == 0 else np.arange(len(line))[::-1]
        keep = inside | (near_end > 2 * TANGENT_STEPS)
        line = line[keep]
        line = np.concatenate([new_ends[side][None], line] if side == 0 else [line, new_ends[side][None]])
    return line
