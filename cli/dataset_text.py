"""The report on a data set as text."""

from __future__ import annotations

from collections import Counter

from ..ccm.frames.record import SPLITS
from ..training.data.check import UNASSIGNED, DatasetReport
from ..training.data.gather import Gathered

MOST_LINES = 20


def describe(gathered: Gathered) -> str:
    """Describe what was found: counts, sizes, balance, then errors and warnings by name."""
    report, listing = gathered.report, gathered.listing
    lines = [
        f"Data set:   {listing.path}",
        f"Layout:     {listing.layout} ({listing.about})",
        *count_lines(report),
        "",
        *(_row(cells) for cells in balance_table(report)),
        "",
        *_listed("Error", report.errors),
        *_listed("Warning", report.warnings),
    ]
    if not report.errors:
        lines.append("Ready to train on.")
    return "\n".join(lines)


def count_lines(report: DatasetReport) -> list[str]:
    """Count frames, masks, patients, eyes, sizes and pixel sizes."""
    records = report.records
    patients = {r.patient for r in records if r.patient is not None}
    eyes = {(r.patient, r.eye) for r in records if r.eye is not None}
    masks = sum(r.mask is not None for r in records)
    sizes = Counter(f"{look.size[0]} x {look.size[1]}" for look in report.looked if look.size)
    pixels = Counter(f"{r.um_per_px:.4f}" for r in records)
    footers = sum(look.footer for look in report.looked)
    lines = [
        f"Frames:     {len(records)}, of which {masks} with a mask",
        f"Patients:   {len(patients) or 'unknown'}" + (f", {len(eyes)} eyes" if eyes else ""),
        "Pixels:     " + _counts(sizes),
        "um per px:  " + _counts(pixels),
    ]
    if footers:
        lines.append(f"HRT export: {footers} frames, their text footer is cut off")
    return lines


def balance_table(report: DatasetReport) -> list[list[str]]:
    """Frames by cohort and set, with a heading and, where patients are known, their number."""
    names = [name for name in (*SPLITS, UNASSIGNED) if name in report.assigned]
    table = [["", *names, "frames", "patients"]]
    for cohort, counts in report.balance.items():
        patients = report.patients_of(cohort)
        total = sum(counts.values())
        table.append([cohort, *(str(counts[n]) for n in names), str(total), str(patients or "-")])
    return table


def _row(cells: list[str]) -> str:
    return f"{cells[0]:12}" + "".join(f"{cell:>12}" for cell in cells[1:])


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{name} ({count})" for name, count in counter.most_common()) or "-"


def _listed(kind: str, problems: tuple[str, ...]) -> list[str]:
    rest = len(problems) - MOST_LINES
    more = [f"{kind}: and {rest} more"] if rest > 0 else []
    return [f"{kind}: {problem}." for problem in problems[:MOST_LINES]] + more
