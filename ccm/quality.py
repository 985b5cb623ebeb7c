"""Is a frame fit to be measured? What is wrong with it, if anything is.

A frame without nerves in focus would be scored as if it had neuropathy, and bands of Bowman's layer as nerve. Every
reason has one measure and one limit; measures and limits are for frames at HRT3 pixel size.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, fields, replace
from enum import Enum

import numpy as np


class Reason(str, Enum):
    """Why a frame should not be measured."""

    NO_NERVES = "no nerves"
    OUT_OF_PLANE = "out of plane"
    BLURRED = "blurred"
    SATURATED = "saturated"
    PRESSURE_LINES = "pressure lines"

    def __str__(self) -> str:
        return self.value


ADVICE = {
    Reason.NO_NERVES: "no nerve was found; use a frame of the sub-basal plexus, or check that it is none",
    Reason.OUT_OF_PLANE: "epithelium or stroma rather than nerves; use a frame of the sub-basal plexus",
    Reason.BLURRED: "out of focus or moved; use a sharper frame of the same place",
    Reason.SATURATED: "clipped to white or black; lower or raise the gain",
    Reason.PRESSURE_LINES: "K-structures or pressure lines; look at the overlay before you use a number",
}

LEAST_EXTENT_PX = 96  # of a stretch of nerve, and of a band: 100 um
MOST_WHITE, MOST_BLACK = 0.05, 0.5  # shares of clipped pixels
WHITE, BLACK = 0.995, 0.005
LEAST_SHARPNESS = 0.55
LEAST_GRAIN = 0.7
MOST_TEXTURE = 0.92  # noise alone has 0.6 to 0.9
BAND = 0.08
LEAST_BAND_PX = 120
MOST_STRUCTURE_PX = 40  # of an even background, without nerves
COARSE = 4  # bands are looked for at a quarter of the resolution


@dataclass(frozen=True)
class FrameQuality:
    """What speaks against a frame, and the measures behind it.

    nerve_extent_px: the longest connected stretch of nerve, across its bounding box. white, black: shares of clipped
    pixels. sharpness: narrow over wide contrast along the nerves, about 1.9 for a profile of 1 pixel deviation and 0.6
    for 3; NaN without nerves. grain: finest contrast over middle contrast; a blurred picture has none. texture:
    contrast at the size of cells over the next finer one. band_extent_px: the longest broad ridge or fold.
    """

    reasons: tuple[Reason, ...]
    nerve_extent_px: float
    white: float
    black: float
    sharpness: float
    grain: float
    texture: float
    band_extent_px: float

    @property
    def usable(self) -> bool:
        """Whether nothing speaks against measuring the frame."""
        return not self.reasons


def assess_quality(grey: np.ndarray, probability: np.ndarray) -> tuple[FrameQuality, ...]:
    """Assess frames [B,H,W] in 0..1 at HRT3 pixel size with their nerve probability [B,H,W]."""
    return tuple(_assess(frame, found) for frame, found in zip(grey, probability, strict=True))


def _assess(grey: np.ndarray, probability: np.ndarray) -> FrameQuality:
    grey = np.ascontiguousarray(grey, np.float32)
    nerve = probability > 0.5
    fine, middle, cells = _bands(grey)
    measured = FrameQuality(
        reasons=(),
        nerve_extent_px=_longest(nerve),
        white=float((grey >= WHITE).mean()),
        black=float((grey <= BLACK).mean()),
        sharpness=_sharpness(grey, nerve),
        grain=_ratio(fine, middle),
        texture=_ratio(cells, middle),
        band_extent_px=COARSE * _longest(_broad_ridges(grey, nerve)),
    )
    return replace(measured, reasons=tuple(_reasons(measured)))


def _reasons(q: FrameQuality) -> list[Reason]:
    clipped = q.white > MOST_WHITE or q.black > MOST_BLACK
    seen = q.nerve_extent_px >= LEAST_EXTENT_PX
    blurred = q.grain < LEAST_GRAIN or (seen and q.sharpness < LEAST_SHARPNESS)
    reasons = [Reason.SATURATED] if clipped else []
    if blurred and not clipped:
        reasons.append(Reason.BLURRED)
    if not seen:
        cells = q.texture > MOST_TEXTURE or q.band_extent_px > MOST_STRUCTURE_PX
        reasons.append(Reason.OUT_OF_PLANE if cells else Reason.NO_NERVES)
    elif q.band_extent_px >= LEAST_BAND_PX and not blurred:
        reasons.append(Reason.PRESSURE_LINES)
    return reasons


def _bands(grey: np.ndarray) -> tuple[float, float, float]:
    """Deviations of the frame between Gaussians of 0, 1, 2 and 5 pixels."""
    g1, g2, g5 = (_soft(grey, sigma) for sigma in (1.0, 2.0, 5.0))
    return float((grey - g1).std()), float((g1 - g2).std()), float((g2 - g5).std())


def _ratio(a: float, b: float) -> float:
    return a / b if b > 1e-6 else 0.0


def _sharpness(grey: np.ndarray, nerve: np.ndarray) -> float:
    """Contrast of the nerves between Gaussians of 1 and 3 pixels over that between 3 and 9, summed along them."""
    g1, g3, g9 = (_soft(grey, sigma) for sigma in (1.0, 3.0, 9.0))
    wide = float((g3 - g9)[nerve].sum())
    return float((g1 - g3)[nerve].sum()) / wide if wide > 1e-6 else float("nan")


def _longest(mask: np.ndarray) -> float:
    """Diagonal of the bounding box of the largest connected part of a mask [H,W], in pixels."""
    import cv2

    _, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    boxes = stats[1:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]]
    return float(np.hypot(*boxes.T).max()) if len(boxes) else 0.0


def _broad_ridges(grey: np.ndarray, nerve: np.ndarray) -> np.ndarray:
    """Where a quarter of the frame bends like a broad ridge or fold, nerves painted over, bool [H/4,W/4].

    The Hessian's eigenvalues at 6 pixels differ by more than `BAND` of the local brightness.
    """
    import cv2

    size = (max(1, grey.shape[1] // COARSE), max(1, grey.shape[0] // COARSE))
    kept = cv2.erode((~nerve).astype(np.uint8), np.ones((5, 5), np.uint8)).astype(np.float32)
    light, weight = (cv2.resize(part, size, interpolation=cv2.INTER_AREA) for part in (grey * kept, kept))
    around = _soft(light, 4.0) / np.maximum(_soft(weight, 4.0), 1e-3)
    painted = light + (1.0 - weight) * around
    soft = _soft(painted, 1.5)
    dxx, dyy, dxy = (cv2.Sobel(soft, cv2.CV_32F, i, j, scale=0.25) for i, j in ((2, 0), (0, 2), (1, 1)))
    difference = np.sqrt((dxx - dyy) ** 2 + 4.0 * dxy**2) * 1.5**2
    return difference > BAND * (_soft(painted, 8.0) + 0.02)


def _soft(field: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur; a wide one is made at a half or a quarter of the resolution, which is much faster."""
    import cv2

    height, width = field.shape
    step = 1 if sigma < 3 else 2 if sigma < 8 else 4
    if step == 1 or min(height, width) < 8 * step:
        return cv2.GaussianBlur(field, (0, 0), sigma)
    small = cv2.resize(field, (width // step, height // step), interpolation=cv2.INTER_AREA)
    return cv2.resize(cv2.GaussianBlur(small, (0, 0), sigma / step), (width, height))


def describe(frames: tuple[FrameQuality, ...]) -> str:
    """One line per frame: that it is fit, or each reason with what to do about it."""
    return "\n".join(f"frame {number}: {_verdict(frame)}" for number, frame in enumerate(frames, start=1))


def _verdict(frame: FrameQuality) -> str:
    return "; ".join(f"{reason} ({ADVICE[reason]})" for reason in frame.reasons) or "fit to be measured"


def to_json(frames: tuple[FrameQuality, ...]) -> str:
    """Reasons and measures of every frame; null where a measure does not exist."""
    rows = []
    for frame in frames:
        measures = {f.name: getattr(frame, f.name) for f in fields(frame) if f.name != "reasons"}
        known = {name: None if math.isnan(value) else round(value, 4) for name, value in measures.items()}
        rows.append({"usable": frame.usable, "reasons": [str(r) for r in frame.reasons], **known})
    return json.dumps({"frames": rows}, indent=2, allow_nan=False)
