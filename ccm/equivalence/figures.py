"""The figures of an equivalence report."""

from __future__ import annotations

import numpy as np

from ..morphometry.report import UNITS
from ..plots.figures import Group, Interval, agreement, forest, notice, violins
from .compare import Comparison, EquivalenceReport
from .summary import name_of, verdict


def forest_figure(report: EquivalenceReport) -> np.ndarray:
    """All intervals in multiples of their margins, [1,H,W,3]."""
    return forest([_interval(one) for one in report.comparisons], verdict(report)[:100])[None]


def violin_figures(report: EquivalenceReport) -> np.ndarray:
    """One figure of all cohorts per biomarker, [N,H,W,3]."""
    figures = []
    for field in dict.fromkeys(one.biomarker for one in report.comparisons):
        members = [one for one in report.comparisons if one.biomarker == field]
        groups = [Group(one.cohort.value, one.real, one.generated, one.margin.value) for one in members]
        unit = "" if UNITS[field] == "1" else UNITS[field]
        figures.append(violins(groups, name_of(members[0]), unit))
    return np.stack(figures)


def agreement_figures(report: EquivalenceReport) -> np.ndarray:
    """One Bland-Altman figure per biomarker and cohort, [N,H,W,3]; unpaired sets have none and say so."""
    figures = []
    for one in report.comparisons:
        if one.agreement is None:
            continue
        lines = one.agreement.lower, one.agreement.bias, one.agreement.upper
        title = f"{name_of(one)} in {one.cohort}, {UNITS[one.biomarker]}"
        figures.append(agreement(one.real, one.generated, lines, one.margin.value, title))
    if not figures:
        figures = [
            notice("Bland-Altman", "There are no pairs: the sets are independent, or hold one pair only.")
        ]
    return np.stack(figures)


def _interval(one: Comparison) -> Interval:
    label = f"{name_of(one)}  {one.cohort}"
    if one.test is None:
        return Interval(label, None, 0.0, 0.0, False)
    low, high = (bound / one.margin.value for bound in one.test.interval)
    return Interval(label, one.test.difference / one.margin.value, low, high, one.test.shown)
