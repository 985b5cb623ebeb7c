"""An equivalence report in words, as JSON and as CSV."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import asdict
from typing import Any

from ..morphometry.report import UNITS
from ..statistics.equivalence import Design
from .compare import Comparison, EquivalenceReport
from .margins import SHORT

_CSV: tuple[str, ...] = (
    "biomarker", "unit", "cohort", "design", "real_patients", "generated_patients", "real_mean",
    "generated_mean", "difference", "low_90", "high_90", "margin", "margin_source", "p_value", "shown",
    "hedges_g", "patients_needed", "reason",
)  # fmt: skip


def name_of(comparison: Comparison) -> str:
    """The short name of its biomarker, such as CNFL."""
    return SHORT.get(comparison.biomarker, comparison.biomarker)


def describe(report: EquivalenceReport) -> str:
    """The verdict, a row per test, where the margins come from, and what stands against the claim."""
    lines = [verdict(report), "", *_table(report), ""]
    lines += [
        *_agreement(report),
        *_sources(report),
        "",
        *report.objections,
        *report.remarks,
        *_left_out(report),
    ]
    lines += [
        f"{report.design.value} TOST on patient means, 90 % intervals; intersection-union over all rows.",
        '"Not shown" does not mean different. Margins must be chosen before measuring.',
        f"Measured by {report.source}.",
    ]
    return "\n".join(lines)


def verdict(report: EquivalenceReport) -> str:
    """One sentence; it says "equivalent" only where that is shown."""
    tests = [one.test for one in report.comparisons if one.test]
    passed = sum(test.shown for test in tests)
    counted = f"{passed} of {len(report.comparisons)} tests passed"
    if report.shown:
        where = " on shared masks" if report.design is Design.PAIRED else ""
        return f"Equivalence{where} shown: {counted}, p = {report.p_value:.3g} for all together."
    if report.objections and tests and passed == len(report.comparisons):
        return f"Equivalence cannot be claimed, though {counted}: {report.objections[0]}"
    return f"Equivalence not shown: {counted}."


def _table(report: EquivalenceReport) -> list[str]:
    rows = [
        [
            "",
            "cohort",
            "patients",
            "real",
            "generated",
            "difference",
            "90 % interval",
            "margin",
            "p",
            "",
            "needs",
        ]
    ]
    rows += [_row(one) for one in report.comparisons]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def _row(one: Comparison) -> list[str]:
    head = [name_of(one), one.cohort.value, f"{len(one.real)}/{len(one.generated)}"]
    means = [_mean_text(one.real), _mean_text(one.generated)]
    margin = f"{one.margin.value:g}"
    test = one.test
    if test is None:
        return [*head, *means, "-", "-", margin, "-", "not tested", "-"]
    interval = f"{test.interval[0]:+.3g} to {test.interval[1]:+.3g}"
    said = "shown" if test.shown else "not shown"
    needs = "-" if test.shown or one.needed is None else f"{one.needed} patients"
    return [*head, *means, f"{test.difference:+.3g}", interval, margin, f"{test.p_value:.3g}", said, needs]


def _sources(report: EquivalenceReport) -> list[str]:
    """Where each margin comes from, once for all cohorts that share it."""
    found: dict[tuple[str, str], list[str]] = {}
    for one in report.comparisons:
        found.setdefault((name_of(one), one.margin.source), []).append(one.cohort.value)
    return [
        f"margin of {name} in {', '.join(cohorts)}: {source}" for (name, source), cohorts in found.items()
    ]


def _agreement(report: EquivalenceReport) -> list[str]:
    return [
        f"{name_of(one)} in {one.cohort}: 95 % limits of agreement {one.agreement.lower:+.3g} to "
        f"{one.agreement.upper:+.3g}" + (f", ICC {one.icc.value:.2f}" if one.icc else "")
        for one in report.comparisons
        if one.agreement
    ]


def _mean_text(values: tuple[float, ...]) -> str:
    mean = _mean(values)
    return "-" if mean is None else f"{mean:.4g}"


def _mean(values: tuple[float, ...]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def _left_out(report: EquivalenceReport) -> list[str]:
    return [
        f"{name_of(one)} in {one.cohort}: {sum(one.frames_without_value)} frames have no value and are left out."
        for one in report.comparisons
        if sum(one.frames_without_value)
    ]


def to_json(report: EquivalenceReport) -> str:
    """Every field of the report, the verdict and the units."""
    comparisons = [
        asdict(one) | {"unit": UNITS[one.biomarker], "shown": bool(one.test and one.test.shown)}
        for one in report.comparisons
    ]
    document = asdict(report) | {
        "comparisons": comparisons,
        "shown": report.shown,
        "verdict": verdict(report),
    }
    return json.dumps(document, indent=2, allow_nan=False)


def to_csv(report: EquivalenceReport) -> str:
    """One line per biomarker and cohort."""
    text = io.StringIO()
    writer = csv.DictWriter(text, _CSV, lineterminator="\n")
    writer.writeheader()
    for one in report.comparisons:
        writer.writerow(_record(one, report.design.value))
    return text.getvalue()


def _record(one: Comparison, design: str) -> dict[str, Any]:
    test = one.test
    return {
        "biomarker": name_of(one),
        "unit": UNITS[one.biomarker],
        "cohort": one.cohort.value,
        "design": design,
        "real_patients": len(one.real),
        "generated_patients": len(one.generated),
        "real_mean": _mean(one.real),
        "generated_mean": _mean(one.generated),
        "difference": test.difference if test else None,
        "low_90": test.interval[0] if test else None,
        "high_90": test.interval[1] if test else None,
        "margin": one.margin.value,
        "margin_source": one.margin.source,
        "p_value": test.p_value if test else None,
        "shown": bool(test and test.shown),
        "hedges_g": one.effect.g if one.effect else None,
        "patients_needed": one.needed,
        "reason": one.reason,
    }
