"""Frames on disk and the table of their measurements as one set of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..errors import DataError
from ..frames.listing import read_records
from ..frames.reading import frame_size, read_frame
from ..frames.record import Record
from ..measuring import BIOMARKERS
from .sets import EvaluationSet, Label, Measurements, name_some


class FrameFiles:
    """Frames that are read when a slice of them is asked for; all have one size."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = tuple(paths)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, part: slice, /) -> np.ndarray:
        return np.stack([read_frame(path) for path in self.paths[part]])


def list_records(name: str, path: Path, um_per_px: float | None) -> list[Record]:
    """The frames of one side; raises DataError where there are under two or they differ in size, and ImageError."""
    records = read_records(path, um_per_px=um_per_px)
    if len(records) < 2:
        raise DataError(
            f"{path} holds one frame; a comparison needs at least 2",
            fix="give a folder or a table of more frames, for a usable answer 100 or more",
        )
    sizes: dict[tuple[int, int], list[str]] = {}
    for record in records:
        sizes.setdefault(frame_size(record.frame), []).append(record.frame.name)
    if len(sizes) > 1:
        told = "; ".join(f"{w} x {h} px: {name_some(names)}" for (w, h), names in sizes.items())
        raise DataError(
            f"The {name} frames differ in size ({told})",
            fix="compare frames of one size and one field of view",
        )
    return records


def pair_by_name(real: Sequence[Record], generated: Sequence[Record]) -> list[Record]:
    """The generated records in the order of the real ones whose file names, without ending, they share.

    Raises DataError, naming files, where the names are not the same on both sides.
    """
    by_name = {record.frame.stem: record for record in generated}
    names = [record.frame.stem for record in real]
    alone = [*sorted(set(names) - by_name.keys()), *sorted(by_name.keys() - set(names))]
    if alone or len(set(names)) != len(names) or len(by_name) != len(generated):
        why = f"these have no partner: {name_some(alone)}" if alone else "a name occurs twice in one set"
        raise DataError(
            f"The sets cannot be paired by file name: {why}",
            fix="give a generated frame the name of the real frame whose mask it was made from, or leave out --paired",
        )
    return [by_name[name] for name in names]


def unmeasured(name: str, source: str, records: Sequence[Record]) -> EvaluationSet:
    """Records as a set whose biomarkers nobody asks for; a generated frame belongs to the patient of its mask."""
    frames = FrameFiles([record.frame for record in records])
    labels = [Label(r.frame.name, r.cohort, r.patient or r.source_patient) for r in records]
    return EvaluationSet(name, source, frames, tuple(labels))


def measured(
    name: str, source: str, records: Sequence[Record], rows: Sequence[Mapping[str, str]]
) -> EvaluationSet:
    """Join records with their rows of `python . measure`; raises DataError for a frame that was not measured."""
    failed = [f"{row['frame']}: {row['error']}" for row in rows if row["error"]]
    if failed:
        raise DataError(
            f"{len(failed)} {name} frames cannot be measured. {failed[0]}", fix="remove or replace them"
        )
    first = rows[0]
    measurements = Measurements(
        tuple({field: float(row[field]) for field in BIOMARKERS if row[field]} for row in rows),
        f"{first['tool']} {first['version']}, network {first['network']}",
        sum(bool(row["quality"]) for row in rows),
    )
    return replace(unmeasured(name, source, records), measured=measurements)
