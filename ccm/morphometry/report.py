"""Biomarkers as a table to read and as JSON to store."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

from ..table import Column, Table
from .biomarkers import NerveBiomarkers

TOOL = "ComfyUI-CCM morphometry"
VERSION = "0.6.0"  # of the measurement: raised with every change after which a number may differ

UNITS = {
    "cnfl_mm_per_mm2": "mm/mm2",
    "cnfd_per_mm2": "1/mm2",
    "cnbd_per_mm2": "1/mm2",
    "ctbd_per_mm2": "1/mm2",
    "cnfa": "mm2/mm2",
    "cnfw_um": "um",
    "cnfrd": "1",
    "tortuosity_tc": "1, x in units of 1.0417 um",
    "tortuosity_arc_chord": "1",
    "main_fibres": "count",
    "branch_points": "count",
    "branches": "count",
    "length_um": "um",
    "frame_area_mm2": "mm2",
}
_COLUMNS = (  # heading, unit, meaning, field, digits
    ("CNFL", "mm/mm2", "corneal nerve fibre length", "cnfl_mm_per_mm2", 2),
    ("CNFD", "/mm2", "corneal nerve fibre density: main fibres", "cnfd_per_mm2", 2),
    ("CNBD", "/mm2", "corneal nerve branch density: branch points on main fibres", "cnbd_per_mm2", 2),
    ("CTBD", "/mm2", "corneal total branch density: all branches", "ctbd_per_mm2", 2),
    ("CNFA", "mm2/mm2", "corneal nerve fibre area", "cnfa", 4),
    ("CNFW", "um", "corneal nerve fibre width, mean by length", "cnfw_um", 2),
    ("CNFrD", "", "fractal dimension of the centre-lines", "cnfrd", 3),
    ("TC", "", "tortuosity coefficient, mean over main fibres", "tortuosity_tc", 2),
    ("arc/chord", "", "length over distance of the ends, mean over main fibres", "tortuosity_arc_chord", 3),
    ("main", "fibres", "number of main fibres", "main_fibres", 0),
    ("branch", "points", "number of branch points on main fibres", "branch_points", 0),
    ("branches", "", "number of branches", "branches", 0),
)


def to_table(frames: Sequence[NerveBiomarkers]) -> Table:
    """One row per frame; "-" stands where a value does not exist."""
    columns = (Column("frame"), *(Column(*about) for *about, _, _ in _COLUMNS))
    rows = (
        (str(number), *(_cell(getattr(frame, field), digits) for *_, field, digits in _COLUMNS))
        for number, frame in enumerate(frames, start=1)
    )
    note = f"{TOOL} {VERSION}. Compare only with numbers of the same tool and version."
    return Table(columns, tuple(rows), note)


def describe(frames: Sequence[NerveBiomarkers]) -> str:
    """The table as plain text."""
    return to_table(frames).text()


def _cell(value: float, digits: int) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def to_json(frames: Sequence[NerveBiomarkers], um_per_px: float) -> str:
    """All values of all frames, with units, tool, version and pixel size; null where a value does not exist."""
    source = {"tool": TOOL, "version": VERSION, "um_per_px": um_per_px}
    records = [{field: _finite(getattr(frame, field)) for field in UNITS} | source for frame in frames]
    return json.dumps({**source, "units": UNITS, "frames": records}, indent=2, allow_nan=False)


def _finite(value: float) -> float | None:
    return None if math.isnan(value) else value
