"""A data set as a table: a CSV file with one frame per line."""

from __future__ import annotations

import csv
import difflib
import io
from collections.abc import Iterable
from pathlib import Path

from ..cohorts import parse_cohort
from ..errors import CohortError, DataError, PixelSizeError
from ..images import check_um_per_px
from .layouts import with_pixel_size
from .record import SPLIT_NAMES, Record

COLUMNS = ("frame", "mask", "cohort", "patient", "eye", "split", "um_per_px", "source_patient")
TABLE_NAME = "table.csv"
_EYES = {"od": "OD", "right": "OD", "r": "OD", "os": "OS", "left": "OS", "l": "OS"}


def read_table(path: Path, um_per_px: float | None) -> list[Record]:
    """Read the records of a CSV file; files in it are relative to its folder.

    Columns are COLUMNS, of which frame is needed; others are ignored. Fields are separated by commas, semicolons
    or tabs. A pixel size is that of the line, else um_per_px, else 400 um over a square frame's width.
    Raises DataError, CohortError or PixelSizeError, naming the line.
    """
    lines = _read_lines(path)
    records = {number: _read_record(path, number, line, um_per_px) for number, line in lines.items()}
    seen: dict[Path, int] = {}
    for number, record in records.items():
        first = seen.setdefault(record.frame, number)
        if first != number:
            raise DataError(
                f"{path} names {record.frame.name} in lines {first} and {number}", fix="remove one of them"
            )
    return list(records.values())


def as_csv(records: Iterable[Record]) -> str:
    """Return the table of these records, which `read_table` reads."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for r in records:
        mask = r.mask.as_posix() if r.mask else ""
        known = [r.frame.as_posix(), mask, r.cohort, r.patient, r.eye, r.split, f"{r.um_per_px:.6f}"]
        writer.writerow([*known, r.source_patient])
    return text.getvalue()


def _read_lines(path: Path) -> dict[int, dict[str, str]]:
    """Return the cells of every line that has any, by line number and column."""
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as a table ({error})", fix="save it as CSV, UTF-8") from error
    heading, _, _ = text.partition("\n")
    rows = list(csv.reader(text.splitlines(), delimiter=max(",;\t", key=heading.count)))
    names = [name.strip().lower() for name in rows[0]] if rows else []
    _check_columns(path, names)
    cells = {number: [cell.strip() for cell in row] for number, row in enumerate(rows, start=1)}
    lines = {number: row for number, row in cells.items() if number > 1 and any(row)}
    if not lines:
        raise DataError(f"{path} lists no frames", fix="add one line per frame")
    return {number: dict(zip(names, row, strict=False)) for number, row in lines.items()}


def _check_columns(path: Path, names: list[str]) -> None:
    known = ", ".join(COLUMNS)
    for name in names:
        near = difflib.get_close_matches(name, COLUMNS, 1, 0.75)
        if near and name not in COLUMNS:
            raise DataError(f"{path} has a column {name!r}", fix=f"call it {near[0]!r}; known are {known}")
    if "frame" not in names:
        raise DataError(f"{path} has no column 'frame'", fix=f"start it with a heading; known are {known}")


def _read_record(path: Path, number: int, line: dict[str, str], um_per_px: float | None) -> Record:
    where = f"{path} line {number}"
    if not line.get("frame"):
        raise DataError(f"{where} names no frame", fix="fill in the column frame")
    split, eye = line.get("split", ""), line.get("eye", "")
    if split and split.lower() not in SPLIT_NAMES:
        raise DataError(f"{where} has the split {split!r}", fix="use train, validation or test")
    try:
        cohort = parse_cohort(line["cohort"]) if line.get("cohort") else None
    except CohortError as error:
        raise CohortError(f"{where}: {error.problem}", fix=error.fix) from error
    record = Record(
        frame=path.parent / line["frame"],
        mask=path.parent / line["mask"] if line.get("mask") else None,
        cohort=cohort,
        patient=line.get("patient") or None,
        eye=_EYES.get(eye.lower(), eye) or None,
        split=SPLIT_NAMES.get(split.lower()),
        source_patient=line.get("source_patient") or None,
    )
    return with_pixel_size(record, _told(where, line.get("um_per_px"), um_per_px))


def _told(where: str, cell: str | None, um_per_px: float | None) -> float | None:
    if not cell:
        return um_per_px
    try:
        return check_um_per_px(float(cell.replace(",", ".")))
    except (ValueError, PixelSizeError) as error:
        raise PixelSizeError(
            f"{where} has the pixel size {cell!r}", fix="give a positive number of um per pixel"
        ) from error
