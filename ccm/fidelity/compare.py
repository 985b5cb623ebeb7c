"""Two sets of frames -> their distances, and what those were measured on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..errors import ImageError
from .features import FeatureExtractor, extract
from .frechet import FrechetFloor, FrechetResult, frechet_distance, frechet_floor
from .mmd import MMDResult, mmd

RANGE_SLACK = 0.05  # sharpening and resampling overshoot 0..1 a little; 0..255 does not


@dataclass(frozen=True)
class FrameSet:
    """What the frames themselves say, before any network looks at them."""

    frames: int
    height_px: int
    width_px: int
    distinct: int  # frames that repeat no earlier frame of the set


@dataclass(frozen=True)
class FidelityReport:
    """Both distances, the floor under the second, and what the frames were."""

    reference: FrameSet
    generated: FrameSet
    exact_copies: int  # generated frames equal to a reference frame, pixel for pixel
    mmd: MMDResult
    frechet: FrechetResult
    floor: FrechetFloor | None
    seed: int


def compare(
    reference: np.ndarray,
    generated: np.ndarray,
    extractor: FeatureExtractor,
    seed: int,
    on_batch: Callable[[int], None] = lambda frames: None,
) -> FidelityReport:
    """Measure how far generated frames [M,H,W] lie from reference frames [N,H',W'], all in 0..1.

    The sizes may differ: the extractor resamples every frame to its own input. Raises ImageError on fewer
    than two frames, on a blank frame, on a set that repeats one frame, and on values outside 0..1.
    """
    first, second = check_frames("Reference", reference), check_frames("Generated", generated)
    real = extract(extractor, reference, on_batch=on_batch)
    fake = extract(extractor, generated, on_batch=on_batch)
    rng = np.random.default_rng(seed)
    originals = set(_fingerprints(reference))
    return FidelityReport(
        reference=first,
        generated=second,
        exact_copies=sum(frame in originals for frame in _fingerprints(generated)),
        mmd=mmd(real, fake, rng),
        frechet=frechet_distance(real, fake),
        floor=frechet_floor(real, fake, rng),
        seed=seed,
    )


def check_frames(name: str, grey: np.ndarray) -> FrameSet:
    """Describe a set of frames [N,H,W]; raises ImageError where no distance to it could be trusted."""
    frames, height, width = grey.shape
    if frames < 2:
        raise ImageError(
            f"{name} has too few frames ({frames}); a distance needs a spread",
            fix="pass at least 2 frames, better 100",
        )
    if grey.min() < -RANGE_SLACK or grey.max() > 1.0 + RANGE_SLACK:
        raise ImageError(
            f"{name} holds values from {grey.min():.3g} to {grey.max():.3g}; expected 0 to 1",
            fix="scale the frames to 0..1",
        )
    blank = np.flatnonzero(np.ptp(grey, axis=(1, 2)) == 0.0)
    if len(blank):
        raise ImageError(
            f"{name} frame {blank[0]} is blank (one grey value); {len(blank)} of {frames} frames are",
            fix="remove blank frames, or generate them again",
        )
    distinct = len(set(_fingerprints(grey)))
    if distinct == 1:
        raise ImageError(f"{name} holds the same frame {frames} times", fix="pass different frames")
    return FrameSet(frames, height, width, distinct)


def _fingerprints(grey: np.ndarray) -> list[tuple[tuple[int, ...], bytes]]:
    """Shape and 8-bit pixels of each frame: frames that are equal once saved as PNG are equal here."""
    levels = np.round(np.clip(grey, 0.0, 1.0) * 255.0).astype(np.uint8)
    return [(frame.shape, frame.tobytes()) for frame in levels]
