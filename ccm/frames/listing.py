"""The frames of a folder, a table or a single file: the one place where a path becomes records."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ..errors import DataError
from ..images import check_um_per_px
from .layouts import find_layout, read_pairs, recognise
from .pairing import Pairs, find_pairs
from .reading import SUFFIXES
from .record import Record
from .table import TABLE_NAME, read_table

AUTO, TABLE = "auto", "table"


@dataclass(frozen=True)
class FrameList:
    """The records at a path, the masks there that belong to no frame, and how the path was read."""

    path: Path
    layout: str
    about: str
    records: tuple[Record, ...]
    orphan_masks: tuple[Path, ...] = ()


def list_frames(path: Path, layout: str = AUTO, um_per_px: float | None = None) -> FrameList:
    """List the frames at a path: a CSV table, a folder that holds a table.csv, any other folder, or one picture.

    layout is auto, table, or a name in layouts.LAYOUTS. um_per_px overrides the layout's pixel size, not a
    table's column. No pixel is read: files that are damaged or missing are listed. Raises DataError for a path
    that holds no frames or does not fit the layout, and PixelSizeError where the pixel size is unknown.
    """
    if um_per_px is not None:
        check_um_per_px(um_per_px)
    table = path / TABLE_NAME if path.is_dir() else path
    single = path.is_file() and path.suffix.lower() in SUFFIXES
    if layout == TABLE or (layout == AUTO and table.is_file() and not single):
        return FrameList(
            path, TABLE, f"one line per frame in {table.name}", tuple(read_table(table, um_per_px))
        )
    if not (single or path.is_dir()):
        raise DataError(
            f"{os.path.normpath(path)} is no folder, picture or table",
            fix="name a folder of frames or a CSV table, or make phantoms: `python . dataset phantoms runs/phantoms`",
        )
    pairs = Pairs(path.parent, ((path, None),), ()) if single else find_pairs(path)
    found = recognise(pairs) if layout == AUTO else find_layout(layout)
    records = read_pairs(found, pairs, um_per_px)
    return FrameList(path, found.name, found.about, tuple(records), pairs.orphan_masks)


def read_records(path: Path, layout: str = AUTO, um_per_px: float | None = None) -> list[Record]:
    """Return the records of list_frames as a list."""
    return list(list_frames(path, layout, um_per_px).records)
