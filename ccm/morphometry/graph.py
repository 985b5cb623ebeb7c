"""The measured nerve graph: sub-pixel centre-lines, widths, roles and branch points."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from itertools import pairwise

import numpy as np

from .arms import TWIG_UM, Arms, distorted_counts, measure_arms
from .centreline import in_field, smooth
from .chains import build_chains, cut_ends
from .ends import CentreLines, finish
from .gaps import bridge_gaps, leave_over_gaps
from .orientation import Orientation
from .pairing import pair_arms
from .refine import clear_pixels, refine
from .skeleton import fill_small_holes, thin, trace_paths, without_blobs
from .topology import Strand, prune_spurs, split_hairpins, string_together

MAIN_UM = 100.0  # a main fibre is at least this long


class Role(str, Enum):
    """What a nerve is in its frame.

    MAIN leaves no other fibre and is at least 100 um long; BRANCH leaves another fibre and is at least 15 um
    long; TWIG leaves another fibre and is shorter; FRAGMENT leaves no other fibre but is short, or is a ring.
    """

    MAIN = "main"
    BRANCH = "branch"
    TWIG = "twig"
    FRAGMENT = "fragment"


@dataclass(frozen=True)
class Nerve:
    """One nerve. A nerve with gaps has one piece between each two gaps.

    pieces_um: centre-line points (x, y) in um, [n,2] each. widths_um: [n] each. length_um: without the gaps.
    parents: numbers of the nerves that its ends leave or join, if need be over a short gap, -1 for a free end.
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
        """The nerves of one role: main fibres, branches, offshoots or fragments."""
        return tuple(nerve for nerve in self.nerves if nerve.role is role)


def measure_graph(mask: np.ndarray, um_per_px: float, field: np.ndarray | None = None) -> NerveGraph:
    """Measure all nerves of a mask, bool [H,W], within a field of view, bool [H,W] (the whole frame if None).

    The mask must be False outside of the field.
    """
    corner = np.zeros(2)
    if field is not None:
        mask, field, corner = _crop(mask, field)
    orientation = Orientation.of(mask)
    lines = _measure_lines(
        orientation.apply(mask), um_per_px, None if field is None else orientation.apply(field)
    )
    if lines is None:
        return NerveGraph((), np.zeros((0, 2)))
    size = (mask.shape[1], mask.shape[0])
    points = corner + orientation.undo(lines.points, size)
    feet = corner + orientation.undo(lines.feet.reshape(-1, 2), size).reshape(lines.feet.shape)
    return _as_graph(replace(lines, points=points, feet=feet), um_per_px)


def _crop(mask: np.ndarray, field: np.ndarray) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """The part of a mask around its field of view, the field there (None if it fills that part), and the corner."""
    rows, columns = np.flatnonzero(field.any(axis=1)), np.flatnonzero(field.any(axis=0))
    part = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    corner = np.array([columns[0], rows[0]], dtype=float)
    return mask[part], None if field[part].all() else field[part], corner


def _measure_lines(mask: np.ndarray, um_per_px: float, field: np.ndarray | None) -> CentreLines | None:
    """All centre-lines of a mask that stands upright; None if there is no nerve."""
    mask, half_width = without_blobs(fill_small_holes(mask, um_per_px), um_per_px)
    skeleton = thin(mask)
    if not skeleton.any():
        return None
    paths = trace_paths(skeleton)
    junction_radius = _at(half_width, paths.junctions)
    paths = split_hairpins(prune_spurs(paths, _at(half_width, paths.points), junction_radius))
    if len(paths.points) == 0:
        return None
    radius = _at(half_width, paths.points)
    edge = _edge_distance(paths.points, mask.shape, field)
    skip = distorted_counts(paths, radius, junction_radius)
    clear = clear_pixels(paths, skip, radius, edge)
    nerve = mask.astype(np.float32)
    seen = None if field is None else field.astype(np.float32)
    paths, widths = refine(paths, clear, radius, edge, nerve, seen, um_per_px)
    arms = measure_arms(paths, 0.5 * widths, edge, skip, um_per_px)
    through, gaps = pair_arms(paths, arms, junction_radius), bridge_gaps(paths.closed, arms, um_per_px)
    strands = string_together(paths.closed, through, gaps)
    chains = build_chains(paths, strands, arms, clear, widths)
    line = smooth(chains.points, chains.weights, chains.offsets, chains.closed, um_per_px)
    chains = cut_ends(replace(chains, points=line), in_field(line, mask.shape, seen))
    lines = finish(chains, strands, paths.junctions, junction_radius, nerve, seen)
    lines = leave_over_gaps(lines, _lone_ends(lines, strands, arms), um_per_px)
    points, feet = (np.clip(found, 0.0, mask.shape[::-1]) for found in (lines.points, lines.feet))
    return replace(lines, points=points, feet=feet)


def _lone_ends(lines: CentreLines, strands: list[Strand], arms: Arms) -> np.ndarray:
    """Which ends of centre-lines, bool [C,2], are ends inside the field of nerves that meet no other."""
    lone = np.zeros((len(strands), 2), dtype=bool)
    for number, strand in enumerate(strands):
        ends = list(strand.ends or ())
        if ends and (arms.junction[ends] < 0).all():
            lone[number] = ~arms.leaves[ends]
    outer = np.diff(lines.strand, prepend=-1) > 0, np.diff(lines.strand, append=len(strands)) > 0
    return lone[lines.strand] & np.stack(outer, axis=1)


def _at(picture: np.ndarray, points: np.ndarray) -> np.ndarray:
    columns, rows = points.T.astype(int)
    return picture[rows, columns]


def _edge_distance(points: np.ndarray, shape: tuple[int, ...], field: np.ndarray | None) -> np.ndarray:
    """Distance [N] in pixels of points [N,2] from the edge of the field of view."""
    x, y = points.T
    rectangle = np.minimum(np.minimum(x, shape[1] - x), np.minimum(y, shape[0] - y))
    if field is None:
        return rectangle
    import cv2

    inside = cv2.distanceTransform(field.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5) - 0.5
    return np.minimum(rectangle, _at(inside, points))


def _as_graph(lines: CentreLines, um_per_px: float) -> NerveGraph:
    """Lengths, roles and branch points of all lines, grouped by strand, without the blobs."""
    step = np.hypot(*(lines.points[1:] - lines.points[:-1]).T)
    step[lines.offsets[1:-1] - 1] = 0.0
    owner = np.repeat(lines.strand, np.diff(lines.offsets))
    length = np.bincount(owner[:-1], step, minlength=int(lines.strand[-1]) + 1)
    keep = ~_blobs(lines, length, owner)
    number = np.append(np.cumsum(keep) - 1, -1)  # the last one is that of parent -1
    first = np.searchsorted(lines.strand, np.flatnonzero(keep))
    after = np.searchsorted(lines.strand, np.flatnonzero(keep), side="right")
    lengths = (length[keep] * um_per_px).tolist()
    begins, ends = number[lines.parents[first, 0]].tolist(), number[lines.parents[after - 1, 1]].tolist()
    parents = list(zip(begins, ends, strict=True))
    closed = lines.closed[first].tolist()
    roles = assign_roles(lengths, parents, closed)
    points, across, bounds = lines.points * um_per_px, lines.widths * um_per_px, lines.offsets.tolist()
    pieces = [points[a:b] for a, b in pairwise(bounds)]
    widths = [across[a:b] for a, b in pairwise(bounds)]
    nerves = tuple(
        Nerve(roles[n], tuple(pieces[a:b]), tuple(widths[a:b]), lengths[n], closed[n], parents[n])
        for n, (a, b) in enumerate(zip(first.tolist(), after.tolist(), strict=True))
    )
    feet = np.stack([lines.feet[first, 0], lines.feet[after - 1, 1]], axis=1) * um_per_px
    return NerveGraph(nerves, _branch_points(nerves, feet))


def _blobs(lines: CentreLines, length: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """Strands [S] that stand alone and are no longer than they are wide: a speck or a filled area is no nerve."""
    count = len(length)
    width = np.bincount(owner, lines.widths, minlength=count) / np.bincount(owner, minlength=count)
    tied = np.zeros(count + 1, dtype=bool)
    tied[lines.parents.ravel()] = True  # -1 is the last one
    tied[lines.strand[(lines.parents >= 0).any(axis=1) | lines.closed]] = True
    return ~tied[:-1] & (length < width)


def _branch_points(nerves: tuple[Nerve, ...], feet: np.ndarray) -> np.ndarray:
    """Points [B,2] in um at which branches and main fibres meet; feet [n,2,2]: where the nerves' ends do."""
    kinds = {Role.BRANCH, Role.MAIN}
    points = [
        feet[number, side]
        for number, nerve in enumerate(nerves)
        for side in (0, 1)
        if nerve.parents[side] >= 0 and {nerve.role, nerves[nerve.parents[side]].role} == kinds
    ]
    return np.array(points, dtype=float).reshape(-1, 2)


def assign_roles(lengths_um: list[float], parents: list[tuple[int, int]], closed: list[bool]) -> list[Role]:
    """The role of each nerve from its length, the nerves it leaves or joins (-1: none), and if it is a ring.

    A nerve long enough for a main fibre does not leave a fragment that is too short for one: there, the fragment is
    the offshoot. Where nerves leave each other in a circle, the longest of them is their origin.
    """
    others = [{p for p in pair if p >= 0} - {n} for n, pair in enumerate(parents)]
    fragment = [not met and lengths_um[n] < MAIN_UM for n, met in enumerate(others)]
    leaves: list[set[int]] = [set() for _ in others]
    for n, met in enumerate(others):
        for other in met:
            child, parent = (other, n) if fragment[other] and lengths_um[n] >= MAIN_UM else (n, other)
            leaves[child].add(parent)
    offshoots: list[list[int]] = [[] for _ in others]
    for n, met in enumerate(leaves):
        for other in met:
            offshoots[other].append(n)
    origins = {n for n, met in enumerate(leaves) if not met}
    reached: set[int] = set()
    for n in [*origins, *sorted(range(len(others)), key=lambda n: -lengths_um[n])]:
        if n not in reached:
            origins.add(n)
            _reach(n, offshoots, reached)
    return [_role(lengths_um[n], n in origins, closed[n]) for n in range(len(others))]


def _reach(start: int, offshoots: list[list[int]], reached: set[int]) -> None:
    """Add to `reached` the nerve `start` and all that leave it, directly or through others."""
    waiting = [start]
    while waiting:
        n = waiting.pop()
        if n not in reached:
            reached.add(n)
            waiting.extend(offshoots[n])


def _role(length_um: float, is_origin: bool, closed: bool) -> Role:
    if is_origin:
        return Role.MAIN if length_um >= MAIN_UM and not closed else Role.FRAGMENT
    return Role.BRANCH if length_um >= TWIG_UM else Role.TWIG
