"""Which pixel paths are one nerve: pruning, crossings, pairing of arms at junctions, and gaps.

An arm is one end of a path, numbered 2 * path + (0 for its first, 1 for its last pixel). All lengths are in pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np

from .skeleton import PixelPaths

GAP_UM = 20.0  # two ends with this much clear space between them that face each other are one nerve
TWIG_UM = 15.0  # a shorter offshoot is no branch
REACH_UM = 16.0  # the direction of an arm is taken over this length
LINK_FACTOR = 3.5  # at 15 degrees, crossing nerves share a link of 3.4 times their junctions' half-widths,
LINK_PX = 6.0  # and the pixel grid adds to it
CROSSING_TURN = math.radians(35.0)  # a nerve turns less than this where it crosses another
GAP_TURN = math.radians(50.0)  # and less than this over a gap
SPUR_PX = 2.5  # outline noise reaches this far, and half a half-width, beyond the outline
WIDTH_TURN = math.radians(25.0)  # a width ratio of e counts as much as this turn
SAME_TURN = math.radians(720.0)  # a loop closes onto itself only where nothing else is left
TWIG_TURN = math.radians(120.0)  # a twig continues a nerve only where nothing else does


@dataclass(frozen=True)
class Arms:
    """Geometry of the 2 S arms: a point beyond the junction, the direction away from it, width and junction."""

    tip: np.ndarray  # [2S,2] the end itself (x, y)
    near: np.ndarray  # [2S,2] (x, y)
    away: np.ndarray  # [2S,2] unit vectors
    radius: np.ndarray  # [2S] half-width
    skip: np.ndarray  # [2S] number of pixels that the junction distorts
    junction: np.ndarray  # [2S] junction number, -1 for a free end
    leaves: np.ndarray  # [2S] free ends at the edge of the field of view


@dataclass
class Strand:
    """Paths that make up one nerve, in order: (path, reversed), and what lies before each but the first.

    joints[i] joins steps[i] to steps[i + 1]: junctions and link paths, or None for a gap. ends: the arms at both ends,
    none if closed.
    """

    steps: list[tuple[int, bool]] = field(default_factory=list)
    joints: list[Joint | None] = field(default_factory=list)
    ends: tuple[int, int] | None = None


@dataclass(frozen=True)
class Joint:
    """The way through a junction group: junctions visited and, between them, the links (path, reversed)."""

    junctions: tuple[int, ...]
    links: tuple[tuple[int, bool], ...] = ()

    def reverse(self) -> Joint:
        return Joint(self.junctions[::-1], tuple((path, not back) for path, back in self.links[::-1]))


def prune_spurs(paths: PixelPaths, radius: np.ndarray, junction_radius: np.ndarray) -> PixelPaths:
    """Drop the offshoots that hardly reach beyond their parent's outline: they are noise of the outline.

    radius [N] and junction_radius [J]: distance to the background in pixels. A junction that keeps a single arm
    becomes a free end, and then the next round looks at it again.
    """
    alive = np.ones(len(paths.ends), dtype=bool)
    ends = paths.ends.copy()
    first, last = paths.offsets[:-1], paths.offsets[1:] - 1
    while True:
        free = ends < 0
        spur = np.flatnonzero(alive & (free[:, 0] != free[:, 1]))
        tip = np.where(free[spur, 0], first[spur], last[spur])
        at = np.where(free[spur, 0], ends[spur, 1], ends[spur, 0])
        beyond = np.hypot(*(paths.points[tip] - paths.junctions[at]).T) + radius[tip] - junction_radius[at]
        gone = spur[beyond < 0.5 * junction_radius[at] + SPUR_PX]
        if len(gone) == 0:
            return _select(replace(paths, ends=ends), alive)
        alive[gone] = False
        arms = np.bincount(ends[alive][ends[alive] >= 0], minlength=len(paths.junctions))
        ends[(ends >= 0) & (arms[ends] == 1)] = -1


def _select(paths: PixelPaths, alive: np.ndarray) -> PixelPaths:
    lengths = np.diff(paths.offsets)
    return PixelPaths(
        points=paths.points[np.repeat(alive, lengths)],
        offsets=np.append(0, np.cumsum(lengths[alive])),
        ends=paths.ends[alive],
        closed=paths.closed[alive],
        junctions=paths.junctions,
    )


def measure_arms(
    paths: PixelPaths,
    radius: np.ndarray,
    junction_radius: np.ndarray,
    edge_distance: np.ndarray,
    um_per_px: float,
) -> Arms:
    """Point, direction and half-width of every arm, taken beyond the pixels that its junction distorts.

    radius, edge_distance [N]: distance of a pixel to the mask's outline, and to the edge of the field of view.
    """
    lengths = np.repeat(np.diff(paths.offsets), 2)
    junction = paths.ends.ravel()
    end = np.stack([paths.offsets[:-1], paths.offsets[1:] - 1], axis=1).ravel()
    inward = np.tile([1, -1], len(paths.ends))
    skip = radius[end].astype(int) + 1
    held = junction >= 0
    skip[held] = (1.5 * junction_radius[junction[held]]).astype(int) + 1
    reach = max(10, round(REACH_UM / um_per_px))
    near = np.minimum(skip, (lengths - 1) // 3)
    far = np.minimum(near + reach, lengths - 1)
    total = np.append(0.0, np.cumsum(radius))
    low, high = (
        np.minimum(end + inward * near, end + inward * far),
        np.maximum(end + inward * near, end + inward * far),
    )
    width = (total[high + 1] - total[low]) / (high - low + 1)
    start = paths.points[end + inward * near]
    away = paths.points[end + inward * far] - start
    flat = (away == 0).all(axis=1) & (junction >= 0)
    away[flat] = start[flat] - paths.junctions[junction[flat]]
    norm = np.maximum(np.hypot(*away.T), 1e-9)
    leaves = ~held & (edge_distance[end] <= radius[end] + 2.0)
    skip = np.minimum(skip, lengths)
    return Arms(paths.points[end], start, away / norm[:, None], width, skip, junction, leaves)


def turn(near_a: list, away_a: list, near_b: list, away_b: list) -> float:
    """Total turn in radians of the way in along arm a, over the chord from a to b, and out along arm b."""
    chord = math.atan2(near_b[1] - near_a[1], near_b[0] - near_a[0])
    coming, leaving = math.atan2(-away_a[1], -away_a[0]), math.atan2(away_b[1], away_b[0])
    return _angle(coming - chord) + _angle(leaving - chord)


def _angle(difference: float) -> float:
    return abs((difference + math.pi) % (2.0 * math.pi) - math.pi)


def pair_arms(
    paths: PixelPaths, arms: Arms, junction_radius: np.ndarray, um_per_px: float
) -> dict[int, tuple[int, Joint]]:
    """Which arm goes on as which other arm, and through what: {arm: (other arm, joint)}.

    Strategy: junctions with a short link between them are one group. In a group, the straightest pair of arms of
    about the same width is a nerve that runs through; further pairs are crossing nerves if they are straight enough;
    every other arm is an offshoot. A junction that no nerve runs through yet, as where an offshoot forks at once, is
    then paired on its own, with the links that are left over.
    """
    links = _short_links(paths, junction_radius)
    group = _groups(len(paths.junctions), paths.ends[links])
    is_link = np.zeros(len(paths.ends), dtype=bool)
    is_link[links] = True
    cost = _PairCost(paths, arms, um_per_px)
    graph = _link_graph(paths, links)
    mates: dict[int, tuple[int, Joint]] = {}
    outer = np.flatnonzero((arms.junction >= 0) & ~np.repeat(is_link, 2))
    for members in _by_key(group[arms.junction[outer]], outer):
        for a, b in cost.choose(members):
            joint = _route(graph, int(arms.junction[a]), int(arms.junction[b]))
            mates[a], mates[b] = (b, joint), (a, joint.reverse())
    joints = [joint for _, joint in mates.values()]
    visited = {junction for joint in joints for junction in joint.junctions}
    taken = {path for joint in joints for path, _ in joint.links}
    rest = [
        arm
        for arm, junction in enumerate(arms.junction.tolist())
        if junction >= 0 and junction not in visited and arm // 2 not in taken
    ]
    for members in _by_key(arms.junction[rest], np.array(rest, dtype=int)):
        for a, b in cost.choose(members):
            joint = Joint((int(arms.junction[a]),))
            mates[a], mates[b] = (b, joint), (a, joint)
    _mend_loops(paths, mates, cost)
    return mates


def _mend_loops(paths: PixelPaths, mates: dict[int, tuple[int, Joint]], cost: _PairCost) -> None:
    """Lead a nerve through one side of each loop.

    Where two paths join the same two junctions, the nerve may go on along one of them at the first junction and come
    from the other at the second. The side that costs less turn then takes both.
    """
    between: dict[tuple[int, int], list[int]] = {}
    for arm, ends in enumerate(
        np.concatenate([paths.ends, paths.ends[:, ::-1]], axis=1).reshape(-1, 2).tolist()
    ):
        if min(ends) >= 0 and ends[0] < ends[1]:
            between.setdefault((ends[0], ends[1]), []).append(arm)
    for sides in between.values():
        for p in sides:
            for q in sides:
                if p in mates and q ^ 1 in mates and q not in mates and p ^ 1 not in mates:
                    _take_one_side(p, q, mates, cost)


def _take_one_side(p: int, q: int, mates: dict[int, tuple[int, Joint]], cost: _PairCost) -> None:
    """Arms p and q leave one junction and meet again; p goes on there, and q ^ 1 at the other end: mend that."""
    before, after = mates[p][0], mates[q ^ 1][0]
    along_p = cost.turn(p ^ 1, after) - cost.turn(q ^ 1, after)
    along_q = cost.turn(q, before) - cost.turn(p, before)
    old, new = (q ^ 1, p ^ 1) if along_p <= along_q else (p, q)
    other, joint = mates.pop(old)
    mates[new], mates[other] = (other, joint), (new, joint.reverse())


def _by_key(keys: np.ndarray, values: np.ndarray) -> list[list[int]]:
    """The values of each key, as lists."""
    found: dict[int, list[int]] = {}
    for key, value in zip(keys.tolist(), values.tolist(), strict=True):
        found.setdefault(key, []).append(value)
    return list(found.values())


class _PairCost:
    """What it costs, in radians of turn, to go on from one arm to another."""

    def __init__(self, paths: PixelPaths, arms: Arms, um_per_px: float) -> None:
        lengths = np.diff(paths.offsets)
        ends_inside = ((arms.junction < 0) & ~arms.leaves).reshape(-1, 2).any(axis=1)
        short = ends_inside & (lengths < TWIG_UM / um_per_px)
        self._twig = np.repeat(short, 2).tolist()
        self._near, self._away = arms.near.tolist(), arms.away.tolist()
        self._width = np.log(np.maximum(arms.radius, 0.5)).tolist()

    def choose(self, members: list[int]) -> list[tuple[int, int]]:
        """The best pair of a group of arms, and every further pair that is straight enough for a crossing."""
        turns = {(a, b): self.turn(a, b) for i, a in enumerate(members) for b in members[i + 1 :]}
        chosen: list[tuple[int, int]] = []
        left = set(members)
        for a, b in sorted(turns, key=lambda pair: turns[pair] + self._reluctance(*pair)):
            if a in left and b in left and (not chosen or turns[a, b] < CROSSING_TURN):
                chosen.append((a, b))
                left -= {a, b}
        return chosen

    def turn(self, a: int, b: int) -> float:
        bend = turn(self._near[a], self._away[a], self._near[b], self._away[b])
        return bend + WIDTH_TURN * abs(self._width[a] - self._width[b])

    def _reluctance(self, a: int, b: int) -> float:
        same = SAME_TURN if a // 2 == b // 2 else 0.0
        return same + TWIG_TURN * (self._twig[a] + self._twig[b])


def _short_links(paths: PixelPaths, junction_radius: np.ndarray) -> np.ndarray:
    both = (paths.ends >= 0).all(axis=1) & (paths.ends[:, 0] != paths.ends[:, 1])
    candidates = np.flatnonzero(both)
    limit = LINK_FACTOR * junction_radius[paths.ends[candidates]].sum(axis=1) + LINK_PX
    return candidates[np.diff(paths.offsets)[candidates] <= limit]


def _groups(count: int, pairs: np.ndarray) -> np.ndarray:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if count == 0:
        return np.zeros(0, dtype=int)
    ones = np.ones(len(pairs), dtype=np.int8)
    return connected_components(
        coo_array((ones, (pairs[:, 0], pairs[:, 1])), shape=(count, count)), directed=False
    )[1]


def _link_graph(paths: PixelPaths, links: np.ndarray) -> dict[int, list[tuple[int, tuple[int, bool]]]]:
    graph: dict[int, list[tuple[int, tuple[int, bool]]]] = {}
    for path, (a, b) in zip(links.tolist(), paths.ends[links].tolist(), strict=True):
        graph.setdefault(a, []).append((b, (path, False)))
        graph.setdefault(b, []).append((a, (path, True)))
    return graph


def _route(graph: dict[int, list[tuple[int, tuple[int, bool]]]], start: int, goal: int) -> Joint:
    """The way with the fewest links from junction to junction of one group."""
    queue = [Joint((start,))]
    seen = {start}
    for joint in queue:
        here = joint.junctions[-1]
        if here == goal:
            return joint
        for there, link in graph.get(here, ()):
            if there not in seen:
                seen.add(there)
                queue.append(Joint((*joint.junctions, there), (*joint.links, link)))
    raise AssertionError("junctions of one group are always linked")


def bridge_gaps(closed: np.ndarray, arms: Arms, um_per_px: float) -> dict[int, int]:
    """Pairs of free ends inside the field that face each other over a short gap: {arm: other arm}."""
    free = np.flatnonzero((arms.junction < 0) & ~arms.leaves & ~np.repeat(closed, 2))
    limit = GAP_UM / um_per_px
    point, radius = arms.tip[free], arms.radius[free]
    apart = np.hypot(*(point[:, None] - point[None]).transpose(2, 0, 1))
    apart -= radius[:, None] + radius[None]
    rows, columns = np.nonzero(np.triu(apart < limit, 1))
    near, away = arms.near.tolist(), arms.away.tolist()
    found = []
    for i, j in zip(rows.tolist(), columns.tolist(), strict=True):
        a, b = int(free[i]), int(free[j])
        bend = turn(near[a], away[a], near[b], away[b])
        if a // 2 != b // 2 and bend < GAP_TURN:
            found.append((max(float(apart[i, j]), 1.0) * (1.0 + bend), a, b))
    mates: dict[int, int] = {}
    for _, a, b in sorted(found):
        if a not in mates and b not in mates:
            mates[a], mates[b] = b, a
    return mates


def string_together(
    closed: np.ndarray, through: dict[int, tuple[int, Joint]], gaps: dict[int, int]
) -> list[Strand]:
    """Follow the paired arms from path to path; closed [S] are rings. A link that a nerve runs through is no strand."""
    mates: dict[int, tuple[int, Joint | None]] = {arm: (other, None) for arm, other in gaps.items()}
    mates.update(through)
    used = {path for _, joint in through.values() for path, _ in joint.links}
    rings = np.flatnonzero(closed).tolist()
    used.update(rings)
    strands = [Strand([(ring, False)]) for ring in rings]
    starts = [arm for arm in range(2 * len(closed)) if arm not in mates]
    for arm in starts + list(range(0, 2 * len(closed), 2)):
        if arm // 2 not in used:
            strands.append(_follow(arm, mates, used))
    return strands


def _follow(arm: int, mates: dict[int, tuple[int, Joint | None]], used: set[int]) -> Strand:
    strand, begin = Strand(), arm
    while arm // 2 not in used:
        used.add(arm // 2)
        strand.steps.append((arm // 2, bool(arm % 2)))
        out = arm ^ 1
        if out not in mates:
            strand.ends = (begin, out)
            return strand
        arm, joint = mates[out]
        strand.joints.append(joint)
    return _open_at_gap(strand) if None in strand.joints else strand


def _open_at_gap(ring: Strand) -> Strand:
    """A ring with a gap is no ring."""
    cut = ring.joints.index(None) + 1
    steps = ring.steps[cut:] + ring.steps[:cut]
    joints = ring.joints[cut:] + ring.joints[: cut - 1]
    (first, first_back), (last, last_back) = steps[0], steps[-1]
    return Strand(steps, joints, (2 * first + first_back, 2 * last + (not last_back)))
