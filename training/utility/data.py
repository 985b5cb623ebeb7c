"""Frames of a utility study: read, brought to one pixel size and one square, and split by patient."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from ...ccm.cohorts import Cohort
from ...ccm.errors import DataError, ImageError
from ...ccm.frames.listing import list_frames
from ...ccm.frames.record import Record, load_frame, load_mask
from ..data.split import split_records
from .config import UtilityConfig, UtilityData

COHORTS = tuple(Cohort)
NERVE = 0.25  # a resampled pixel is nerve where so much of it is
SLACK = 0.98  # a frame may miss this little of the square, which is then padded by its edge
_SHUFFLE = 8  # keeps these random numbers apart from those of the split


@dataclass(frozen=True, eq=False)
class FrameSet:
    """N frames: `grey` float32 and `nerves` bool, each [N,S,S], `cohorts` index into COHORTS [N] (-1 unknown)."""

    records: tuple[Record, ...]
    grey: np.ndarray
    nerves: np.ndarray
    cohorts: np.ndarray

    def __len__(self) -> int:
        return len(self.records)

    @property
    def patients(self) -> list[str]:
        return [str(record.patient) for record in self.records]


@dataclass(frozen=True, eq=False)
class StudyData:
    """What the arms are trained on and tested on, and a hash of all of it."""

    train: FrameSet
    test: FrameSet
    synthetic: FrameSet
    hash: str


def load_study(config: UtilityConfig) -> StudyData:
    """Read and split all frames; raises TrainingError, DataError or ImageError naming what is wrong with them."""
    data, seed = config.data, config.run.seed
    train, test = split_real(list(list_frames(Path(data.real)).records), data, seed)
    synthetic = list(list_frames(Path(data.synthetic)).records)
    for name, records in (("real", [*train, *test]), ("synthetic", synthetic)):
        _check_labels(name, records, config)
    real, held_out, made = (load_frames(records, data) for records in (train, test, synthetic))
    if data.shuffle_labels:
        made = _shuffled(made, np.random.default_rng([_SHUFFLE, seed]))
    found = hashlib.sha256()
    for part in (real, held_out, made):
        for array in (part.grey, part.nerves, part.cohorts):
            found.update(np.ascontiguousarray(array).tobytes())
    return StudyData(real, held_out, made, found.hexdigest())


def split_real(records: Sequence[Record], data: UtilityData, seed: int) -> tuple[list[Record], list[Record]]:
    """Training and test records that share no patient; raises as `split_records` does, without its way out."""
    unknown = [record.frame.name for record in records if record.patient is None]
    if unknown:
        raise DataError(
            f"{len(unknown)} of {len(records)} real frames have no patient, {unknown[0]} for one; frames of one eye "
            "could be trained on and tested on, and no interval would hold",
            fix="list the frames in a table.csv with a column patient",
        )
    if data.test_share is not None:
        records = [replace(record, split=None) for record in records]
    elif any(record.split is None for record in records):
        raise DataError(
            f"{data.real} does not say which patients are tested on",
            fix="fill in the column split, as the generator was trained with it, or set data.test_share",
        )
    share = data.test_share or 0.0
    splits = split_records(records, (1.0 - share, 0.0, share), seed, allow_image_split=False)
    if not splits.test:
        raise DataError(f"{data.real} has no frame in the split test", fix="fill in the column split")
    return splits.train, splits.test


def load_frames(records: Sequence[Record], data: UtilityData) -> FrameSet:
    """Read frames and masks; raises ImageError for a file that cannot be read or is too small."""
    with ThreadPoolExecutor() as pool:
        pairs = list(pool.map(partial(_load, data=data), records))
    grey, nerves = (np.stack(part) for part in zip(*pairs, strict=True))
    cohorts = np.array([COHORTS.index(r.cohort) if r.cohort else -1 for r in records])
    return FrameSet(tuple(records), grey, nerves, cohorts)


def _load(record: Record, data: UtilityData) -> tuple[np.ndarray, np.ndarray]:
    frame, mask = load_frame(record), load_mask(record)
    if mask is not None and mask.shape != frame.shape:
        raise ImageError(
            f"{record.mask} and its frame have two sizes", fix="draw the mask at the size of the frame"
        )
    grey = _squared(frame, record, data)
    nerves = np.zeros(grey.shape, bool) if mask is None else _squared(mask, record, data) > NERVE
    return grey.astype(np.float32), nerves


def _squared(pixels: np.ndarray, record: Record, data: UtilityData) -> np.ndarray:
    """Resample to data.um_per_px and cut out the central square."""
    import cv2

    scale, side = record.um_per_px / data.um_per_px, data.side_px
    height, width = (round(length * scale) for length in pixels.shape)
    if min(height, width) < SLACK * side:
        raise ImageError(
            f"{record.frame} has {width} x {height} pixels at {data.um_per_px:g} um, less than data.side_px, {side}",
            fix="lower data.side_px or data.um_per_px",
        )
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    sized = cv2.resize(pixels.astype(np.float32), (width, height), interpolation=method)
    missing = max(0, side - height), max(0, side - width)
    sized = np.pad(sized, [(0, missing[0]), (0, missing[1])], mode="edge")
    top, left = (sized.shape[0] - side) // 2, (sized.shape[1] - side) // 2
    return sized[top : top + side, left : left + side]


def _check_labels(name: str, records: Sequence[Record], config: UtilityConfig) -> None:
    """Every frame needs the label of every task."""
    for task, attribute in (("segmentation", "mask"), ("classification", "cohort")):
        bare = [record.frame.name for record in records if getattr(record, attribute) is None]
        if bare and task in config.training.tasks:
            raise DataError(
                f"{len(bare)} of {len(records)} {name} frames have no {attribute}, {bare[0]} for one",
                fix=f"add it to the table, or leave {task} out of training.tasks",
            )
    if name == "real" and "classification" in config.training.tasks:
        found = Counter(record.cohort for record in records)
        if len(found) < 2:
            raise DataError(
                "All real frames are of one cohort, so there is nothing to tell apart",
                fix="bring frames of another cohort, or leave classification out of training.tasks",
            )


def _shuffled(frames: FrameSet, rng: np.random.Generator) -> FrameSet:
    order = rng.permutation(len(frames))
    return replace(frames, nerves=frames.nerves[order], cohorts=frames.cohorts[order])
