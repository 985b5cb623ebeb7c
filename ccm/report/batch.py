"""Frames in memory and their tables, as nodes have them, as one set of a report."""

from __future__ import annotations

import numpy as np

from ..cohorts import parse_cohort
from ..equivalence.rows import read_table
from ..errors import DataError
from .sets import EvaluationSet, Label, Measurements


def labelled(name: str, grey: np.ndarray, measured: str, labels: str) -> EvaluationSet:
    """Join frames [N,H,W] with the JSON of Nerve Biomarkers and their labels, both as Biomarker Equivalence takes them.

    Raises DataError where the table is of another number of frames, and CohortError for a cohort that is none.
    """
    table = read_table(name, measured, labels)
    if len(table.values) != len(grey):
        raise DataError(
            f"{len(table.values)} {name} frames were measured, but there are {len(grey)} of them",
            fix="connect frames and biomarkers of the same Load Frames node",
        )
    told = tuple(
        Label(
            str(label.get("frame") or f"frame {number}"),
            parse_cohort(label["cohort"]) if label.get("cohort") else None,
            str(label["patient"]) if label.get("patient") else None,
        )
        for number, label in enumerate(table.labels, start=1)
    )
    return EvaluationSet(name, "a batch", grey, told, Measurements(table.values, table.source))
