"""What a nerve tree is, and what it shall measure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .truth import NerveTruth


@dataclass(frozen=True)
class Nerve:
    """One nerve: a dense centre-line (steps of at most 2 um) inside the frame, and its width.

    parent is the index of the nerve it leaves, on whose centre-line it starts; joins is the index of the
    nerve that a connection ends on.
    """

    points_um: np.ndarray  # [N,2] x, y
    width_um: np.ndarray  # [N]
    role: str  # "main", "branch" or "connection"
    parent: int | None = None
    joins: int | None = None


@dataclass(frozen=True)
class NerveTree:
    """The nerves of one frame of size_um (width, height), and their exact biomarkers."""

    size_um: tuple[float, float]
    nerves: tuple[Nerve, ...]
    truth: NerveTruth


@dataclass(frozen=True)
class TreeTargets:
    """What a tree shall measure.

    tortuosity is the sideways wander of the main fibres about the plexus' common sweep, um RMS (0 follows
    the sweep, 3 is healthy, 8 is strongly tortuous); branches wander in proportion. orientation_deg is the
    common direction of the main fibres from the x axis towards y (90 is vertical), drawn where None.
    """

    cnfl_mm_per_mm2: float
    cnfd_per_mm2: float
    cnbd_per_mm2: float
    tortuosity: float = 3.0
    orientation_deg: float | None = None
