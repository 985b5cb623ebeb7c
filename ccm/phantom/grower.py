"""One attempt to grow a nerve tree: main fibres, branches, connections and crossings."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .canvas import CLEAR_UM, FREE, OUTSIDE, Canvas, gap_to
from .curves import STEP_UM, clip_to_frame, cut_to_length, headings_of, length_of, walk, wander
from .tree import Nerve, TreeTargets

CNFL_TOLERANCE = 0.04
MIN_MAIN_UM = 112.0
MIN_BRANCH_UM = 30.0
MAX_BRANCH_UM = 340.0
BORDER_UM = 10.0
PROPOSALS = 8
SLOTS = 4
ROUNDS = 3  # of proposals for one branch
END_STEPS = 14  # feet keep this many points from the ends of a nerve
BEND_STEPS = 5
TIP_CLEAR_UM = 32.0  # between the ends of two nerves, which would else pass for one nerve with a gap
LEAVE_STEPS = 23  # a branch is out of its parent's zone after this many points
FREE_STEPS = 7  # and then has this many to itself
BEND_DEG = 12.0  # a nerve bends less between BEND_STEPS points before and after a foot
CROSSING_DEG = 35.0
CROSSING_COSINE = 0.95  # nerves bend by less than 18 degrees where they cross
CROSSING_CLEAR_UM = 42.0  # from feet and other crossings
JOIN_SHARE = 0.6
JOIN_UM = 150.0  # where longer branches are wanted, fewer end on a neighbour
CROSSING_SHARE = 0.12
DEVIANT_SHARE = 0.15


class Misfit(Exception):
    """This attempt cannot reach its targets."""


class _Way(NamedTuple):
    """A walk from a foot on its parent, the zones that it crosses, and its first free run."""

    parent: int
    path: np.ndarray  # [N+1,2] um
    owners: np.ndarray  # [N+1]
    start: int
    stop: int


class Grower:
    """One attempt at a tree. Every nerve keeps clear of all others but where it leaves, joins or crosses."""

    def __init__(self, targets: TreeTargets, rng: np.random.Generator, size_um: tuple[float, float]) -> None:
        self.rng = rng
        self.size = size_um
        self.tortuosity = targets.tortuosity
        angle = rng.normal(90, 40) if targets.orientation_deg is None else targets.orientation_deg
        self.heading = float(np.deg2rad(angle))
        self.flow = self.heading + (0.0 if rng.random() < 0.5 else np.pi)
        self.canvas = Canvas(size_um)
        self.lines: list[np.ndarray] = []
        self.headings: list[np.ndarray] = []
        self.straight: list[np.ndarray] = []
        self.nerves: list[Nerve] = []
        self.mains = 0

    def grow(self, mains: int, feet: int, length: float) -> tuple[Nerve, ...]:
        """Return nerves with that many main fibres, branch points on them, and length; or raise Misfit."""
        self._grow_mains(mains, length - feet * self.rng.uniform(40, 75))
        left = length - sum(length_of(n.points_um) for n in self.nerves)
        while feet:
            share = left / feet * (self.rng.uniform(0.5, 1.5) if feet > 1 else 1.0)
            feet -= self._branch(range(mains), share, feet, left - (feet - 1) * MIN_BRANCH_UM)
            left -= length_of(self.nerves[-1].points_um)
        while left > max(CNFL_TOLERANCE / 2 * length, 1.2 * MIN_BRANCH_UM):
            self._branch(range(mains, len(self.nerves)), left, 0, left)
            left -= length_of(self.nerves[-1].points_um)
        if abs(left) > CNFL_TOLERANCE * length:
            raise Misfit
        return tuple(self.nerves)

    # main fibres

    def _grow_mains(self, count: int, budget: float) -> None:
        rng = self.rng
        deviant = rng.choice([-1, 1]) * rng.uniform(35, 60) if rng.random() < DEVIANT_SHARE else 0.0
        bow, fan = rng.normal(0, 24), rng.uniform(-0.3, 0.3)
        for order, slot in enumerate(rng.permutation(count)):
            turn = np.deg2rad(deviant) if 0 < order == count - 1 else 0.0
            path = self._main_path(slot, count, turn, bow, fan)
            self.canvas.claim(path, order)
            self._note(path)
        paths, self.mains = self.lines, count
        self.lines, self.headings, self.straight = [], [], []
        self.canvas.clear_zones()
        for path, length in zip(paths, self._shares(paths, budget), strict=True):
            if length < length_of(path):
                path = cut_to_length(path if rng.random() < 0.5 else path[::-1], length)
                if self.canvas.near_foot(path[-1]):
                    raise Misfit
            self._add(path, float(np.clip(rng.lognormal(1.15, 0.25), 2.2, 5.0)), "main")

    def _main_path(self, slot: int, count: int, turn: float, bow: float, fan: float) -> np.ndarray:
        """Lay a fibre across the frame, in one of `count` slots side by side."""
        for _ in range(ROUNDS):
            places = (slot + self.rng.random(SLOTS)) / count - 0.5
            paths = self._across(places, turn, bow, fan)
            for path, owners in zip(paths, self.canvas.owners(paths), strict=True):
                if turn == 0.0 and (owners >= 0).any():
                    continue
                path = clip_to_frame(path, self.size)
                if len(path) < 2 or length_of(path) < MIN_MAIN_UM or self._hugs_border(path):
                    continue
                if turn == 0.0 or self._cross(path):
                    return path
        raise Misfit

    def _across(self, places: np.ndarray, turn: float, bow: float, fan: float) -> np.ndarray:
        """Return fibres [K,N,2] through the whole frame at places [K] across it, from -0.5 to 0.5."""
        reach = float(np.hypot(*self.size)) / 2 + 30
        t = np.arange(-reach, reach, STEP_UM)
        along = np.array([np.cos(self.heading + turn), np.sin(self.heading + turn)])
        across = np.array([-along[1], along[0]])
        offset = places[:, None] * float(np.abs(across) @ self.size) * 0.94
        side = offset * (1 + fan * t / reach) + bow * (t / reach) ** 2
        side = side + wander(len(places), len(t), self.tortuosity, self.rng.uniform(60, 120), self.rng)
        return np.asarray(self.size) / 2 + t[:, None] * along + side[..., None] * across

    def _shares(self, paths: list[np.ndarray], budget: float) -> np.ndarray:
        """Return the lengths to keep: random fibres are cut, few but deeply, to meet the budget."""
        keep = np.array([length_of(p) for p in paths])
        for index in self.rng.permutation(len(keep)):
            excess = max(keep.sum() - budget, 0.0)
            keep[index] -= min(excess, (keep[index] - MIN_MAIN_UM) * self.rng.uniform(0.4, 1.0))
        excess, room = keep.sum() - budget, keep - MIN_MAIN_UM
        if excess > room.sum():
            raise Misfit
        return keep - room * max(excess, 0.0) / max(room.sum(), 1.0)

    # branches and connections

    def _branch(self, parents: range, wanted: float, feet: int, budget: float) -> int:
        """Add a branch of about the wanted length, or a connection no longer than the budget.

        feet is the number of branch points on main fibres still to be made; returns those used.
        """
        wanted = min(max(wanted, 1.2 * MIN_BRANCH_UM), MAX_BRANCH_UM)
        for _ in range(ROUNDS):
            proposals = self._propose(parents, 1.2 * wanted + CLEAR_UM)
            if self.rng.random() < (JOIN_SHARE if feet and wanted < JOIN_UM else JOIN_SHARE / 4):
                for way in proposals:
                    used = self._join(way, feet, budget)
                    if used is not None:
                        return used
            if self._end_freely(proposals, wanted):
                return int(self.nerves[-1].parent in range(self.mains))
        raise Misfit

    def _end_freely(self, proposals: list[_Way], wanted: float) -> bool:
        """Add the first of the walks that goes as far as wanted, else the one that goes furthest."""
        over = self.rng.random() < CROSSING_SHARE
        enough = [way for way in proposals if way.stop * STEP_UM >= wanted or over]
        for way in enough + sorted(proposals, key=lambda way: -way.stop):
            path = self._free_part(way, wanted, over)
            if path is not None:
                self._add(path, self._thin(way.parent), "branch", way.parent)
                return True
        return False

    def _propose(self, parents: range, reach: float) -> list[_Way]:
        """Return walks from feet on the parents, obliquely and onwards; off main fibres with the flow."""
        rng = self.rng
        parent, points, heading = self._footholds(parents)
        count = len(parent)
        if not count:
            return []
        with_flow = np.where(rng.random(count) < 0.85, 1.0, -1.0)
        against = (np.cos(heading - self.flow) * with_flow < 0) & (parent < self.mains)
        heading = np.where(against, heading + np.pi, heading)
        distance = np.arange(int(reach / STEP_UM)) * STEP_UM
        leave = np.deg2rad(rng.uniform(30, 54, (count, 1))) * rng.choice([-1, 1], (count, 1))
        settle = leave * rng.uniform(0.1, 0.95, (count, 1))
        fade = np.exp(-np.maximum(distance - 16, 0) / rng.uniform(40, 110, (count, 1)))
        bend = settle + (leave - settle) * fade
        noise = wander(count, len(distance), 0.14 + 0.02 * self.tortuosity, rng.uniform(35, 70), rng)
        noise = (noise - noise[:, :1]) * np.minimum(1, distance / 60)
        return self._ways(parent, walk(points, heading[:, None] + bend + noise))

    def _ways(self, parents: np.ndarray, paths: np.ndarray) -> list[_Way]:
        """Find where each walk has left its parent's zone and where it meets another or the border.

        Walks that hug their parent, pass another foot on the way out, or are blocked at once, are dropped.
        """
        owners = self.canvas.owners(paths)
        away = owners != parents[:, None]
        starts = away.argmax(axis=1)
        blocked = (owners != FREE) & (np.arange(owners.shape[1]) >= starts[:, None])
        stops = np.where(blocked.any(axis=1), blocked.argmax(axis=1), owners.shape[1])
        first = np.arange(LEAVE_STEPS)
        on_foot = (self.canvas.near_foot(paths[:, :LEAVE_STEPS]) & (first < starts[:, None])).any(axis=1)
        good = away.any(axis=1) & (starts < LEAVE_STEPS) & (stops > starts + FREE_STEPS) & ~on_foot
        rows = zip(parents.tolist(), paths, owners, starts.tolist(), stops.tolist(), strict=True)
        return [_Way(*row) for row, fits in zip(rows, good, strict=True) if fits]

    def _footholds(self, parents: range) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Draw up to PROPOSALS places on the parents where a foot may stand: nerve, point and heading."""
        if not any(self.straight[n].any() for n in parents):
            raise Misfit
        index = np.repeat(parents, [len(self.lines[n]) for n in parents])
        standing = np.flatnonzero(np.concatenate([self.straight[n] for n in parents]))
        pick = standing[self.rng.integers(0, len(standing), 4 * PROPOSALS)]
        points = np.concatenate([self.lines[n] for n in parents])[pick]
        clear = np.flatnonzero(self._clear(points))[:PROPOSALS]
        headings = np.concatenate([self.headings[n] for n in parents])[pick]
        return index[pick][clear], points[clear], headings[clear]

    def _clear(self, points: np.ndarray) -> np.ndarray:
        """Return whether points [N,2] keep off the border and other feet."""
        return (self.canvas.border_gap(points) > 2.8 * BORDER_UM) & ~self.canvas.near_foot(points)

    def _free_part(self, way: _Way, wanted: float, over: bool) -> np.ndarray | None:
        """Return the walk until something is in the way, cut to length; None if that is too short."""
        stop = self._beyond(way) if over else way.stop
        leaves = stop < len(way.owners) and way.owners[stop] == OUTSIDE
        path = clip_to_frame(way.path[: stop + leaves], self.size)
        path = cut_to_length(path, wanted)
        gap = self.canvas.border_gap(path)
        inner = np.flatnonzero(gap >= BORDER_UM)
        if inner.size and 0 < gap[-1] < BORDER_UM:
            path = path[: inner[-1] + 1]
        if length_of(path) < MIN_BRANCH_UM or self._hugs_border(path):
            return None
        faces_tip = gap[-1] > 0 and gap_to(self.canvas.tips, path[-1]) < TIP_CLEAR_UM
        return None if faces_tip or (over and self.canvas.near_foot(path[-1])) else path

    def _join(self, way: _Way, feet: int, budget: float) -> int | None:
        """End a walk on the nerve in its way, if angle, feet and budget allow; return the feet used."""
        other = int(way.owners[way.stop]) if way.stop < len(way.owners) else OUTSIDE
        used = int(way.parent < self.mains) + int(other < self.mains)
        if other < 0 or other == way.parent or used > feet or way.stop * STEP_UM > budget:
            return None
        path = self._landing(way.path[: way.stop], other)
        if path is None or not 2 * MIN_BRANCH_UM < length_of(path) <= budget:
            return None
        self._add(path, self._thin(way.parent), "connection", way.parent, other)
        self.canvas.claim_foot(path[-1])
        return used

    def _landing(self, path: np.ndarray, other: int) -> np.ndarray | None:
        """Lead a walk straight on to the point of the other nerve that lies best ahead."""
        target = self.lines[other]
        ahead = target - path[-1]
        distance = np.hypot(*ahead.T)
        bearing = np.arctan2(ahead[:, 1], ahead[:, 0])
        off = np.abs(np.angle(np.exp(1j * (bearing - headings_of(path[-5:])[2]))))
        slant = np.abs(np.sin(bearing - self.headings[other]))
        good = self.straight[other] & self._clear(target) & (distance < 3 * CLEAR_UM) & (slant > 0.5)
        best = int(np.argmin(np.where(good, off, np.inf)))
        if not good[best] or off[best] > np.deg2rad(25):
            return None
        count = int(np.ceil(distance[best] / STEP_UM))
        steps = np.arange(1, count + 1)[:, None] / count
        last = path[-1] + steps * ahead[best]
        clear = np.isin(self.canvas.owners(last), (FREE, other)) & ~self.canvas.near_foot(last)
        return np.vstack([path, last]) if clear.all() else None

    # crossings

    def _beyond(self, way: _Way) -> int:
        """Return where a walk stops when it may cross the first nerve in its way, if it does so cleanly."""
        too_near = (way.stop * STEP_UM + CLEAR_UM) < CROSSING_CLEAR_UM
        if too_near or way.stop >= len(way.owners) or way.owners[way.stop] < 0:
            return way.stop
        other = way.owners[way.stop :] != way.owners[way.stop]
        end = way.stop + int(other.argmax())
        if way.owners[end] != FREE or not self._cross(way.path[way.start : end]):
            return way.stop
        blocked = way.owners[end:] != FREE
        return end + (int(blocked.argmax()) if blocked.any() else len(blocked))

    def _cross(self, path: np.ndarray) -> bool:
        """Return whether a path meets other nerves only in clean crossings, and mark those."""
        owners = self.canvas.owners(path)
        edges = np.flatnonzero(np.diff(owners, prepend=FREE, append=FREE))
        spots = []
        for begin, end in zip(edges[:-1], edges[1:], strict=True):
            if owners[begin] < 0:
                continue
            spot = self._crossing(path[begin:end], int(owners[begin]))
            if spot is None:
                return False
            spots.append(spot)
        if any(np.hypot(*(a - b)) < CROSSING_CLEAR_UM for i, a in enumerate(spots) for b in spots[:i]):
            return False
        for spot in spots:
            self.canvas.claim_foot(spot)
        return True

    def _crossing(self, run: np.ndarray, other: int) -> np.ndarray | None:
        """Return where a run through another nerve's zone crosses it, None unless steeply and in the open."""
        points = self.lines[other]
        if len(run) * STEP_UM > 2 * CLEAR_UM / np.sin(np.deg2rad(CROSSING_DEG)) + 6:
            return None
        gaps = np.hypot(*np.moveaxis(run[:, None] - points[None], 2, 0))
        at, on = np.unravel_index(int(gaps.argmin()), gaps.shape)
        headings = headings_of(run)
        angle = abs(np.sin(headings[at] - self.headings[other][on]))
        bends = not self.straight[other][on] or np.cos(headings[-1] - headings[0]) < CROSSING_COSINE
        if gaps[at, on] > STEP_UM or angle < np.sin(np.deg2rad(CROSSING_DEG)) or bends:
            return None
        spot = run[at]
        clear = (
            self.canvas.border_gap(spot) > 3 * BORDER_UM
            and gap_to(self.canvas.feet, spot) > CROSSING_CLEAR_UM
        )
        return spot if clear else None

    # shared

    def _note(self, path: np.ndarray) -> None:
        """Keep a nerve's line, its headings, and where it is straight enough to be told from its branches."""
        headings = headings_of(path, BEND_STEPS)
        straight = np.zeros(len(path), bool)
        if len(path) > 2 * END_STEPS:
            bend = headings[2 * BEND_STEPS :] - headings[: -2 * BEND_STEPS]
            straight[BEND_STEPS:-BEND_STEPS] = np.cos(bend) > np.cos(np.deg2rad(BEND_DEG))
            straight[:END_STEPS] = straight[-END_STEPS:] = False
        self.lines.append(path)
        self.headings.append(headings)
        self.straight.append(straight)

    def _hugs_border(self, path: np.ndarray) -> bool:
        return float((self.canvas.border_gap(path) < BORDER_UM).sum()) * STEP_UM > 5 * BORDER_UM

    def _thin(self, parent: int) -> float:
        """Draw the width of a branch: 1.8 to 3 um, and thinner than its parent."""
        most = 0.8 * float(self.nerves[parent].width_um.mean())
        return max(1.5, min(float(self.rng.uniform(1.5, 2.7)), most))

    def _add(
        self, path: np.ndarray, width: float, role: str, parent: int | None = None, joins: int | None = None
    ) -> None:
        knots = 1 + 0.2 * self.rng.uniform(-1, 1, 2 + len(path) // 40)
        relief = np.interp(np.linspace(0, len(knots) - 1, len(path)), np.arange(len(knots)), knots)
        self.canvas.claim(path, len(self.nerves))
        self._note(path)
        if parent is not None:
            self.canvas.claim_foot(path[0])
        free = [path[-1]] if role == "branch" else [path[0], path[-1]] if role == "main" else []
        self.canvas.tips += [tip for tip in free if self.canvas.border_gap(tip) > 0]
        self.nerves.append(Nerve(path, width * relief, role, parent, joins))
