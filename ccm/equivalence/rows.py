"""Measured frames as rows: biomarkers, cohort and patient of each frame."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..cohorts import Cohort, parse_cohort
from ..errors import CohortError, DataError
from ..morphometry.report import UNITS

SOURCE = ("tool", "version", "um_per_px")
LABELS = ("cohort", "patient")
MOST_NAMED = 10


@dataclass(frozen=True)
class Row:
    """One frame: the biomarkers that exist for it, its cohort, and its patient where known."""

    values: dict[str, float]
    cohort: Cohort
    patient: str | None


@dataclass(frozen=True)
class MeasuredSet:
    """The rows of one set of frames, and the tool that measured them."""

    name: str
    rows: tuple[Row, ...]
    source: str

    @property
    def patients_known(self) -> bool:
        """Whether every row says whose it is."""
        return self.rows[0].patient is not None


def read_rows(name: str, measured: str, labels: str) -> MeasuredSet:
    """Read the JSON of Nerve Biomarkers and the labels of its frames.

    `labels` is the JSON of Load Frames, or CSV with a heading (cohort, patient; other columns are ignored): one
    line per frame in order, or one line that holds for all frames. Left empty, the measured frames carry cohort
    and patient themselves. Raises DataError on anything else, CohortError naming the frames without a cohort.
    """
    table = read_table(name, measured, labels)
    return make_set(name, table.values, table.labels, table.source)


class LabelledTable(NamedTuple):
    """Biomarkers and labels (frame, cohort, patient, where known) of every frame, and the tool."""

    values: tuple[dict[str, float], ...]
    labels: list[dict[str, Any]]
    source: str


def read_table(name: str, measured: str, labels: str) -> LabelledTable:
    """Read the same without asking that every frame has a cohort; raises DataError."""
    document = _parse(name, measured)
    frames: list[dict[str, Any]] = document["frames"]
    told = _labels(name, labels, len(frames)) if labels.strip() else frames
    values = tuple(_values(name, number, frame) for number, frame in enumerate(frames, start=1))
    return LabelledTable(values, told, ", ".join(f"{key} {document.get(key, 'unknown')}" for key in SOURCE))


def make_set(
    name: str, values: Sequence[dict[str, float]], labels: Sequence[dict[str, Any]], source: str
) -> MeasuredSet:
    """Join the biomarkers of frames with their labels; raises DataError, and CohortError naming frames without one."""
    _check_complete(name, labels)
    rows = tuple(
        Row(frame, parse_cohort(label["cohort"]), label.get("patient") or None)
        for frame, label in zip(values, labels, strict=True)
    )
    return MeasuredSet(name, rows, source)


def check_one_tool(real: MeasuredSet, generated: MeasuredSet) -> None:
    """Raise DataError unless one tool, version and pixel size measured both sets."""
    if real.source != generated.source:
        raise DataError(
            f"The sets were measured differently: {real.source} and {generated.source}",
            fix="measure both sets with the same Nerve Biomarkers node and pixel size",
        )


def _parse(name: str, measured: str) -> dict[str, Any]:
    fix = "connect the json output of Nerve Biomarkers, and the records of Load Frames as labels"
    try:
        document = json.loads(measured)
    except json.JSONDecodeError as error:
        raise DataError(f"The {name} table is no JSON ({error})", fix=fix) from error
    frames = document.get("frames") if isinstance(document, dict) else None
    if not isinstance(frames, list) or not all(isinstance(frame, dict) for frame in frames):
        raise DataError(f"The {name} table has no list of frames", fix=fix)
    if not frames:
        raise DataError(f"The {name} table holds no frames", fix="measure at least 2 frames per cohort")
    return document


def _values(name: str, number: int, frame: dict[str, Any]) -> dict[str, float]:
    found: dict[str, float] = {}
    for field in UNITS:
        value = frame.get(field)
        if value is None:  # tortuosity of a frame without nerves, for one
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise DataError(f"{field} of {name} frame {number} is {value!r}", fix="measure that frame again")
        found[field] = float(value)
    return found


def _labels(name: str, text: str, frames: int) -> list[dict[str, Any]]:
    lines = _parse(name, text)["frames"] if text.lstrip().startswith("{") else _lines(name, text)
    if len(lines) not in (1, frames):
        raise DataError(
            f"The {name} labels have {len(lines)} lines for {frames} frames",
            fix="give one line per frame, in order, or a single line for all frames",
        )
    return lines * frames if len(lines) == 1 else lines


def _lines(name: str, text: str) -> list[dict[str, Any]]:
    """The lines of a CSV text by column."""
    heading, _, _ = text.strip().partition("\n")
    rows = list(csv.reader(text.strip().splitlines(), delimiter=max(",;\t", key=heading.count)))
    columns = [cell.strip().lower() for cell in rows[0]]
    if "cohort" not in columns:
        raise DataError(
            f"The {name} labels start with {heading!r}, which names no column 'cohort'",
            fix="start with the heading cohort,patient and add one line per frame",
        )
    cells = [[cell.strip() for cell in row] for row in rows[1:]]
    return [dict(zip(columns, row, strict=False)) for row in cells if any(row)]


def _check_complete(name: str, labels: Sequence[dict[str, Any]]) -> None:
    named = [str(label.get("frame") or number) for number, label in enumerate(labels, start=1)]
    without = {
        key: [frame for frame, label in zip(named, labels, strict=True) if not label.get(key)]
        for key in LABELS
    }
    if without["cohort"]:
        raise CohortError(
            f"These {name} frames have no cohort: {_enumerate(without['cohort'])}",
            fix=f"label every frame with one of {', '.join(cohort.value for cohort in Cohort)}, or leave it out",
        )
    if 0 < len(without["patient"]) < len(labels):
        raise DataError(
            f"These {name} frames have no patient, others do: {_enumerate(without['patient'])}",
            fix="name the patient of every frame",
        )


def _enumerate(names: list[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more
