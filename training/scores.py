"""What is measured on generated frames of held-out patients."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..ccm.cohorts import Cohort
from ..ccm.equivalence.margins import default_margins
from ..ccm.errors import ImageError
from ..ccm.fidelity.features import FeatureSet
from ..ccm.fidelity.memorisation import neighbours
from ..ccm.fidelity.mmd import mmd
from ..ccm.fidelity.paired import psnr_db, ssim
from ..ccm.frames.record import Record
from ..ccm.morphometry import NerveBiomarkers, centre_line_f1, measure_nerves
from ..ccm.segmentation import segment_nerves
from ..ccm.statistics.equivalence import ALPHA, Margin, tost_paired

log = logging.getLogger(__name__)

BIOMARKERS = ("cnfl_mm_per_mm2", "cnfd_per_mm2", "cnbd_per_mm2")
PERMUTATIONS = 199  # of the two-sample test; only its value is used


@dataclass(frozen=True)
class Pair:
    """A held-out frame [H,W] in 0..1 with its mask [H,W], or None, and its pixel size in um."""

    frame: np.ndarray
    mask: np.ndarray | None
    um_per_px: float


@dataclass(frozen=True)
class Traced:
    """The nerves that the pack's own segmentation sees in a frame."""

    mask: np.ndarray  # bool [H,W]
    biomarkers: NerveBiomarkers


def trace(frame: np.ndarray, um_per_px: float) -> Traced:
    """Segment and measure one frame [H,W] in 0..1."""
    mask = segment_nerves(frame[None], um_per_px).mask[0]
    return Traced(mask, measure_nerves(mask, um_per_px))


def score_frame(generated: np.ndarray, traced: Traced, pair: Pair) -> dict[str, float]:
    """Return the numbers of one generated frame [H,W]; those that need a mask only where there is one.

    adherence_f1, adherence_precision, adherence_recall: centre-lines of the traced frame against those of the mask,
    3 px of tolerance. *_error: traced frame less mask, absolute. ssim, psnr: against the real frame.
    """
    real, made = pair.frame.astype(np.float64), np.clip(generated, 0, 1).astype(np.float64)
    numbers = {"ssim": ssim(real, made), "psnr": psnr_db(real, made)}
    if pair.mask is None:
        return numbers
    adherence = centre_line_f1(traced.mask, pair.mask)
    wanted = measure_nerves(pair.mask, pair.um_per_px)
    numbers |= {f"adherence_{name}": value for name, value in adherence._asdict().items()}
    for name in BIOMARKERS:
        numbers[f"{name}_error"] = abs(getattr(traced.biomarkers, name) - getattr(wanted, name))
    return numbers


def score_set(generated: FeatureSet, heldout: FeatureSet, training: Sequence[FeatureSet]) -> dict[str, float]:
    """Return the numbers of a set of generated frames; `training` holds the training frames in each orientation.

    mmd: unbiased squared MMD to the held-out frames. nearest_dcr: mean distance to the nearest training frame over
    that of held-out frames; 1 is as far as real frames of other patients are. nearest_nndr: the mean ratio of
    nearest to second nearest. copies: frames whose ratio is below that of every held-out frame.
    """
    try:
        distance = mmd(generated, heldout, np.random.default_rng(0), PERMUTATIONS).statistics.value
    except ImageError as error:
        log.warning("MMD cannot be computed: %s", error)
        distance = math.nan
    orientations = [one.values for one in training]
    _, dcr, nndr = neighbours(generated.values, orientations)
    _, real_dcr, real_nndr = neighbours(heldout.values, orientations)
    return {
        "mmd": distance,
        "nearest_dcr": float(dcr.mean() / max(real_dcr.mean(), 1e-12)),
        "nearest_nndr": float(nndr.mean()),
        "copies": float((nndr < real_nndr.min()).sum()),
    }


def equivalence(
    generated: Sequence[Traced], real: Sequence[Traced], records: Sequence[Record]
) -> dict[str, float]:
    """Return for each biomarker whether equivalence to the real frames is shown, 1 or 0, in every cohort.

    TOST of the paired differences, one mean for each patient, by the default margins; the largest p of the cohorts
    counts, and a cohort with fewer than two patients shows nothing. Frames share their masks: it is the mask that is
    followed, not the population that is real. Empty where patients or cohorts are not known.
    """
    shown = {}
    for name in BIOMARKERS:
        change: dict[Cohort, dict[str, list[float]]] = {}
        for made, wanted, record in zip(generated, real, records, strict=True):
            if record.patient is None or record.cohort is None:
                return {}
            differs = getattr(made.biomarkers, name) - getattr(wanted.biomarkers, name)
            change.setdefault(record.cohort, {}).setdefault(record.patient, []).append(differs)
        p = max(_tost_p(patients, default_margins()[name][cohort]) for cohort, patients in change.items())
        shown[f"{name}_equivalent"] = float(p <= ALPHA)
    return shown


def _tost_p(patients: Mapping[str, Sequence[float]], margin: Margin) -> float:
    changes = [float(np.mean(values)) for values in patients.values()]
    return tost_paired([0.0] * len(changes), changes, margin).p_value if len(changes) > 1 else 1.0


def means(frames: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each number over the frames that have it."""
    names = dict.fromkeys(name for frame in frames for name in frame)
    return {name: float(np.mean([f[name] for f in frames if name in f])) for name in names}
