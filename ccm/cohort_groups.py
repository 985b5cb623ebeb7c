"""Measured frames by cohort: patient means, their table and their figure. It describes; it tests nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .cohorts import Cohort
from .equivalence.margins import SHORT
from .equivalence.rows import MeasuredSet
from .errors import DataError
from .morphometry.report import UNITS
from .plots.panels import Panel, panels
from .statistics.clusters import cluster_means
from .statistics.effect import hedges_g
from .table import Column, Table

SHOWN = ("cnfl_mm_per_mm2", "cnfd_per_mm2", "cnbd_per_mm2", "cnfw_um", "tortuosity_tc", "cnfrd")
NAMES = {"cnfw_um": "CNFW", "tortuosity_tc": "TC", "cnfrd": "CNFrD"}
UNITS_SHOWN = {
    name: "" if UNITS[name].startswith("1,") or UNITS[name] == "1" else UNITS[name] for name in SHOWN
}
LEAST = 2  # patients that a standard deviation and an effect size take


@dataclass(frozen=True)
class Groups:
    """For every biomarker and cohort one number per patient (per frame where patients are unknown)."""

    values: dict[str, dict[Cohort, tuple[float, ...]]]
    cohorts: tuple[Cohort, ...]
    unit: str  # "patients" or "frames"
    source: str


def group(measured: MeasuredSet) -> Groups:
    """Average the frames of each patient, so that a patient with many frames counts once."""
    found = {row.cohort for row in measured.rows}
    cohorts = tuple(cohort for cohort in Cohort if cohort in found)
    values = {name: {cohort: _means(measured, name, cohort) for cohort in cohorts} for name in SHOWN}
    return Groups(values, cohorts, "patients" if measured.patients_known else "frames", measured.source)


def to_table(groups: Groups) -> Table:
    """Mean and standard deviation of each cohort, and Hedges' g of the later cohorts against the first."""
    first, *others = groups.cohorts
    columns = [Column("biomarker"), Column("unit")]
    columns += [
        Column(cohort.value, groups.unit, "mean, standard deviation, number") for cohort in groups.cohorts
    ]
    meaning = f"Hedges' g against {first} with its 95 % interval"
    columns += [Column(f"g {cohort}", f"to {first}", meaning) for cohort in others]
    rows = []
    for name, by_cohort in groups.values.items():
        cells = [_spread(by_cohort[cohort]) for cohort in groups.cohorts]
        cells += [_effect(by_cohort[first], by_cohort[cohort]) for cohort in others]
        rows.append((_name(name), UNITS_SHOWN[name], *cells))
    unknown = (
        "" if groups.unit == "patients" else " Patients are unknown: each frame counts, which is no evidence."
    )
    return Table(tuple(columns), tuple(rows), f"Measured by {groups.source}.{unknown}")


def to_figure(groups: Groups) -> np.ndarray:
    """One panel for each biomarker, a violin for each cohort, [H,W,3]."""
    drawn = [
        Panel(_name(name), UNITS_SHOWN[name], {c.value: values for c, values in by_cohort.items()})
        for name, by_cohort in groups.values.items()
    ]
    return panels(drawn, f"one dot for each {groups.unit[:-1]}; bar: mean")


def _means(measured: MeasuredSet, name: str, cohort: Cohort) -> tuple[float, ...]:
    known = [
        (row.values[name], row.patient or f"frame {number}")
        for number, row in enumerate(measured.rows)
        if row.cohort == cohort and name in row.values
    ]
    return tuple(cluster_means([value for value, _ in known], [patient for _, patient in known]).values())


def _name(name: str) -> str:
    return SHORT.get(name) or NAMES[name]


def _spread(values: tuple[float, ...]) -> str:
    if not values:
        return "-"
    spread = f" ({np.std(values, ddof=1):.3g})" if len(values) >= LEAST else ""
    return f"{np.mean(values):.4g}{spread} n={len(values)}"


def _effect(first: tuple[float, ...], other: tuple[float, ...]) -> str:
    if min(len(first), len(other)) < LEAST:
        return "-"
    try:
        found = hedges_g(first, other)
    except DataError:  # neither cohort varies
        return "-"
    return f"{found.g:+.2f} [{found.interval[0]:+.2f} to {found.interval[1]:+.2f}]"
