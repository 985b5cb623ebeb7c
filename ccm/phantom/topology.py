"""Nerve trees of the sub-basal plexus with exact truth, grown to biomarker targets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..cohorts import REFERENCES, Cohort
from ..errors import TargetError
from ..images import FIELD_UM
from .canvas import FREE, Canvas
from .curves import STEP_UM, bezier, clip_to_frame, cut_to_length, length_of, undulation, walk
from .truth import NerveTruth, measure_truth

MAX_TRIES = 40
CNFL_TOLERANCE = 0.04
MIN_MAIN_UM = 112.0
MIN_BRANCH_UM = 30.0
MAX_BRANCH_UM = 340.0
BORDER_UM = 10.0


@dataclass(frozen=True)
class Nerve:
    """One nerve: a dense centre-line inside the frame and its width at each point.

    parent is the index of the nerve it leaves, joins that of the nerve a connection ends on.
    """

    points_um: np.ndarray  # [N,2] x, y
    width_um: np.ndarray  # [N]
    role: str  # "main", "branch" or "connection"
    parent: int | None = None
    joins: int | None = None


@dataclass(frozen=True)
class NerveTree:
    """The nerves of one frame and their biomarkers."""

    size_um: tuple[float, float]
    nerves: tuple[Nerve, ...]
    truth: NerveTruth


@dataclass(frozen=True)
class TreeTargets:
    """What a tree shall measure.

    tortuosity is the sideways undulation of the main fibres in um RMS (0 is straight but for the plexus' common
    sweep; branches undulate in proportion); orientation_deg is the common direction of the main fibres, measured
    from the x axis towards y (90 is vertical), drawn where None.
    """

    cnfl_mm_per_mm2: float
    cnfd_per_mm2: float
    cnbd_per_mm2: float
    tortuosity: float = 3.0
    orientation_deg: float | None = None


class _Misfit(Exception):
    """This attempt cannot reach its targets."""


def grow_tree(
    targets: TreeTargets, rng: np.random.Generator, size_um: tuple[float, float] = (FIELD_UM, FIELD_UM)
) -> NerveTree:
    """Grow a nerve tree: counts exact after rounding to whole nerves in the frame, CNFL within 5 %.

    Strategy: main fibres first, then connections and branches until the branch points are used up, then twigs on
    branches until the length is reached; an attempt that misses starts again. Raises TargetError when no attempt
    out of 40 hits.
    """
    area = size_um[0] * size_um[1] * 1e-6
    mains, feet = round(targets.cnfd_per_mm2 * area), round(targets.cnbd_per_mm2 * area)
    length = targets.cnfl_mm_per_mm2 * area * 1e3
    _check(mains, feet, length, targets, size_um)
    for _ in range(MAX_TRIES):
        try:
            nerves = _Grower(targets, rng, size_um).grow(mains, feet, length)
        except _Misfit:
            continue
        return NerveTree(size_um, nerves, measure_truth(nerves, size_um))
    raise TargetError(
        f"No nerve tree found with CNFL {targets.cnfl_mm_per_mm2:g} mm/mm2, CNFD {targets.cnfd_per_mm2:g} and "
        f"CNBD {targets.cnbd_per_mm2:g} per mm2 ({mains} main fibres, {feet} branch points)",
        fix="raise CNFL with CNFD and CNBD, or lower it with them; one main fibre brings about 2.5 mm/mm2",
    )


def sample_targets(cohort: Cohort, rng: np.random.Generator) -> TreeTargets:
    """Draw targets from a cohort's reference: one latent severity moves CNFL, CNFD and CNBD together.

    The draw is truncated to what grow_tree reaches in one 400 x 400 um frame.
    """
    reference = REFERENCES[cohort]
    severity = rng.standard_normal()

    def draw(value, shared: float) -> float:
        z = shared * severity + np.sqrt(1 - shared**2) * rng.standard_normal()
        return value.mean + value.sd * float(np.clip(z, -2.0, 2.0))

    area = FIELD_UM**2 * 1e-6
    cnfl = float(np.clip(draw(reference.cnfl_mm_per_mm2, 1.0), 3.0, 32.0))
    most_mains = min(8, int(cnfl * area * 1e3 / 190))
    mains = int(np.clip(round(draw(reference.cnfd_per_mm2, 0.7) * area), 1, max(1, most_mains)))
    mains = max(mains, int(np.ceil((cnfl - 12.0) / 4.0)))
    spare = cnfl * area * 1e3 - 150 * mains
    fewest = int(np.ceil(max(0.0, cnfl * area * 1e3 - 330 * mains) / 260))
    feet = int(np.clip(round(draw(reference.cnbd_per_mm2, 0.5) * area), fewest, max(fewest, int(spare / 70))))
    return TreeTargets(cnfl, mains / area, feet / area, max(0.5, draw(reference.tortuosity_um, -0.3)))


def _check(mains: int, feet: int, length: float, targets: TreeTargets, size_um: tuple[float, float]) -> None:
    shortest = mains * MIN_MAIN_UM + feet * MIN_BRANCH_UM * 0.75
    if mains < 1 or feet < 0 or length < shortest * 0.96:
        raise TargetError(
            f"CNFL {targets.cnfl_mm_per_mm2:g} mm/mm2 cannot hold {mains} main fibres and {feet} branch points in "
            f"{size_um[0]:g} x {size_um[1]:g} um",
            fix=f"use at least one main fibre and a CNFL of {shortest * 1e3 / size_um[0] / size_um[1]:.1f} or more",
        )


class _Grower:
    """One attempt at a tree."""

    def __init__(self, targets: TreeTargets, rng: np.random.Generator, size_um: tuple[float, float]) -> None:
        self.rng = rng
        self.size = size_um
        self.tortuosity = targets.tortuosity
        angle = rng.normal(90, 35) if targets.orientation_deg is None else targets.orientation_deg
        self.heading = float(np.deg2rad(angle))
        self.flow = 1.0 if rng.random() < 0.5 else -1.0
        self.canvas = Canvas(size_um)
        self.nerves: list[Nerve] = []

    def grow(self, mains: int, feet: int, length: float) -> tuple[Nerve, ...]:
        reserve = feet * self.rng.uniform(45, 85)
        self._grow_mains(mains, length - reserve)
        left = length - sum(length_of(n.points_um) for n in self.nerves)
        while feet:
            used = 0
            if feet >= 2 and mains >= 2 and self.rng.random() < 0.22:
                used = self._connect(left - (feet - 2) * MIN_BRANCH_UM)
            if not used:
                share = left / feet * (self.rng.uniform(0.5, 1.5) if feet > 1 else 1.0)
                used = self._branch(range(mains), max(share, MIN_BRANCH_UM))
            feet -= used
            left -= length_of(self.nerves[-1].points_um)
        while left > CNFL_TOLERANCE / 2 * length and left > MIN_BRANCH_UM:
            if len(self.nerves) == mains:
                raise _Misfit
            self._branch(range(mains, len(self.nerves)), max(left, MIN_BRANCH_UM))
            left -= length_of(self.nerves[-1].points_um)
        if abs(left) > CNFL_TOLERANCE * length:
            raise _Misfit
        return tuple(self.nerves)

    def _grow_mains(self, count: int, budget: float) -> None:
        paths = self._main_paths(count)
        lengths = np.array([length_of(p) for p in paths])
        keep = self._shorten(lengths, budget)
        for path, full, length in zip(paths, lengths, keep, strict=True):
            if length < full:
                path = cut_to_length(path if self.rng.random() < 0.5 else path[::-1], length)
            width = self.rng.uniform(3.0, 5.5)
            self._add(path, width, "main")

    def _shorten(self, lengths: np.ndarray, budget: float) -> np.ndarray:
        """Cut random fibres, few but deeply, until their sum is within the budget; ends fade inside the frame."""
        keep = lengths.copy()
        for index in self.rng.permutation(len(keep)):
            excess = keep.sum() - budget
            if excess <= 0:
                break
            keep[index] -= min(excess, (keep[index] - MIN_MAIN_UM) * self.rng.uniform(0.4, 1.0))
        excess = keep.sum() - budget
        room = keep - MIN_MAIN_UM
        if excess > room.sum():
            raise _Misfit
        return keep - room * max(excess, 0.0) / max(room.sum(), 1.0)

    def _main_paths(self, count: int) -> list[np.ndarray]:
        rng = self.rng
        along = np.array([np.cos(self.heading), np.sin(self.heading)])
        across = np.array([-along[1], along[0]])
        centre = np.asarray(self.size) / 2
        reach = float(np.hypot(*self.size)) / 2 + 40
        t = np.arange(-reach, reach, STEP_UM)
        extent = float(np.abs(across) @ self.size) * 0.92
        sweep = undulation(t, rng.uniform(4, 16), (300, 900), rng)
        fan = rng.uniform(-0.22, 0.22)
        paths: list[np.ndarray] = []
        for slot in rng.permutation(count):
            for _ in range(12):
                offset = ((slot + rng.uniform(0.02, 0.98)) / count - 0.5) * extent
                side = offset * (1 + fan * t / reach) + sweep
                side = (
                    side + undulation(t, self.tortuosity, (70, 260), rng) + undulation(t, 0.35, (24, 60), rng)
                )
                path = clip_to_frame(centre + t[:, None] * along + side[:, None] * across, self.size)
                if self._main_fits(path):
                    self.canvas.claim(path, len(paths))
                    paths.append(path)
                    break
            else:
                raise _Misfit
        return paths

    def _main_fits(self, path: np.ndarray) -> bool:
        if len(path) * STEP_UM < MIN_MAIN_UM + 8 or length_of(path) < MIN_MAIN_UM:
            return False
        return bool((self.canvas.owners(path) == FREE).all()) and not self._hugs_border(path)

    def _hugs_border(self, path: np.ndarray) -> bool:
        gap = np.minimum(path, np.asarray(self.size) - path).min(axis=1)
        return float((gap < BORDER_UM).sum()) * STEP_UM > 5 * BORDER_UM

    def _branch(self, parents: range, wanted: float) -> int:
        """Add the branch of some tries whose length is nearest to the one wanted; it takes one branch point."""
        best: tuple[float, int, np.ndarray] | None = None
        wanted = min(wanted, MAX_BRANCH_UM)
        for _ in range(16):
            parent = int(self.rng.choice(parents))
            path = self._reach(parent, wanted)
            if path is None:
                continue
            miss = wanted - length_of(path)
            if best is None or miss < best[0]:
                best = (miss, parent, path)
            if miss <= 0.1 * wanted:
                break
        if best is None:
            raise _Misfit
        _, parent, path = best
        thick = float(self.nerves[parent].width_um.mean())
        self._add(path, min(self.rng.uniform(1.8, 3.0), 0.8 * thick), "branch", parent)
        return 1

    def _foot(self, parent: int) -> tuple[np.ndarray, float] | None:
        """Draw a foot on a nerve, away from its ends, the border and other feet; return it and the heading."""
        points = self.nerves[parent].points_um
        if len(points) * STEP_UM < 50:
            return None
        index = int(self.rng.integers(10, len(points) - 10))
        foot, step = points[index], points[index + 3] - points[index - 3]
        gap = min(*foot, *(np.asarray(self.size) - foot))
        if gap < 2 * BORDER_UM or self.canvas.near_foot(foot[None])[0]:
            return None
        return foot, float(np.arctan2(step[1], step[0]))

    def _reach(self, parent: int, wanted: float) -> np.ndarray | None:
        """Walk from a foot on the parent until something is in the way; None if that is too short."""
        rng = self.rng
        foot = self._foot(parent)
        if foot is None:
            return None
        start, heading = foot
        if np.cos(heading - self.heading) * self.flow * (1 if rng.random() < 0.85 else -1) < 0:
            heading += np.pi
        steps = np.arange(int((wanted + 16) / STEP_UM)) * STEP_UM
        leave = np.deg2rad(rng.uniform(25, 52)) * rng.choice([-1, 1])
        settle = leave * rng.uniform(0.15, 0.9)
        bend = settle + (leave - settle) * np.exp(-steps / rng.uniform(40, 110))
        wobble = undulation(steps, 0.10 + 0.02 * self.tortuosity, (60, 200), rng)
        wobble = (wobble - wobble[0]) * np.minimum(1, steps / 30)
        path = cut_to_length(clip_to_frame(walk(start, heading + bend + wobble), self.size), wanted)
        return self._until_blocked(path, parent)

    def _until_blocked(self, path: np.ndarray, parent: int) -> np.ndarray | None:
        if len(path) < 12:
            return None
        owners = self.canvas.owners(path)
        away = np.flatnonzero(owners != parent)
        if away.size == 0 or away[0] * STEP_UM > 44:
            return None
        blocked = np.flatnonzero(owners[away[0] :] != FREE)
        if blocked.size:
            path = path[: away[0] + blocked[0]]
        if len(path) * STEP_UM < MIN_BRANCH_UM:
            return None
        gap = np.minimum(path, np.asarray(self.size) - path).min(axis=1)
        inner = np.flatnonzero(gap >= BORDER_UM)
        if inner.size and 0 < gap[-1] < BORDER_UM:
            path = path[: inner[-1] + 1]
        usable = len(path) * STEP_UM >= MIN_BRANCH_UM + 2 and not self._hugs_border(path)
        return path if usable else None

    def _connect(self, budget: float) -> int:
        """Add an H-connection between two main fibres; it takes two branch points, or none if it does not fit."""
        mains = [i for i, n in enumerate(self.nerves) if n.role == "main"]
        for _ in range(10):
            parent, other = (int(i) for i in self.rng.choice(mains, 2, replace=False))
            path = self._bridge(parent, other)
            if path is not None and 2 * MIN_BRANCH_UM < length_of(path) < budget:
                self._add(path, self.rng.uniform(1.8, 2.8), "connection", parent, other)
                self.canvas.claim_foot(path[-1])
                return 2
        return 0

    def _bridge(self, parent: int, other: int) -> np.ndarray | None:
        """Lay a curve from one nerve obliquely to another; None where it would touch something else."""
        start, end = self._foot(parent), self._foot(other)
        if start is None or end is None:
            return None
        gap = end[0] - start[0]
        distance = float(np.hypot(*gap))
        slant = abs(np.sin(np.arctan2(gap[1], gap[0]) - start[1]))
        if not (40 < distance < 230 and 0.4 < slant < 0.97):
            return None
        sense = np.sign(gap @ [np.cos(start[1]), np.sin(start[1])])
        lean = sense * distance / 3
        ends = [p + k * lean * np.array([np.cos(a), np.sin(a)]) for (p, a), k in ((start, 0.6), (end, -0.6))]
        path = bezier(np.stack([start[0], ends[0], ends[1], end[0]]), int(distance / STEP_UM) + 2)
        if path.min() < BORDER_UM or (np.asarray(self.size) - path).min() < BORDER_UM:
            return None
        owners = self.canvas.owners(path)
        own, far = np.flatnonzero(owners != parent), np.flatnonzero(owners != other)
        between = owners[own[0] : far[-1] + 1] if own.size and far.size else owners
        return path if own[0] < far[-1] and (between == FREE).all() else None

    def _add(
        self, path: np.ndarray, width: float, role: str, parent: int | None = None, joins: int | None = None
    ) -> None:
        arcs = np.arange(len(path)) * STEP_UM
        widths = width * (1 + np.clip(undulation(arcs, 0.08, (60, 240), self.rng), -0.25, 0.25))
        self.canvas.claim(path, len(self.nerves))
        if parent is not None:
            self.canvas.claim_foot(path[0])
        self.nerves.append(Nerve(path, widths, role, parent, joins))
