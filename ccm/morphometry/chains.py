"""Pixel chains, one for each gapless piece of a strand, and the smooth lines along their middle.

All lengths are in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .arms import Arms
from .centreline import (
    OPEN_FACTOR,
    in_field,
    normals,
    shift_to_centre,
    smooth,
    to_outline,
    widths_from,
)
from .skeleton import PixelPaths
from .topology import Strand, passing

LONGEST_CUT = 5.0  # no more than so many half-widths (and 3 pixels) are cut off an end,
SHORTEST_CHAIN = 5  # and so many points always remain


@dataclass(frozen=True)
class Chains:
    """C chains of N points in all; chain c is points[offsets[c]:offsets[c+1]].

    points: [N,2] (x, y). weights: [N], 0 where a junction or an end distorts the skeleton, else 1. radius, edge: [N],
    distance to the outline and to the edge of the field of view. offsets: [C+1]. strand: [C], the number of the
    strand. closed: [C], rings. ends: [C,2], the junction at each end; -1 for a free end, and for one at a junction
    that no strand runs through.
    """

    points: np.ndarray
    weights: np.ndarray
    radius: np.ndarray
    edge: np.ndarray
    offsets: np.ndarray
    strand: np.ndarray
    closed: np.ndarray
    ends: np.ndarray

    def chain_of_points(self) -> np.ndarray:
        """Number of the chain of each point, [N]."""
        return np.repeat(np.arange(len(self.strand)), np.diff(self.offsets))

    def part(self, keep: np.ndarray) -> Chains:
        """The chains with only those points that are flagged in keep, [N]."""
        counts = np.bincount(self.chain_of_points()[keep], minlength=len(self.strand))
        return replace(
            self,
            points=self.points[keep],
            weights=self.weights[keep],
            radius=self.radius[keep],
            edge=self.edge[keep],
            offsets=np.append(0, np.cumsum(counts)),
        )


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
    extra = len(paths.junctions)
    order, offsets, owner = _lay_out(paths, strands)
    distorted = np.append(_distorted(paths, arms), np.ones(extra, dtype=bool))
    edge = np.append(edge_distance, np.full(extra, np.inf))
    radii = np.append(radius, junction_radius)
    chains = Chains(
        points=np.concatenate([paths.points, paths.junctions])[order],
        weights=np.where(distorted[order], 0.0, 1.0),
        radius=radii[order],
        edge=edge[order],
        offsets=offsets,
        strand=owner,
        closed=np.array([strand.ends is None for strand in strands], dtype=bool)[owner],
        ends=_hangs(strands, arms, owner),
    )
    drop = distorted | (edge < radii + 1.0)
    return _cut_ends(chains, drop[order])


def _lay_out(paths: PixelPaths, strands: list[Strand]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixel numbers in order (junction j is number N + j), the offset of each gapless piece, and its strand."""
    count = len(paths.points)
    pixels = np.split(np.arange(count), paths.offsets[1:-1])
    rows: list[np.ndarray] = []
    lengths: list[int] = []
    owners: list[int] = []

    def lay(row: np.ndarray) -> None:
        rows.append(row)
        lengths[-1] += len(row)

    for number, strand in enumerate(strands):
        lengths.append(0)
        owners.append(number)
        for place, (path, back) in enumerate(strand.steps):
            lay(pixels[path][::-1] if back else pixels[path])
            joint = strand.joints[place] if place < len(strand.joints) else None
            if joint is not None:
                lay(np.array([count + joint.junctions[0]]))
                for (link, link_back), junction in zip(joint.links, joint.junctions[1:], strict=True):
                    lay(pixels[link][::-1] if link_back else pixels[link])
                    lay(np.array([count + junction]))
            elif place < len(strand.joints):
                lengths.append(0)
                owners.append(number)
    return np.concatenate(rows), np.append(0, np.cumsum(lengths)), np.array(owners, dtype=int)


def _distorted(paths: PixelPaths, arms: Arms) -> np.ndarray:
    """The pixels [N] that lie in the reach of a junction or in the cap of an end."""
    lengths = np.diff(paths.offsets)
    place = np.arange(len(paths.points)) - np.repeat(paths.offsets[:-1], lengths)
    skip = np.where(np.repeat(paths.closed, 2), 0, arms.skip)
    distorted = place < np.repeat(skip[0::2], lengths)
    return distorted | (np.repeat(lengths, lengths) - 1 - place < np.repeat(skip[1::2], lengths))


def _hangs(strands: list[Strand], arms: Arms, owner: np.ndarray) -> np.ndarray:
    """The junction [C,2] at the ends of each piece; ends at gaps are free."""
    run_through = passing(strands)
    ends = np.full((len(owner), 2), -1)
    first = np.searchsorted(owner, np.arange(len(strands)))
    last = np.searchsorted(owner, np.arange(len(strands)), side="right") - 1
    for number, strand in enumerate(strands):
        if strand.ends is not None:
            begin, end = (int(arms.junction[arm]) for arm in strand.ends)
            ends[first[number], 0] = begin if begin in run_through else -1
            ends[last[number], 1] = end if end in run_through else -1
    return ends


def _cut_ends(chains: Chains, drop: np.ndarray) -> Chains:
    """Cut the points flagged in drop [N] off both ends of each open chain."""
    first, last = chains.offsets[:-1], chains.offsets[1:] - 1
    index = np.arange(len(drop))
    first_clear = np.minimum.reduceat(np.where(drop, len(drop), index), first)
    last_clear = np.maximum.reduceat(np.where(drop, -1, index), first)
    room = np.where(chains.closed, 0, np.maximum(last - first + 1 - SHORTEST_CHAIN, 0))
    begin = np.minimum(first_clear - first, _longest_cut(chains.radius[first], room))
    end = np.minimum(last - last_clear, _longest_cut(chains.radius[last], room - begin))
    chain = chains.chain_of_points()
    return chains.part((index >= (first + begin)[chain]) & (index <= (last - end)[chain]))


def _longest_cut(radius: np.ndarray, room: np.ndarray) -> np.ndarray:
    return np.minimum((LONGEST_CUT * radius + 3.0).astype(int), room)


def refine(
    chains: Chains, mask: np.ndarray, field: np.ndarray | None, um_per_px: float
) -> tuple[Chains, np.ndarray, np.ndarray]:
    """Chains moved to the middle between the outlines, their smooth lines [N,2] and widths [N].

    mask, field: float32 [H,W], 1 inside. Ends that the edge of the field cuts lengthwise are dropped where the
    centre lies outside of the field.
    """
    line = _smooth_all(chains, um_per_px)
    normal = normals(line, chains.offsets)
    usual = median_by_chain(chains.radius, chains, np.ones(len(line), dtype=bool), fewest=1)
    sides = to_outline(line, normal, OPEN_FACTOR * usual + 2.0, mask)
    widths = widths_from(sides, usual)
    half_width = 0.5 * median_by_chain(widths, chains, chains.edge > chains.radius + 1.0, fewest=10)
    shift = shift_to_centre(line, normal, sides, half_width, mask.shape, field)
    chains = replace(chains, points=line + shift)
    keep = _inner_part(chains, in_field(chains.points, mask.shape, field))
    if not keep.all():
        chains, widths = chains.part(keep), widths[keep]
    return chains, _smooth_all(chains, um_per_px), widths


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


def median_by_chain(values: np.ndarray, chains: Chains, clear: np.ndarray, fewest: int) -> np.ndarray:
    """The median [N] of each chain's clear values; 0 for a chain with fewer than `fewest` of them."""
    chain = chains.chain_of_points()
    order = np.lexsort((values, ~clear, chain))  # in every chain, clear values come first, the smallest ahead
    counts = np.bincount(chain[clear], minlength=len(chains.strand))
    low = chains.offsets[:-1] + np.maximum(counts - 1, 0) // 2
    high = chains.offsets[:-1] + np.minimum(counts // 2, np.diff(chains.offsets) - 1)
    middle = 0.5 * (values[order[low]] + values[order[high]])
    return np.where((counts >= fewest) & (counts > 0), middle, 0.0)[chain]


def _inner_part(chains: Chains, inside: np.ndarray) -> np.ndarray:
    """False [N] for points at both ends of each open chain that are not inside, if enough others remain."""
    keep = np.ones(len(inside), dtype=bool)
    for chain in np.unique(chains.chain_of_points()[~inside]).tolist():
        first, last = chains.offsets[chain], chains.offsets[chain + 1]
        held = np.flatnonzero(inside[first:last])
        if len(held) >= SHORTEST_CHAIN and not chains.closed[chain]:
            keep[first:last] = False
            keep[first + held[0] : first + held[-1] + 1] = True
    return keep
