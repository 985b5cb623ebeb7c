"""The two sets of frames that a report compares, and what they are before any network looks at them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ..cohorts import Cohort
from ..errors import DataError, ImageError
from ..fidelity.compare import RANGE_SLACK
from ..fidelity.features import BATCH, Frames

UNKNOWN = "unknown"
MOST_NAMED = 5


@dataclass(frozen=True)
class Label:
    """What is known of one frame."""

    frame: str
    cohort: Cohort | None
    patient: str | None


@dataclass(frozen=True)
class Measurements:
    """The biomarkers of each frame by field (those that exist), the tool, and how many frames it has doubts about."""

    values: tuple[dict[str, float], ...]
    tool: str
    doubtful: int | None = None  # None where nobody looked


@dataclass(frozen=True, eq=False)
class EvaluationSet:
    """One side of the comparison: `name` is "real" or "generated", `source` says where the frames come from.

    `measured` is None for training frames, whose biomarkers nobody asks for.
    """

    name: str
    source: str
    frames: Frames
    labels: tuple[Label, ...]
    measured: Measurements | None = None

    @property
    def patients_known(self) -> bool:
        """Whether every frame says whose it is."""
        return all(label.patient for label in self.labels)

    @property
    def subjects(self) -> tuple[str, ...] | None:
        """The patient of each frame, None unless every frame has one."""
        return tuple(str(label.patient) for label in self.labels) if self.patients_known else None


@dataclass(frozen=True)
class CohortCount:
    """Frames and patients of one cohort; patients are None where they are unknown."""

    cohort: str
    frames: int
    patients: int | None


@dataclass(frozen=True)
class SetSummary:
    """What a set holds; `distinct` counts frames that repeat no earlier one."""

    source: str
    frames: int
    patients: int | None
    height_px: int
    width_px: int
    distinct: int
    cohorts: tuple[CohortCount, ...]
    tool: str
    doubtful: int | None


def fingerprints(one: EvaluationSet, on_frame: Callable[[int], None] = lambda frames: None) -> list[str]:
    """A fingerprint of each frame; equal ones are equal once saved as 8-bit PNG.

    Raises ImageError, naming the frames, for fewer than two different ones, for blank frames, and for values that
    are NaN or outside 0..1.
    """
    if len(one.frames) < 2:
        raise ImageError(
            f"The {one.name} set holds {len(one.frames)} frame(s); a spread needs at least 2",
            fix="give at least 2 frames, for a usable answer 100 or more",
        )
    found: list[str] = []
    wrong: dict[str, list[str]] = {}
    for start in range(0, len(one.frames), BATCH):
        batch = one.frames[start : start + BATCH]
        for label, frame in zip(one.labels[start : start + BATCH], batch, strict=True):
            found.append(_fingerprint(frame))
            if problem := _problem(frame):
                wrong.setdefault(problem, []).append(label.frame)
        on_frame(len(batch))
    for problem, names in wrong.items():
        raise ImageError(
            f"These {one.name} frames {problem}: {name_some(names)}", fix="remove them, or make them again"
        )
    if len(set(found)) == 1:
        raise ImageError(
            f"The {one.name} set holds one frame {len(found)} times", fix="give different frames"
        )
    return found


def summarise(one: EvaluationSet, distinct: int) -> SetSummary:
    """Describe a set of so many distinct frames."""
    height, width = one.frames[:1].shape[1:]
    return SetSummary(
        source=one.source,
        frames=len(one.frames),
        patients=len(set(one.subjects)) if one.subjects else None,
        height_px=height,
        width_px=width,
        distinct=distinct,
        cohorts=_count_cohorts(one),
        tool=one.measured.tool if one.measured else "",
        doubtful=one.measured.doubtful if one.measured else None,
    )


def check_cohorts(real: Iterable[Cohort | None], generated: Iterable[Cohort | None]) -> None:
    """Raise DataError where both sets name their cohorts and share none."""
    sides = [{cohort for cohort in cohorts if cohort} for cohorts in (real, generated)]
    if all(sides) and not sides[0] & sides[1]:
        names = [", ".join(cohort.value for cohort in Cohort if cohort in side) for side in sides]
        raise DataError(
            f"The sets share no cohort: real frames are of {names[0]}, generated frames of {names[1]}",
            fix="compare frames of the same cohorts",
        )


def name_some(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more


def _problem(frame: np.ndarray) -> str:
    if not np.isfinite(frame).all():
        return "hold NaN or infinite values"
    low, high = float(frame.min()), float(frame.max())
    if low < -RANGE_SLACK or high > 1.0 + RANGE_SLACK:
        return "hold values outside 0 to 1"
    return "are blank (one grey value)" if low == high else ""


def _fingerprint(frame: np.ndarray) -> str:
    levels = np.round(np.clip(np.nan_to_num(frame), 0.0, 1.0) * 255.0).astype(np.uint8)
    return hashlib.sha256(repr(levels.shape).encode() + levels.tobytes()).hexdigest()


def _count_cohorts(one: EvaluationSet) -> tuple[CohortCount, ...]:
    counts = []
    for cohort in (*Cohort, None):
        members = [label for label in one.labels if label.cohort is cohort]
        if members:
            patients = len({label.patient for label in members}) if one.patients_known else None
            counts.append(CohortCount(cohort.value if cohort else UNKNOWN, len(members), patients))
    return tuple(counts)
