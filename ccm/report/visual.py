"""Pillar 1: how far the generated frames lie from the real ones, to a network and pixel by pixel."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..errors import ImageError
from ..fidelity.features import FeatureSet, Frames
from ..fidelity.frechet import FrechetFloor, FrechetResult, frechet_distance, frechet_floor
from ..fidelity.kid import KIDResult, kid
from ..fidelity.mmd import MMDResult, mmd
from ..fidelity.paired import CONVENTION, paired_similarity
from ..fidelity.prdc import PRDCResult, prdc
from ..statistics.clusters import cluster_means
from ..statistics.equivalence import Design
from ..statistics.means import MeanInterval, mean_interval
from .sets import EvaluationSet


@dataclass(frozen=True)
class PairMeasure:
    """One measure of similarity: mean over patients of the pairs, and the mean of wrongly paired frames."""

    name: str
    pairs: MeanInterval
    mismatched: float | None


@dataclass(frozen=True)
class Pairs:
    """Similarity of frames that share a mask; `identical` pairs have no PSNR and are left out of its mean."""

    measures: tuple[PairMeasure, ...]
    n: int
    identical: int
    convention: str


@dataclass(frozen=True)
class Visual:
    """The distances; `floor` is None where halves of the real set would be too small, and then so is `frechet`.

    `prdc` is None below 6 frames a side, `pairs` where the sets are not paired.
    """

    mmd: MMDResult
    kid: KIDResult
    prdc: PRDCResult | None
    frechet: FrechetResult | None
    floor: FrechetFloor | None
    pairs: Pairs | None


def measure_visual(
    real: EvaluationSet,
    generated: EvaluationSet,
    features: tuple[FeatureSet, FeatureSet],
    design: Design,
    rng: np.random.Generator,
) -> Visual:
    """Every distance between the two sets; raises ImageError where a set holds one subject only."""
    floor = frechet_floor(*features, rng)
    mine, theirs = _joined(real, features) if design is Design.PAIRED else features
    return Visual(
        mmd=mmd(mine, theirs, rng),
        kid=kid(mine, theirs, rng),
        prdc=_prdc(mine, theirs),
        frechet=frechet_distance(mine, theirs) if floor else None,
        floor=floor,
        pairs=_pairs(real, generated) if design is Design.PAIRED else None,
    )


def _joined(real: EvaluationSet, features: tuple[FeatureSet, FeatureSet]) -> tuple[FeatureSet, FeatureSet]:
    """Both frames of a pair belong to one subject: the patient, or where that is unknown the pair."""
    subjects = real.subjects or tuple(map(str, range(len(features[0]))))
    return replace(features[0], subjects=subjects), replace(features[1], subjects=subjects)


def _prdc(real: FeatureSet, generated: FeatureSet) -> PRDCResult | None:
    try:
        return prdc(real, generated)
    except ImageError:  # too few frames for a fifth neighbour
        return None


def _pairs(real: EvaluationSet, generated: EvaluationSet) -> Pairs:
    """The measures of all pairs, and as a floor of each real frame with the generated frame of the next pair."""
    units = real.subjects or tuple(map(str, range(len(real.frames))))
    pairs, floor = (_similarity(real.frames, generated.frames, shift) for shift in (0, 1))
    measures = [
        PairMeasure(name, _over_patients(pairs[name], units), _mean(floor[name]))
        for name in pairs
        if np.isfinite(pairs[name]).any()
    ]
    identical = int(np.isinf(pairs["PSNR (dB)"]).sum())
    return Pairs(tuple(measures), len(units), identical, CONVENTION)


def _similarity(real: Frames, generated: Frames, shift: int) -> dict[str, np.ndarray]:
    """Measures [N] of frame i and frame i + shift, one pair in memory at a time; NaN where a frame is too small."""
    n, found = len(real), []
    for i in range(n):
        other = (i + shift) % n
        frames = real[i : i + 1], generated[other : other + 1]
        one = paired_similarity(*(np.clip(frame, 0.0, 1.0) for frame in frames))
        found.append((one.ssim[0], np.nan if one.ms_ssim is None else one.ms_ssim[0], one.psnr_db[0]))
    return dict(zip(("SSIM", "MS-SSIM", "PSNR (dB)"), np.array(found).T, strict=True))


def _over_patients(values: np.ndarray, units: tuple[str, ...]) -> MeanInterval:
    known = [(value, unit) for value, unit in zip(values, units, strict=True) if np.isfinite(value)]
    means = cluster_means([value for value, _ in known], [unit for _, unit in known])
    return mean_interval(list(means.values()))


def _mean(values: np.ndarray) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None
