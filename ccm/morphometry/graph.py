"""The measured nerve graph: sub-pixel centre-lines, widths, roles and branch points."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from .arms import TWIG_UM, measure_arms
from .pairing import pair_arms
from .skeleton import fill_small_holes, thin, trace_paths
from .strands import CentreLine, build_chains, finish
from .topology import bridge_gaps, prune_spurs, split_hairpins, string_together

MAIN_UM = 100.0  # a main fibre is at least this long


class Role(str, Enum):
    """What a nerve is in its frame.

    MAIN leaves no other fibre and is at least 100 um long; BRANCH leaves another fibre and is at least 15 um long;
    TWIG leaves another fibre and is shorter; FRAGMENT leaves no other fibre but is short, or is a closed ring.
    """

    MAIN = "main"
    BRANCH = "branch"
    TWIG = "twig"
    FRAGMENT = "fragment"


@dataclass(frozen=True)
class Nerve:
    """One nerve. A nerve with gaps has one piece between each two gaps.

    pieces_um: centre-line points (x, y) in um, [n,2] each; widths_um: [n] each; length_um: without the gaps.
    parents: numbers of the nerves that its ends leave or join, -1 for a free end.
    """

    role: Role
    pieces_um: tuple[np.ndarray, ...]
    widths_um: tuple[np.ndarray, ...]
    length_um: float
    closed: bool
    parents: tuple[int, int]


@dataclass(frozen=True)
class NerveGraph:
    """All nerves of a frame, and the points [B,2] in um at which branches leave or join main fibres."""

    nerves: tuple[Nerve, ...]
    branch_points_um: np.ndarray

    def with_role(self, role: Role) -> tuple[Nerve, ...]:
        return tuple(nerve for nerve in self.nerves if nerve.role is role)


def measure_graph(mask: np.ndarray, um_per_px: float, field: np.ndarray | None = None) -> NerveGraph:
    """Measure all nerves of a mask, bool [H,W], within a field of view, bool [H,W] (the whole frame if None).

    The mask must be False outside of the field.
    """
    import cv2

    mask = fill_small_holes(mask, um_per_px)
    distance = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
    half_width = np.clip(distance - 0.5, 0.5, min(mask.shape) / 2.0)  # pixel centre to outline
    skeleton = thin(mask)
    if not skeleton.any():
        return NerveGraph((), np.zeros((0, 2)))
    paths = trace_paths(skeleton)
    junction_radius = _at(half_width, paths.junctions)
    paths = split_hairpins(prune_spurs(paths, _at(half_width, paths.points), junction_radius))
    radius = _at(half_width, paths.points)
    edge = _edge_distance(paths.points, mask.shape, field)
    arms = measure_arms(paths, radius, junction_radius, edge, um_per_px)
    through = pair_arms(paths, arms, junction_radius)
    gaps = bridge_gaps(paths.closed, arms, um_per_px)
    strands = string_together(paths.closed, through, gaps)
    chains = build_chains(paths, strands, arms, radius, junction_radius, edge)
    sampled = mask.astype(np.float32)
    field = None if field is None else field.astype(np.float32)
    lines = finish(chains, strands, paths.junctions, junction_radius, sampled, field, um_per_px)
    return _as_graph(lines, len(strands), um_per_px)


def _at(picture: np.ndarray, points: np.ndarray) -> np.ndarray:
    columns, rows = np.floor(points).astype(int).T
    return picture[rows, columns]


def _edge_distance(points: np.ndarray, shape: tuple[int, int], field: np.ndarray | None) -> np.ndarray:
    """Distance [N] in pixels of points [N,2] from the edge of the field of view."""
    x, y = points.T
    rectangle = np.minimum(np.minimum(x, shape[1] - x), np.minimum(y, shape[0] - y))
    if field is None:
        return rectangle
    import cv2

    inside = cv2.distanceTransform(field.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE) - 0.5
    return np.minimum(rectangle, _at(inside, points))


def _as_graph(lines: list[CentreLine], count: int, um_per_px: float) -> NerveGraph:
    """Lengths, roles and branch points of all pieces, grouped by strand, without the blobs."""
    pieces: list[list[CentreLine]] = [[] for _ in range(count)]
    for line in lines:
        pieces[line.strand].append(line)
    strands = _without_blobs(pieces)
    number = {strand[0].strand: n for n, strand in enumerate(strands)} | {-1: -1}
    lengths = [um_per_px * sum(_length(line) for line in strand) for strand in strands]
    parents = [(number[strand[0].parents[0]], number[strand[-1].parents[1]]) for strand in strands]
    closed = [strand[0].closed for strand in strands]
    roles = assign_roles(lengths, parents, closed)
    nerves = tuple(
        Nerve(
            role=roles[n],
            pieces_um=tuple(line.points * um_per_px for line in strand),
            widths_um=tuple(line.widths * um_per_px for line in strand),
            length_um=lengths[n],
            closed=closed[n],
            parents=parents[n],
        )
        for n, strand in enumerate(strands)
    )
    feet = [
        nerve.pieces_um[-side][-side]
        for nerve in nerves
        for side in (0, 1)
        if nerve.role is Role.BRANCH and nerve.parents[side] >= 0 and roles[nerve.parents[side]] is Role.MAIN
    ]
    return NerveGraph(nerves, np.array(feet, dtype=float).reshape(-1, 2))


def _without_blobs(strands: list[list[CentreLine]]) -> list[list[CentreLine]]:
    """Drop lone strands that are no longer than they are wide: a speck or a filled area is no nerve."""
    met = {parent for strand in strands for line in strand for parent in line.parents}

    def is_blob(strand: list[CentreLine]) -> bool:
        lone = all(line.parents == (-1, -1) for line in strand) and strand[0].strand not in met
        widest = max(float(line.widths.mean()) for line in strand)
        return lone and not strand[0].closed and sum(map(_length, strand)) < widest

    return [strand for strand in strands if not is_blob(strand)]


def assign_roles(lengths_um: list[float], parents: list[tuple[int, int]], closed: list[bool]) -> list[Role]:
    """The role of each nerve from its length, the nerves that it leaves or joins (-1: none), and if it is a ring.

    Where nerves leave each other in a circle, as the two halves of a loop may, the longest of them is their origin.
    """
    others = [{p for p in pair if p >= 0} - {n} for n, pair in enumerate(parents)]
    origins = {n for n, met in enumerate(others) if not met}
    reached: set[int] = set()
    frontier = set(origins)
    while True:
        while frontier:
            reached |= frontier
            frontier = {n for n, met in enumerate(others) if n not in reached and met & frontier}
        rest = [n for n in range(len(others)) if n not in reached]
        if not rest:
            break
        frontier = {max(rest, key=lambda n: lengths_um[n])}
        origins |= frontier
    return [_role(lengths_um[n], n in origins, closed[n]) for n in range(len(others))]


def _role(length_um: float, is_origin: bool, closed: bool) -> Role:
    if is_origin:
        return Role.MAIN if length_um >= MAIN_UM and not closed else Role.FRAGMENT
    return Role.BRANCH if length_um >= TWIG_UM else Role.TWIG


def _length(line: CentreLine) -> float:
    return float(np.hypot(*np.diff(line.points, axis=0).T).sum())
