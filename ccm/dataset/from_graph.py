"""Frames of one run of a graph, added to a data set."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..cohorts import parse_cohort
from ..errors import ImageError, MaskError
from ..images import ASPECT_TOLERANCE, FIELD_UM
from .folder import DatasetFolder, Pictures, Place, check_label
from .marks import encode, sha256


@dataclass(frozen=True)
class Origin:
    """Whose frames they are meant to be, and the texts, such as the graph, that every PNG carries.

    Without a patient, each frame is of an invented one of its own.
    """

    cohort: str
    patient: str
    eye: str
    texts: Mapping[str, str]


class Saved(NamedTuple):
    """How many frames were new, and how many the data set has now."""

    added: int
    total: int


def save_batch(root: Path, origin: Origin, frames: np.ndarray, masks: np.ndarray | None) -> Saved:
    """Add frames [B,H,W] in 0..1 and their masks, [B,H,W], one for all or None.

    A frame that the data set has already, pixel for pixel, as after the same seed, is not added again.

    Raises CohortError, DataError for a patient that no file name can have, ImageError for frames that are not
    square, and MaskError where masks and frames do not go together.
    """
    _check(frames, masks)
    cohort = parse_cohort(origin.cohort).value
    patient = origin.patient and check_label("patient", origin.patient)
    with DatasetFolder(root) as folder:
        known = folder.pixels()
        places = _places(folder, cohort, patient, origin.eye)
        added = 0
        for index, frame in enumerate(map(_bytes, frames)):
            if sha256(frame.tobytes()) in known:
                continue
            mask = None if masks is None else encode(_bytes(masks[index % len(masks)] > 0.5))
            told = {"um_per_px": round(FIELD_UM / frame.shape[1], 6), **_graph_hash(origin.texts)}
            pictures = Pictures(encode(frame, origin.texts), mask)
            folder.manifest.append([folder.save(next(places), pictures, told)])
            added += 1
        return Saved(added, folder.finish())


def _check(frames: np.ndarray, masks: np.ndarray | None) -> None:
    height, width = frames.shape[1:]
    if abs(width / height - 1) > ASPECT_TOLERANCE:
        raise ImageError(
            f"The frames are {width} x {height} pixels", fix="save square frames, each one field of 400 um"
        )
    if masks is not None and (len(masks) not in (1, len(frames)) or masks.shape[1:] != frames.shape[1:]):
        raise MaskError(
            f"There are {len(frames)} frames of {width} x {height} pixels and {len(masks)} masks of "
            f"{masks.shape[2]} x {masks.shape[1]}",
            fix="connect the masks that the frames were made from",
        )


def _places(folder: DatasetFolder, cohort: str, patient: str, eye: str) -> Iterator[Place]:
    """The places that are free: further frames of the patient's eye, or further patients of the cohort."""
    rows = [row for _, row in folder.manifest.rows()]
    if patient:
        taken = sum(row["patient"] == patient and row["eye"] == eye for row in rows)
        return (Place(cohort, patient, eye, number) for number in count(taken + 1))
    known = {row["patient"] for row in rows}
    invented = (f"SYN{cohort}{number:05}" for number in count(1))
    return (Place(cohort, name, eye, 1) for name in invented if name not in known)


def _bytes(grey: np.ndarray) -> np.ndarray:
    return np.round(np.clip(grey.astype(np.float32), 0.0, 1.0) * 255).astype(np.uint8)


def _graph_hash(texts: Mapping[str, str]) -> dict[str, Any]:
    if "prompt" not in texts:
        return {}
    fixed = json.dumps(json.loads(texts["prompt"]), sort_keys=True)
    return {"graph_sha256": hashlib.sha256(fixed.encode()).hexdigest()}
