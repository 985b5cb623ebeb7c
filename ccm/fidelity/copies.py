"""Frames -> which generated ones copy a training frame: in words, as JSON, and side by side."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..images import FIELD_PX
from ..plots.figures import neighbour_sheet
from .compare import check_frames
from .features import FeatureExtractor, extract, resample
from .memorisation import MemorisationResult, extract_turned, memorisation, orientations

SHOWN = 12  # pairs on the sheet, the most suspicious


@dataclass(frozen=True)
class CopyReport:
    """What was found among how many generated frames."""

    found: MemorisationResult
    n_generated: int


def find_copies(
    generated: np.ndarray,
    training: np.ndarray,
    heldout: np.ndarray,
    extractor: FeatureExtractor,
    on_batch: Callable[[int], None] = lambda frames: None,
) -> CopyReport:
    """Search frames [M,H,W] for copies of training frames [N,H',W'], judged by held-out real frames, all in 0..1.

    `on_batch` hears of `frames_seen` frames. Raises ImageError as `check_frames` does.
    """
    for name, frames in (("Generated", generated), ("Training", training), ("Held-out", heldout)):
        check_frames(name, frames)
    found = memorisation(
        extract(extractor, generated, on_batch=on_batch),
        extract_turned(extractor, training, on_batch=on_batch),
        extract(extractor, heldout, on_batch=on_batch),
    )
    return CopyReport(found, len(generated))


def frames_seen(extractor: FeatureExtractor, generated: int, training: int, heldout: int) -> int:
    """How many frames `find_copies` passes through the extractor."""
    return generated + orientations(extractor) * training + heldout


def describe(report: CopyReport) -> str:
    """The suspects by number, the thresholds, and what the search cannot see."""
    found = report.found
    lines = [
        f"{len(found.copies)} of {report.n_generated} generated frames look like copies; "
        f"about {found.by_chance:.1f} would by chance.",
    ]
    for index in found.copies[:SHOWN]:
        lines.append(f"  generated {index + 1}: {_caption(found, int(index))}")
    if len(found.copies) > SHOWN:
        lines.append(f"  and {len(found.copies) - SHOWN} more, all in the JSON")
    lines += [
        f"Threshold: NNDR {found.nndr_threshold:.3f}, number {found.rank} of {found.n_heldout} held-out frames from "
        "below.",
        f"{found.dcr_share:.1%} of generated frames lie closer to a training frame than held-out frame number "
        f"{found.rank} does.",
        f"Features of {found.extractor}; {found.n_training} training frames, turned and mirrored too.",
    ]
    if found.rank > found.quantile * (found.n_heldout + 1):
        lines.append(f"With {found.n_heldout} held-out frames the threshold is their minimum: a rough one.")
    lines.append("Held-out frames must be of other patients. A copy of part of a frame is not found.")
    return "\n".join(lines)


def to_json(report: CopyReport) -> str:
    """Ratio, distance and nearest training frame of every generated frame; frames are counted from 1."""
    found = report.found
    frames = [
        {"frame": index + 1, "nndr": float(ratio), "dcr": float(dcr), "nearest_training_frame": int(near) + 1}
        for index, (ratio, dcr, near) in enumerate(zip(found.nndr, found.dcr, found.nearest, strict=True))
    ]
    return json.dumps(
        {
            "copies": [int(index) + 1 for index in found.copies],
            "expected_by_chance": report.found.by_chance,
            "nndr_threshold": found.nndr_threshold,
            "dcr_threshold": found.dcr_threshold,
            "dcr_share": found.dcr_share,
            "quantile": found.quantile,
            "training_frames": found.n_training,
            "heldout_frames": found.n_heldout,
            "extractor": {
                "name": found.extractor.name,
                "hash": found.extractor.hash,
                "resize": found.extractor.resize,
            },
            "frames": frames,
        },
        indent=2,
        allow_nan=False,
    )


def sheet(report: CopyReport, generated: np.ndarray, training: np.ndarray) -> np.ndarray:
    """The most suspicious generated frames, each beside its nearest training frame, [1,H,W,3]."""
    worst = np.argsort(report.found.nndr)[:SHOWN]
    near = report.found.nearest[worst]
    left, right = resample(generated[worst], FIELD_PX), resample(training[near], FIELD_PX)
    captions = [_caption(report.found, int(index)) for index in worst]
    title = "Generated frames (left) beside their nearest training frames (right), lowest NNDR first"
    return neighbour_sheet(list(left), list(right), captions, title)[None]


def _caption(found: MemorisationResult, index: int) -> str:
    flag = "copy of" if index in found.copies else "nearest is"
    return f"NNDR {found.nndr[index]:.3f}, {flag} training {found.nearest[index] + 1}"
