"""What is known of one frame of a data set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..cohorts import Cohort
from ..images import UM_PER_PX
from .reading import read_frame, read_mask

SPLITS = ("train", "validation", "test")
SPLIT_NAMES = {name: name for name in SPLITS} | {"training": "train", "val": "validation"}


@dataclass(frozen=True)
class Record:
    """One frame: its files and whatever is known of where it comes from.

    split is one of SPLITS where the data set has splits of its own. um_per_px is that of the frame without an
    HRT footer. source_patient is, of a synthetic frame, the patient whose mask it shows.
    """

    frame: Path
    mask: Path | None = None
    cohort: Cohort | None = None
    patient: str | None = None
    eye: str | None = None
    split: str | None = None
    um_per_px: float = UM_PER_PX
    source_patient: str | None = None


def load_frame(record: Record) -> np.ndarray:
    """Read a record's frame, float32 [H,W] in 0..1, HRT footer cut off; raises ImageError."""
    return read_frame(record.frame)


def load_mask(record: Record) -> np.ndarray | None:
    """Read a record's mask, float32 [H,W] in 0..1, or None where it has none; raises ImageError."""
    return None if record.mask is None else read_mask(record.mask)
