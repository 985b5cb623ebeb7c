"""Real and generated rows -> one test per biomarker and cohort, and the claim on all of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import stdev
from typing import NamedTuple

import numpy as np

from ..cohorts import Cohort
from ..errors import DataError
from ..statistics.agreement import ICC, BlandAltman, bland_altman, icc_agreement
from ..statistics.clusters import cluster_means
from ..statistics.effect import EffectSize, hedges_g
from ..statistics.equivalence import (
    ALPHA,
    Design,
    EquivalenceTest,
    Margin,
    intersection_union,
    tost_paired,
    tost_welch,
)
from ..statistics.power import patients_paired, patients_welch
from .margins import SHORT, Margins
from .rows import MeasuredSet, Row, check_one_tool

Means = tuple[float, ...]  # one per patient

PATIENTS_UNKNOWN = (
    "The patients of the real frames are unknown: frames of one patient are no independent evidence, "
    "so nothing can be concluded."
)
PAIRED_MEANING = (
    "Pairs share their masks: this shows that generated frames follow the mask, "
    "not that the generated population is realistic."
)


@dataclass(frozen=True)
class Comparison:
    """One biomarker in one cohort; `real` and `generated` hold one mean per patient.

    `test` is None where `reason` says why there is none. `needed` is the number of patients a side that would
    show equivalence with 80 % power if there were no difference and the spread were as found. `agreement` and
    `icc` describe pairs only.
    """

    biomarker: str
    cohort: Cohort
    margin: Margin
    real: Means
    generated: Means
    frames: tuple[int, int]
    frames_without_value: tuple[int, int]
    test: EquivalenceTest | None
    reason: str
    effect: EffectSize | None
    agreement: BlandAltman | None
    icc: ICC | None
    needed: int | None


@dataclass(frozen=True)
class EquivalenceReport:
    """All comparisons, the p of the claim on all of them together, and what stands against it."""

    design: Design
    comparisons: tuple[Comparison, ...]
    p_value: float | None
    objections: tuple[str, ...]
    remarks: tuple[str, ...]
    source: str

    @property
    def shown(self) -> bool:
        """Whether equivalence is shown in every biomarker and cohort, with nothing standing against it."""
        return self.p_value is not None and self.p_value <= ALPHA and not self.objections


class _Side(NamedTuple):
    """Patient means of one biomarker in one cohort, and the frames with and without a value behind them."""

    means: Means
    frames: int
    without: int


class _Sample(NamedTuple):
    real: _Side
    generated: _Side


def compare_sets(
    real: MeasuredSet, generated: MeasuredSet, margins: Margins, design: Design
) -> EquivalenceReport:
    """Test every biomarker that has a margin in every cohort of either set.

    Design.PAIRED takes row i of both sets as one pair, made from one mask; Design.INDEPENDENT compares patients.
    Generated frames without a patient count as independent draws. Raises DataError where the sets share no
    cohort or were measured by different tools, and where pairs do not match.
    """
    check_one_tool(real, generated)
    if design is Design.PAIRED:
        _check_pairs(real, generated)
    cohorts = _cohorts(real, generated)
    comparisons = tuple(
        _compare(field, cohort, by_cohort[cohort], real, generated, design)
        for field, by_cohort in margins.items()
        for cohort in cohorts
        if cohort in by_cohort
    )
    if not comparisons:
        raise DataError("No margin belongs to a cohort of these frames", fix="give margins for all cohorts")
    tests = [one.test for one in comparisons if one.test]
    return EquivalenceReport(
        design,
        comparisons,
        intersection_union(tests) if tests else None,
        _objections(real, generated, design, comparisons),
        _remarks(real, generated, design),
        real.source,
    )


def _cohorts(real: MeasuredSet, generated: MeasuredSet) -> list[Cohort]:
    sides = [{row.cohort for row in one.rows} for one in (real, generated)]
    if not sides[0] & sides[1]:
        names = [", ".join(c.value for c in Cohort if c in side) for side in sides]
        raise DataError(
            f"The sets share no cohort: real frames are of {names[0]}, generated frames of {names[1]}",
            fix="compare frames of the same cohorts",
        )
    return [cohort for cohort in Cohort if cohort in sides[0] | sides[1]]


def _check_pairs(real: MeasuredSet, generated: MeasuredSet) -> None:
    if len(real.rows) != len(generated.rows):
        raise DataError(
            f"{len(real.rows)} real and {len(generated.rows)} generated frames are no pairs",
            fix="generate one frame from the mask of each real frame, in the same order",
        )
    for number, (one, other) in enumerate(zip(real.rows, generated.rows, strict=True), start=1):
        if one.cohort != other.cohort or (other.patient and other.patient != one.patient):
            raise DataError(
                f"Pair {number} joins {one.cohort}, patient {one.patient} and {other.cohort}, patient {other.patient}",
                fix="give both sets the same labels, in the same order",
            )


def _compare(
    field: str, cohort: Cohort, margin: Margin, real: MeasuredSet, generated: MeasuredSet, design: Design
) -> Comparison:
    paired = design is Design.PAIRED
    mine, theirs = (_paired if paired else _unpaired)(field, cohort, real, generated)
    test = agreement = None
    if min(len(mine.means), len(theirs.means)) >= 2:
        test = (tost_paired if paired else tost_welch)(mine.means, theirs.means, margin)
        agreement = bland_altman(mine.means, theirs.means) if paired else None
    reason = f"{len(mine.means)} real and {len(theirs.means)} generated patients; it takes 2 of each"
    return Comparison(
        biomarker=field,
        cohort=cohort,
        margin=margin,
        real=mine.means,
        generated=theirs.means,
        frames=(mine.frames, theirs.frames),
        frames_without_value=(mine.without, theirs.without),
        test=test,
        reason="" if test else reason,
        effect=_effect(mine.means, theirs.means) if test else None,
        agreement=agreement,
        icc=_icc(mine.means, theirs.means) if agreement else None,
        needed=_needed(test, mine.means, theirs.means) if test else None,
    )


def _unpaired(field: str, cohort: Cohort, real: MeasuredSet, generated: MeasuredSet) -> _Sample:
    mine, theirs = (
        [(name, row.values.get(field)) for name, row in _of_cohort(one, cohort)] for one in (real, generated)
    )
    return _Sample(_side(mine), _side(theirs))


def _paired(field: str, cohort: Cohort, real: MeasuredSet, generated: MeasuredSet) -> _Sample:
    """Patient means over whole pairs: a pair in which either frame lacks the value is left out."""
    mine, theirs = [], []
    others = [row for row in generated.rows if row.cohort == cohort]
    for (name, row), other in zip(_of_cohort(real, cohort), others, strict=True):
        whole = field in row.values and field in other.values
        mine.append((name, row.values[field] if whole else None))
        theirs.append((name, other.values[field] if whole else None))
    return _Sample(_side(mine), _side(theirs))


def _side(values: list[tuple[str, float | None]]) -> _Side:
    known = [(name, value) for name, value in values if value is not None]
    means = cluster_means([value for _, value in known], [name for name, _ in known])
    return _Side(tuple(means.values()), len(known), len(values) - len(known))


def _of_cohort(one: MeasuredSet, cohort: Cohort) -> list[tuple[str, Row]]:
    """The rows of a cohort with the name of the unit each belongs to: its patient, else itself."""
    return [
        (row.patient or f"frame {number}", row) for number, row in enumerate(one.rows) if row.cohort == cohort
    ]


def _effect(real: Means, generated: Means) -> EffectSize | None:
    try:
        return hedges_g(real, generated)
    except DataError:  # neither side varies: no spread scales the difference
        return None


def _icc(real: Means, generated: Means) -> ICC | None:
    try:
        return icc_agreement(np.array([real, generated]).T)
    except DataError:  # all values are equal
        return None


def _needed(test: EquivalenceTest, real: Means, generated: Means) -> int | None:
    try:
        if test.design is Design.PAIRED:
            return patients_paired(test.standard_error * math.sqrt(test.n_a), test.margin.value)
        sds = stdev(real), stdev(generated)
        return patients_welch(sds, test.margin.value)
    except DataError:  # no spread, or more patients than anyone has
        return None


def _objections(
    real: MeasuredSet, generated: MeasuredSet, design: Design, comparisons: tuple[Comparison, ...]
) -> tuple[str, ...]:
    """What forbids the claim, whatever the tests say."""
    found = []
    if not real.patients_known:
        found.append(PATIENTS_UNKNOWN)
    untested = [f"{SHORT.get(c.biomarker, c.biomarker)} in {c.cohort}" for c in comparisons if c.test is None]
    if untested:
        found.append(f"Not every biomarker could be tested in every cohort: {', '.join(untested)}.")
    shared = {row.patient for row in real.rows if row.patient} & {row.patient for row in generated.rows}
    if design is Design.INDEPENDENT and shared:
        found.append(
            f"{len(shared)} patients are named in both sets: frames made from their masks are no independent "
            "population; compare them as pairs."
        )
    known = {tuple(sorted(row.values.items())) for row in real.rows}
    copies = sum(tuple(sorted(row.values.items())) in known for row in generated.rows)
    if copies == len(generated.rows):
        found.append(
            "Every generated frame has exactly the values of a real frame: these are copies, or one set twice."
        )
    return tuple(found)


def _remarks(real: MeasuredSet, generated: MeasuredSet, design: Design) -> tuple[str, ...]:
    """What a reader must know to read the result rightly."""
    found = []
    if design is Design.PAIRED:
        found.append(PAIRED_MEANING)
    elif not generated.patients_known:
        found.append(
            "Generated frames carry no patient: each counts as an independent draw (own mask and seed)."
        )
    return tuple(found)
