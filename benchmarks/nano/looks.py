"""What a frame looks like, in numbers: nerves against their surroundings, cells, grain, power at each scale."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ...ccm.morphometry.skeleton import thin

NEAR_PX, FAR_PX = 6.0, 12.0  # a nerve's surroundings
PROFILE_PX = 4
CELL_LEVEL, CELL_PX = 0.1, 25
BANDS = np.geomspace(1 / 96, 0.5, 13)  # cycles per pixel


class Look(NamedTuple):
    """The appearance of one frame about the nerves of its mask.

    nerve_contrast: mean grey of the centre-lines less that of their surroundings. width_factor: area of the mean
    profile across a nerve over its peak, px. beading: spread of the grey along centre-lines, beyond that of the
    background, over the contrast. dendritic_cells: bright bodies away from nerves.
    """

    nerve_contrast: float
    width_factor: float
    beading: float
    dendritic_cells: float


def look_of(grey: np.ndarray, mask: np.ndarray) -> Look:
    """Measure a frame [H,W] in 0..1 about the nerves of a mask, bool [H,W]."""
    line = thin(mask)
    away = distance_to(line)
    around = float(grey[(away > NEAR_PX) & (away <= FAR_PX)].mean())
    profile = [
        float(grey[(away > d - 0.5) & (away <= d + 0.5)].mean()) - around for d in range(PROFILE_PX + 1)
    ]
    contrast = profile[0]
    unsigned = max(abs(contrast), 1e-3)
    width = (profile[0] + 2 * sum(profile[1:])) / unsigned
    return Look(contrast, width, _beading(grey, line, away) / unsigned, float(_cells(grey, away)))


def distance_to(line: np.ndarray) -> np.ndarray:
    """Distance [H,W] of every pixel to the nearest pixel of `line`, in pixels."""
    import cv2

    return cv2.distanceTransform((~line).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)


def _beading(grey: np.ndarray, line: np.ndarray, away: np.ndarray) -> float:
    """Standard deviation along the lines about their running mean, less the variance that the ground has."""

    def variance(where: np.ndarray) -> float:
        import cv2

        weight = where.astype(np.float32)
        mean = cv2.GaussianBlur(grey * weight, (0, 0), 12.0) / np.maximum(
            cv2.GaussianBlur(weight, (0, 0), 12.0), 1e-6
        )
        return float(np.square(grey - mean)[where].mean())

    return float(np.sqrt(max(0.0, variance(line) - variance((away > NEAR_PX) & (away <= FAR_PX)))))


def _cells(grey: np.ndarray, away: np.ndarray) -> int:
    import cv2

    frame = grey.astype(np.float32)
    bright = cv2.GaussianBlur(frame, (0, 0), 2.0) - cv2.GaussianBlur(frame, (0, 0), 10.0) > CELL_LEVEL
    bright &= away > NEAR_PX
    _, _, stats, _ = cv2.connectedComponentsWithStats(bright.astype(np.uint8), connectivity=8)
    return int((stats[1:, cv2.CC_STAT_AREA] >= CELL_PX).sum())


def speckle_contrast(grey: np.ndarray, mask: np.ndarray) -> float:
    """Median over the background of the local standard deviation over the local mean, windows of 9 pixels."""
    import cv2

    frame = grey.astype(np.float32)
    mean = cv2.boxFilter(frame, -1, (9, 9))
    variance = np.maximum(cv2.boxFilter(frame * frame, -1, (9, 9)) - mean * mean, 0.0)
    ground = distance_to(mask) > NEAR_PX
    return float(np.median(np.sqrt(variance[ground]) / np.maximum(mean[ground], 1e-3)))


def radial_power(grey: np.ndarray) -> np.ndarray:
    """Mean power of a frame [H,W] in each of the BANDS, under a Hann window, [12]."""
    height, width = grey.shape
    window = np.outer(np.hanning(height), np.hanning(width))
    power = np.abs(np.fft.fft2((grey - grey.mean()) * window)) ** 2
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None])
    band = np.digitize(radius.ravel(), BANDS)
    return np.array([power.ravel()[band == number].mean() for number in range(1, len(BANDS))])
