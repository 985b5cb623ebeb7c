"""A synthetic frame that goes back to a test patient: its mask, or the frame itself, has been seen before the test.

Three ways to find out, each by name: the column source_patient, the likeness of the masks in any orientation, and the
perceptual hashes of the frames. A generator that was *trained* on test patients leaves no such trace; that is what the
split is made for beforehand.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...ccm.errors import DataError
from ..data.duplicates import find_near, perceptual_hash
from ..data.sampler import ORIENTATIONS, orient
from .data import FrameSet

NAMED = 5
WIDENED_PX = 5  # a mask drawn anew, a little thicker or moved a little, is the same mask
ALIKE = 0.6  # correlation of two widened masks from which they count as one

Leak = tuple[str, str]  # the synthetic frame, and what gives it away


def refuse_leaks(synthetic: FrameSet, test: FrameSet) -> None:
    """Raise DataError that names the synthetic frames that go back to a test patient, NAMED of them at most."""
    found: dict[str, str] = {}
    for search in (by_source, by_mask, by_frame):
        for name, why in search(synthetic, test):
            found.setdefault(name, why)
    if not found:
        return
    told = "".join(f"\n  - {name}: {why}" for name, why in list(found.items())[:NAMED])
    more = f"\n  and {len(found) - NAMED} more" if len(found) > NAMED else ""
    raise DataError(
        f"{len(found)} synthetic frames go back to patients that are tested on, which would be no test:{told}{more}\n",
        fix="remove them, or generate from masks of training patients",
    )


def unknown_sources(synthetic: FrameSet) -> int:
    """How many synthetic frames do not say whose mask they show."""
    return sum(record.source_patient is None for record in synthetic.records)


def by_source(synthetic: FrameSet, test: FrameSet) -> Iterator[Leak]:
    """Yield the frames whose source_patient is a test patient."""
    tested = set(test.patients)
    for record in synthetic.records:
        if record.source_patient in tested:
            yield record.frame.name, f"its source_patient is {record.source_patient}"


def by_mask(synthetic: FrameSet, test: FrameSet) -> Iterator[Leak]:
    """Yield the frames whose mask is that of a test frame, in one of the eight orientations."""
    alike = mask_likeness(synthetic.nerves, test.nerves)
    for number, nearest in enumerate(alike.argmax(axis=1)):
        if alike[number, nearest] >= ALIKE:
            record = test.records[nearest]
            name = synthetic.records[number].frame.name
            yield name, f"its mask is that of {record.frame.name} of patient {record.patient}"


def by_frame(synthetic: FrameSet, test: FrameSet) -> Iterator[Leak]:
    """Yield the frames that are a copy of a test frame."""
    hashes = [perceptual_hash(frame) for frame in (*synthetic.grey, *test.grey)]
    for first, second, bits in find_near(hashes):
        if first < len(synthetic) <= second:
            record = test.records[second - len(synthetic)]
            name = synthetic.records[first].frame.name
            yield (
                name,
                f"it is nearly {record.frame.name} of patient {record.patient} ({bits} of 255 bits differ)",
            )


def mask_likeness(masks: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Correlation [N,M] of the widened masks bool [N,S,S] and [M,S,S], in the orientation where it is highest."""
    ours = _standardised(masks)
    turned = [_standardised(orient(others, orientation)) for orientation in range(ORIENTATIONS)]
    return np.max([ours @ view.T for view in turned], axis=0)


def _standardised(masks: np.ndarray) -> np.ndarray:
    """Widened masks [N,S*S] of mean 0 and length 1; an empty mask is like no other."""
    import cv2

    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (WIDENED_PX, WIDENED_PX))
    wide = np.stack([cv2.dilate(mask.astype(np.float32), kernel).ravel() for mask in masks])
    wide -= wide.mean(axis=1, keepdims=True)
    return wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-6)
