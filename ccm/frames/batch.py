"""Several frames of a folder or table as one array, with what is known of each."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import DataError
from ..images import check_um_per_px
from .listing import read_records
from .record import Record, load_frame

SAME_SIZE = 0.001  # pixel sizes closer than this share are one


@dataclass(frozen=True)
class FrameBatch:
    """`frames` float32 [B,H,W] in 0..1, their records, their pixel size, and how many frames the path holds."""

    frames: np.ndarray
    records: tuple[Record, ...]
    um_per_px: float
    available: int


def load_batch(path: Path, first: int = 0, count: int = 64, um_per_px: float | None = None) -> FrameBatch:
    """Load `count` frames of a folder, table or picture, from number `first` (0-based), in order.

    Raises DataError where there are none, or where they differ in size or pixel size; ImageError for a file that
    cannot be read; PixelSizeError.
    """
    records = read_records(path, um_per_px=None if um_per_px is None else check_um_per_px(um_per_px))
    chosen = records[first : first + count]
    if not chosen:
        raise DataError(
            f"{path} holds {len(records)} frames, and none from number {first} on",
            fix="lower first, raise count",
        )
    frames = [load_frame(record) for record in chosen]
    for record, frame in zip(chosen, frames, strict=True):
        if frame.shape != frames[0].shape or not _close(record.um_per_px, chosen[0].um_per_px):
            raise DataError(
                f"{record.frame.name} is {frame.shape[1]} x {frame.shape[0]} pixels of {record.um_per_px:.4g} um, but "
                f"{chosen[0].frame.name} {frames[0].shape[1]} x {frames[0].shape[0]} of {chosen[0].um_per_px:.4g}",
                fix="load frames of one size at a time, or use `python . measure`, which takes any mixture",
            )
    return FrameBatch(np.stack(frames), tuple(chosen), chosen[0].um_per_px, len(records))


def _close(a: float, b: float) -> bool:
    return abs(a / b - 1.0) <= SAME_SIZE


def to_json(batch: FrameBatch) -> str:
    """File name, patient, eye and cohort of every frame, null where unknown, as JSON."""
    rows = [
        {
            "frame": record.frame.name,
            "patient": record.patient,
            "eye": record.eye,
            "cohort": record.cohort.value if record.cohort else None,
            "um_per_px": record.um_per_px,
        }
        for record in batch.records
    ]
    return json.dumps({"available": batch.available, "frames": rows}, indent=2)
