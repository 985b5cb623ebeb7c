"""Which pixel paths are one nerve: spurs are pruned, and paths are strung together as their arms were paired.

All lengths are in pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np

from .pairing import SHARPEST_TURN, Joint, Link, Mates
from .skeleton import PixelPaths

HAIRPIN_PX = 8
SPUR_PX = 2.5  # outline noise reaches this far, and half a half-width, beyond the outline


@dataclass
class Strand:
    """Paths that make up one nerve, in order, and what joins them.

    joints[i] joins steps[i] to the next step; None is a gap. ends: the arms at both ends, None for a ring.
    """

    steps: list[Link] = field(default_factory=list)
    joints: list[Joint | None] = field(default_factory=list)
    ends: tuple[int, int] | None = None


def prune_spurs(paths: PixelPaths, radius: np.ndarray, junction_radius: np.ndarray) -> PixelPaths:
    """Drop the offshoots that hardly reach beyond their parent's outline: they are noise of the outline.

    radius [N] and junction_radius [J]: distance to the outline in pixels. A junction that keeps a single arm becomes
    a free end, and then the next round looks at it again.
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
        points=paths.points.take(np.flatnonzero(np.repeat(alive, lengths)), axis=0),
        offsets=np.append(0, np.cumsum(lengths[alive])),
        ends=paths.ends[alive],
        closed=paths.closed[alive],
        junctions=paths.junctions,
    )


def split_hairpins(paths: PixelPaths) -> PixelPaths:
    """Cut paths where they turn back sharply: two nerves meet there, as at the edge of a frame, and none bends so.

    The turn is that between the chords of 8 pixels to either side.
    """
    reach = HAIRPIN_PX
    x, y = (paths.points[reach:] - paths.points[:-reach]).T
    length = np.sqrt(x * x + y * y)
    turned = x[reach:] * x[:-reach] + y[reach:] * y[:-reach]
    sharp = turned < math.cos(SHARPEST_TURN) * length[reach:] * length[:-reach]
    index = np.flatnonzero(sharp) + reach
    path = np.repeat(np.arange(len(paths.ends)), np.diff(paths.offsets))
    of = path[index]
    inner = (index - paths.offsets[of] >= reach) & (paths.offsets[of + 1] - index > reach)
    index = index[inner & ~paths.closed[of]]
    runs = np.split(index, np.flatnonzero(np.diff(index) > reach) + 1)
    cuts = np.array([run[len(run) // 2] for run in runs if len(run)], dtype=int)
    if len(cuts) == 0:
        return paths
    first = np.insert(paths.ends[:, 0], path[cuts] + 1, -1)
    last = np.insert(paths.ends[:, 1], path[cuts], -1)
    return PixelPaths(
        points=paths.points,
        offsets=np.sort(np.append(paths.offsets, cuts)),
        ends=np.stack([first, last], axis=1),
        closed=np.insert(paths.closed, path[cuts], False),
        junctions=paths.junctions,
    )


def string_together(closed: np.ndarray, through: Mates, gaps: dict[int, int]) -> list[Strand]:
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


def passing(strands: list[Strand]) -> dict[int, list[int]]:
    """The numbers of the strands that run through each junction."""
    found: dict[int, list[int]] = {}
    for number, strand in enumerate(strands):
        for joint in strand.joints:
            for junction in joint.junctions if joint else ():
                found.setdefault(junction, []).append(number)
    return found
