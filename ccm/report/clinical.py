"""Pillar 2: the biomarkers of both sets, and whether they are shown to be equivalent."""

from __future__ import annotations

from dataclasses import dataclass

from ..cohorts import Cohort
from ..equivalence.compare import EquivalenceReport, compare_sets
from ..equivalence.margins import SHORT, Margins
from ..equivalence.rows import MeasuredSet, make_set
from ..errors import DataError
from ..statistics.clusters import cluster_means
from ..statistics.equivalence import Design
from ..statistics.means import MeanInterval, mean_interval
from .sets import EvaluationSet

SHOWN = tuple(SHORT)  # the biomarkers of the table


@dataclass(frozen=True)
class BiomarkerRow:
    """Mean of one biomarker in one cohort over patients (over frames where they are unknown), None without values."""

    biomarker: str
    cohort: Cohort
    real: MeanInterval | None
    generated: MeanInterval | None


@dataclass(frozen=True)
class Biomarkers:
    """The table of means, and the tests of those biomarkers that have a margin."""

    rows: tuple[BiomarkerRow, ...]
    equivalence: EquivalenceReport


def measure_biomarkers(
    real: EvaluationSet, generated: EvaluationSet, margins: Margins, design: Design
) -> Biomarkers:
    """Compare patients, cohort by cohort; raises CohortError naming frames without a cohort, and DataError."""
    mine, theirs = _measured(real), _measured(generated)
    report = compare_sets(mine, theirs, margins, design)
    cohorts = [c for c in Cohort if any(row.cohort is c for one in (mine, theirs) for row in one.rows)]
    rows = [
        BiomarkerRow(field, cohort, _mean(mine, field, cohort), _mean(theirs, field, cohort))
        for cohort in cohorts
        for field in SHOWN
    ]
    return Biomarkers(tuple(row for row in rows if row.real or row.generated), report)


def _measured(one: EvaluationSet) -> MeasuredSet:
    labels = [
        {"frame": label.frame, "cohort": label.cohort and label.cohort.value, "patient": label.patient}
        for label in one.labels
    ]
    if one.measured is None:
        raise DataError(f"The {one.name} frames were not measured", fix="pass their measurements")
    return make_set(one.name, one.measured.values, labels, one.measured.tool)


def _mean(one: MeasuredSet, field: str, cohort: Cohort) -> MeanInterval | None:
    known = [
        (row.values[field], row.patient or str(number))
        for number, row in enumerate(one.rows)
        if row.cohort is cohort and field in row.values
    ]
    if not known:
        return None
    means = cluster_means([value for value, _ in known], [unit for _, unit in known])
    return mean_interval(list(means.values()))
