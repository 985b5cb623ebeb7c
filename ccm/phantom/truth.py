"""The exact biomarkers of a nerve tree, from its geometry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..morphometry.biomarkers import arc_over_chord, tortuosity_coefficient
from ..morphometry.graph import Nerve as MeasuredNerve
from ..morphometry.graph import Role
from .curves import arc_lengths, length_of

if TYPE_CHECKING:
    from .tree import Nerve

MIN_MAIN_UM = 100.0


@dataclass(frozen=True)
class NerveTruth:
    """The biomarkers of a tree; each is exact for the polylines of its nerves."""

    cnfl_mm_per_mm2: float
    cnfd_per_mm2: float
    cnbd_per_mm2: float
    ctbd_per_mm2: float
    cnfa: float
    cnfw_um: float
    tortuosity_tc: float
    tortuosity_arc_chord: float
    main_fibres: int
    branch_points: int
    length_um: float
    frame_area_mm2: float


def measure_truth(nerves: Sequence[Nerve], size_um: tuple[float, float]) -> NerveTruth:
    """Measure the biomarkers of nerves inside a frame of size_um (width, height).

    Lengths are those of the centre-lines. A branch starts on its parent's centre-line, and the part inside
    the parent's body counts, as it does in a skeleton. A main fibre leaves no other and is at least 100 um
    long. A branch has one branch point, on its parent, a connection a second one on the nerve it joins, and
    only those on main fibres count; a crossing has none. CTBD counts branches and connections alike. Overlap
    of bodies at feet and crossings is not taken off CNFA. Tortuosity is the mean over main fibres.
    """
    area = size_um[0] * size_um[1] * 1e-6
    lengths = np.array([length_of(n.points_um) for n in nerves])
    widths = np.array([_mean_width(n) for n in nerves])
    total = float(lengths.sum())
    is_main = [n.role == "main" and length >= MIN_MAIN_UM for n, length in zip(nerves, lengths, strict=True)]
    rows = zip(nerves, lengths, is_main, strict=True)
    mains = [_as_measured(n, float(length)) for n, length, main in rows if main]
    feet = [foot for n in nerves for foot in (n.parent, n.joins) if foot is not None]
    points = sum(is_main[foot] for foot in feet)
    branches = sum(n.role != "main" for n in nerves)
    return NerveTruth(
        cnfl_mm_per_mm2=total * 1e-3 / area,
        cnfd_per_mm2=len(mains) / area,
        cnbd_per_mm2=points / area,
        ctbd_per_mm2=branches / area,
        cnfa=float((lengths * widths).sum()) * 1e-6 / area,
        cnfw_um=float((lengths * widths).sum() / total) if total else 0.0,
        tortuosity_tc=float(np.mean([tortuosity_coefficient(n) for n in mains])) if mains else 0.0,
        tortuosity_arc_chord=float(np.mean([arc_over_chord(n) for n in mains])) if mains else 1.0,
        main_fibres=len(mains),
        branch_points=int(points),
        length_um=total,
        frame_area_mm2=area,
    )


def _as_measured(nerve: Nerve, length_um: float) -> MeasuredNerve:
    """Present a nerve of a tree as a measured one, so that tortuosity has one definition."""
    return MeasuredNerve(Role.MAIN, (nerve.points_um,), (nerve.width_um,), length_um, False, (-1, -1))


def _mean_width(nerve: Nerve) -> float:
    steps = np.diff(arc_lengths(nerve.points_um))
    return float((nerve.width_um[1:] + nerve.width_um[:-1]) @ steps / (2 * steps.sum()))
