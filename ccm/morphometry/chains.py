"""Point chains, one for each gapless piece of a strand. All lengths are in pixels."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .arms import Arms
from .refine import end_runs, median_by_path
from .skeleton import PixelPaths
from .topology import Strand, passing

SHORTEST_CHAIN = 5  # so many points always remain of a chain


@dataclass(frozen=True)
class Chains:
    """C chains of N points in all; chain c is points[offsets[c]:offsets[c+1]].

    points: [N,2] (x, y). weights: [N], 0 where a junction or an end distorts the skeleton, else 1. widths: [N].
    offsets: [C+1]. strand: [C], the number of the strand. closed: [C], rings. ends: [C,2], the junction at each end; -1
    for a free end, and for one at a junction that no strand runs through. cut: [C,2], how many
    points were last cut off each end.
    """

    points: np.ndarray
    weights: np.ndarray
    widths: np.ndarray
    offsets: np.ndarray
    strand: np.ndarray
    closed: np.ndarray
    ends: np.ndarray
    cut: np.ndarray


def build_chains(
    paths: PixelPaths,
    strands: list[Strand],
    arms: Arms,
    clear: np.ndarray,
    widths: np.ndarray,
) -> Chains:
    """Lay the points of each strand in a row, junctions included, and cut distorted ends off.

    Of each point [N]: clear, whether nothing distorts it; and its width.
    """
    extra = len(paths.junctions)
    order, offsets, owner = _lay_out(paths, strands)
    at_junction = order >= len(paths.points)
    across = np.append(widths, np.zeros(extra)).take(order)
    usual = median_by_path(across, offsets, ~at_junction, fewest=1)
    clear = np.append(clear, np.zeros(extra, dtype=bool)).take(order)
    chains = Chains(
        points=np.concatenate([paths.points, paths.junctions]).take(order, axis=0),
        weights=clear.astype(float),
        widths=np.where(at_junction, usual, across),
        offsets=offsets,
        strand=owner,
        closed=np.array([strand.ends is None for strand in strands], dtype=bool)[owner],
        ends=_hangs(strands, arms, owner),
        cut=np.zeros((len(owner), 2), dtype=int),
    )
    return cut_ends(chains, clear)


def _lay_out(paths: PixelPaths, strands: list[Strand]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Point numbers in order (junction j is number N + j), the offset of each gapless piece, and its strand."""
    junction = len(paths.points)
    first, last = paths.offsets[:-1].tolist(), (paths.offsets[1:] - 1).tolist()
    runs: list[tuple[int, int]] = []  # first and last point number, in walking order
    pieces: list[int] = []  # the run at which each piece starts
    owners: list[int] = []

    def walk(path: int, back: bool) -> None:
        runs.append((last[path], first[path]) if back else (first[path], last[path]))

    def stay(at: int) -> None:
        runs.append((junction + at, junction + at))

    for number, strand in enumerate(strands):
        for place, (path, back) in enumerate(strand.steps):
            if place == 0 or strand.joints[place - 1] is None:
                pieces.append(len(runs))
                owners.append(number)
            walk(path, back)
            joint = strand.joints[place] if place < len(strand.joints) else None
            if joint is not None:
                stay(joint.junctions[0])
                for link, at in zip(joint.links, joint.junctions[1:], strict=True):
                    walk(*link)
                    stay(at)
    order, ends = _number(np.array(runs))
    return order, np.append(0, ends)[[*pieces, -1]], np.array(owners, dtype=int)


def _number(runs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All numbers from the first to the last of each run [R,2], up or down, and where each run ends [R]."""
    step = np.where(runs[:, 1] < runs[:, 0], -1, 1)
    lengths = np.abs(runs[:, 1] - runs[:, 0]) + 1
    ends = np.cumsum(lengths)
    place = np.arange(ends[-1]) - np.repeat(ends - lengths, lengths)
    return np.repeat(runs[:, 0], lengths) + np.repeat(step, lengths) * place, ends


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


def cut_ends(chains: Chains, sound: np.ndarray) -> Chains:
    """Cut points that are not sound, [N], off both ends of each open chain, but leave five."""
    lengths = np.diff(chains.offsets)
    room = np.where(chains.closed, 0, np.maximum(lengths - SHORTEST_CHAIN, 0))
    begin, end = end_runs(~sound, chains.offsets)
    begin = np.minimum(begin, room)
    end = np.minimum(end, room - begin)
    chain = np.repeat(np.arange(len(lengths)), lengths)
    place = np.arange(len(sound)) - chains.offsets[chain]
    keep = np.flatnonzero((place >= begin[chain]) & (place < (lengths - end)[chain]))
    return replace(
        chains,
        points=chains.points.take(keep, axis=0),
        weights=chains.weights[keep],
        widths=chains.widths[keep],
        offsets=np.append(0, np.cumsum(lengths - begin - end)),
        cut=np.stack([begin, end], axis=1),
    )
