"""Which arms go on as which at junctions: nerves that run through, crossings, and loops."""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass

import numpy as np

from .arms import Arms, turn_costs
from .skeleton import PixelPaths, groups

LINK_FACTOR = 3.5  # at 15 degrees, crossing nerves share a link of 3.4 times their junctions' half-widths,
LINK_PX = 6.0  # and the pixel grid adds to it
DETOUR = 1.2  # a nerve does not take a way through a group that is so much longer than the straight one
TANGLE = 16  # a group of more arms is no place where nerves cross
CROSSING_TURN = math.radians(35.0)  # a nerve turns less than this where it crosses another
SHARPEST_TURN = math.radians(110.0)  # and never more than this at a junction
STUB_TURN = math.radians(120.0)  # a stub that soon ends continues a nerve only where nothing else does:
STUB_UM = 12.0  # it counts as so much turn, less a factor of e for every 12 um of its length

Link = tuple[int, bool]  # a path, and whether it is run backwards


@dataclass(frozen=True, order=True)
class Joint:
    """The way through a group of junctions: the junctions visited and, between them, the links."""

    junctions: tuple[int, ...]
    links: tuple[Link, ...] = ()

    def reverse(self) -> Joint:
        """The same way, walked from its other end."""
        return Joint(self.junctions[::-1], tuple((path, not back) for path, back in self.links[::-1]))


Mates = dict[int, tuple[int, Joint]]


def pair_arms(paths: PixelPaths, arms: Arms, junction_radius: np.ndarray) -> Mates:
    """Which arm goes on as which other arm, and through what: {arm: (other arm, joint)}.

    junction_radius: [junctions], half the width in pixels of the mask at each junction.

    Strategy: junctions with a short link between them are one group. In a group, the straightest pair of arms of
    about the same width is a nerve that runs through; further pairs are crossing nerves if they are straight
    enough; every other arm is an offshoot. A junction that no nerve runs through yet, as where an offshoot forks
    at once, is then paired on its own, with the links that are left over. So is every junction of a tangle.
    """
    links = _short_links(paths, junction_radius)
    group = groups(len(paths.junctions), *paths.ends[links].T)
    outer = arms.junction >= 0
    outer[2 * links] = outer[2 * links + 1] = False
    routes = _Routes(paths, links)
    mates: Mates = {}
    gathered = _by_key(group[arms.junction[outer]], np.flatnonzero(outer))
    _pair([members for members in gathered if len(members) <= TANGLE], arms, routes, mates)
    _pair(_by_key(*_left_over(arms, mates)), arms, routes, mates)
    _mend_loops(paths, mates, arms)
    return mates


def _pair(groups: list[list[int]], arms: Arms, routes: _Routes, mates: Mates) -> None:
    """Pair the best two arms of each group, and all further ones that are straight enough for a crossing."""
    pairs = [
        (number, a, b)
        for number, members in enumerate(groups)
        for i, a in enumerate(members)
        for b in members[i + 1 :]
        if a // 2 != b // 2 or len(members) == 2
    ]
    if not pairs:
        return
    number, a, b = np.array(pairs).T
    cost = turn_costs(arms, a, b)
    reluctance = STUB_TURN * np.exp(-arms.stub_um / STUB_UM)
    best_first = np.argsort(cost + reluctance[a] + reluctance[b], kind="stable")
    cost[a // 2 == b // 2] = 0.0  # nothing but a loop
    limits = [SHARPEST_TURN] * len(groups)
    costs = cost.tolist()
    for place in best_first.tolist():
        group, one, other = pairs[place]
        if costs[place] < limits[group] and one not in mates and other not in mates:
            joint = routes.find(int(arms.junction[one]), int(arms.junction[other]))
            if joint is not None:
                mates[one], mates[other] = (other, joint), (one, joint.reverse())
                limits[group] = CROSSING_TURN


def _left_over(arms: Arms, mates: Mates) -> tuple[np.ndarray, np.ndarray]:
    """Junctions that no nerve runs through, and their arms, one by one."""
    joints = [joint for _, joint in mates.values()]
    visited = {junction for joint in joints for junction in joint.junctions}
    taken = {path for joint in joints for path, _ in joint.links}
    rest = [
        arm
        for arm, junction in enumerate(arms.junction.tolist())
        if junction >= 0 and junction not in visited and arm // 2 not in taken
    ]
    return arms.junction[rest], np.array(rest, dtype=int)


def _by_key(keys: np.ndarray, values: np.ndarray) -> list[list[int]]:
    """The values of each key, as lists."""
    found: dict[int, list[int]] = {}
    for key, value in zip(keys.tolist(), values.tolist(), strict=True):
        found.setdefault(key, []).append(value)
    return list(found.values())


def _short_links(paths: PixelPaths, junction_radius: np.ndarray) -> np.ndarray:
    """Paths between two junctions that are short enough to be the shared body of two crossing nerves."""
    between = np.flatnonzero((paths.ends >= 0).all(axis=1) & (paths.ends[:, 0] != paths.ends[:, 1]))
    limit = LINK_FACTOR * junction_radius[paths.ends[between]].sum(axis=1) + LINK_PX
    return between[np.diff(paths.offsets)[between] <= limit]


class _Routes:
    """Ways through groups of junctions."""

    def __init__(self, paths: PixelPaths, links: np.ndarray) -> None:
        self._centres = paths.junctions.tolist()
        self._from: dict[int, list[tuple[int, int, Link]]] = {}
        lengths = np.diff(paths.offsets)[links].tolist()
        for path, length, (a, b) in zip(links.tolist(), lengths, paths.ends[links].tolist(), strict=True):
            self._from.setdefault(a, []).append((length, b, (path, False)))
            self._from.setdefault(b, []).append((length, a, (path, True)))

    def find(self, start: int, goal: int) -> Joint | None:
        """The shortest way over links from junction to junction (Dijkstra 1959); None if it is a detour."""
        if start == goal:
            return Joint((start,))
        limit = DETOUR * math.dist(self._centres[start], self._centres[goal]) + LINK_PX
        queue: list[tuple[float, int, Joint]] = [(0.0, start, Joint((start,)))]
        seen: set[int] = set()
        while queue:
            length, here, joint = heapq.heappop(queue)
            if here == goal:
                return joint
            if here in seen:
                continue
            seen.add(here)
            for step, there, link in self._from.get(here, ()):
                if length + step <= limit:
                    way = Joint((*joint.junctions, there), (*joint.links, link))
                    heapq.heappush(queue, (length + step, there, way))
        return None


def _mend_loops(paths: PixelPaths, mates: Mates, arms: Arms) -> None:
    """Lead a nerve through one side of each loop.

    Where two paths join the same two junctions, a nerve may go on along one of them at the first junction and come
    from the other at the second. The side that costs less turn then takes both.
    """
    between: dict[tuple[int, int], list[int]] = {}
    for path, (a, b) in enumerate(paths.ends.tolist()):
        if min(a, b) >= 0 and a != b:
            between.setdefault((min(a, b), max(a, b)), []).append(2 * path + (a > b))
    for sides in between.values():
        for p in sides:
            for q in sides:
                if p in mates and q ^ 1 in mates and q not in mates and p ^ 1 not in mates:
                    _take_one_side(p, q, mates, arms)


def _take_one_side(p: int, q: int, mates: Mates, arms: Arms) -> None:
    """Arms p and q leave one junction and meet again; a nerve goes on at p here, and at q ^ 1 there: mend that."""
    before, after = mates[p][0], mates[q ^ 1][0]
    cost = turn_costs(arms, np.array([p ^ 1, q ^ 1, q, p]), np.array([after, after, before, before]))
    old, new = (q ^ 1, p ^ 1) if cost[0] - cost[1] <= cost[2] - cost[3] else (p, q)
    other, joint = mates.pop(old)
    mates[new], mates[other] = (other, joint), (new, joint.reverse())
