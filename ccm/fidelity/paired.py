"""Similarity of frame pairs that should show the same field: SSIM, MS-SSIM and PSNR.

Convention, part of every number: grey values in 0..1 (data range 1), Gaussian window of sigma 1.5 px cut at
3.5 sigma (11 x 11 px), population covariance, mean over all windows that lie wholly inside the frame, K1 =
0.01, K2 = 0.03. Other conventions give other numbers for the same pair.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import ImageError

CONVENTION = "grey 0..1, Gaussian sigma 1.5 px (11 x 11), population covariance, data range 1"
SIGMA_PX = 1.5
TRUNCATE = 3.5
BORDER_PX = 5  # int(TRUNCATE * SIGMA_PX + 0.5): half the window
WINDOW_PX = 2 * BORDER_PX + 1
C1 = 0.01**2
C2 = 0.03**2
SCALE_WEIGHTS = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])  # Wang et al. 2003
MS_SMALLEST_PX = WINDOW_PX * 2 ** (len(SCALE_WEIGHTS) - 1)


@dataclass(frozen=True, eq=False)
class PairedResult:
    """One value per pair; `psnr_db` is infinite for identical frames, `ms_ssim` None below 176 px a side."""

    ssim: np.ndarray
    ms_ssim: np.ndarray | None
    psnr_db: np.ndarray
    n: int
    convention: str = CONVENTION


def paired_similarity(reference: np.ndarray, generated: np.ndarray) -> PairedResult:
    """Compare frame i of `reference` with frame i of `generated`, both [N,H,W] in 0..1.

    Raises ImageError on unequal shapes, frames under 11 px, NaN, and values outside 0..1 (a data range of 1
    would be wrong for them by 6 dB and more).
    """
    _check_pairs(reference, generated)
    pairs = [
        (one.astype(np.float64), other.astype(np.float64))
        for one, other in zip(reference, generated, strict=True)
    ]
    large = min(reference.shape[1:]) >= MS_SMALLEST_PX
    return PairedResult(
        ssim=np.array([ssim(one, other) for one, other in pairs]),
        ms_ssim=np.array([ms_ssim(one, other) for one, other in pairs]) if large else None,
        psnr_db=np.array([psnr_db(one, other) for one, other in pairs]),
        n=len(pairs),
    )


def psnr_db(x: np.ndarray, y: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB of frames [H,W] in 0..1: -10 log10 of the mean squared error."""
    error = float(np.mean((x - y) ** 2))
    return float("inf") if error == 0.0 else -10.0 * float(np.log10(error))


def ssim(x: np.ndarray, y: np.ndarray) -> float:
    """Mean structural similarity of frames [H,W] in 0..1 (Wang et al. 2004, eq. 13)."""
    luminance, structure = _ssim_maps(x, y)
    return float((luminance * structure).mean())


def ms_ssim(x: np.ndarray, y: np.ndarray) -> float:
    """Multi-scale structural similarity of frames [H,W] in 0..1 over five scales (Wang et al. 2003, eq. 7).

    H and W are 176 px or more. Each scale is the 2 x 2 mean of the one before. A negative mean structure has no
    real power; such frames are anti-correlated, and their similarity is 0.
    """
    terms = []
    for scale in range(len(SCALE_WEIGHTS)):
        if scale:
            x, y = _halve(x), _halve(y)
        luminance, structure = _ssim_maps(x, y)
        last = scale == len(SCALE_WEIGHTS) - 1
        terms.append((luminance * structure).mean() if last else structure.mean())
    if min(terms) < 0.0:
        return 0.0
    return float(np.prod(np.power(terms, SCALE_WEIGHTS)))


def _ssim_maps(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Luminance and contrast-structure term of every window that lies wholly inside frames [H,W]."""
    mean_x, mean_y = _window_mean(x), _window_mean(y)
    var_x = _window_mean(x * x) - mean_x**2
    var_y = _window_mean(y * y) - mean_y**2
    covariance = _window_mean(x * y) - mean_x * mean_y
    luminance = (2.0 * mean_x * mean_y + C1) / (mean_x**2 + mean_y**2 + C1)
    return luminance, (2.0 * covariance + C2) / (var_x + var_y + C2)


def _window_mean(frame: np.ndarray) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    inside = slice(BORDER_PX, -BORDER_PX)
    return gaussian_filter(frame, SIGMA_PX, truncate=TRUNCATE)[inside, inside]


def _halve(frame: np.ndarray) -> np.ndarray:
    """Mean of each 2 x 2 block; an odd last row or column is dropped."""
    height, width = (side // 2 for side in frame.shape)
    return frame[: 2 * height, : 2 * width].reshape(height, 2, width, 2).mean(axis=(1, 3))


def _check_pairs(reference: np.ndarray, generated: np.ndarray) -> None:
    if reference.shape != generated.shape or reference.ndim != 3 or len(reference) == 0:
        raise ImageError(
            f"Pairs have shapes {reference.shape} and {generated.shape}; expected twice [frames, H, W]",
            fix="pass as many generated frames as reference frames, all of one size",
        )
    if min(reference.shape[1:]) < WINDOW_PX:
        raise ImageError(
            f"Frames of {reference.shape[1]} x {reference.shape[2]} px are below {WINDOW_PX} px",
            fix="compare frames at their full size",
        )
    for name, frames in (("Reference", reference), ("Generated", generated)):
        if not (np.isfinite(frames).all() and frames.min() >= 0.0 and frames.max() <= 1.0):
            raise ImageError(
                f"{name} frames hold values outside 0..1 or NaN",
                fix="scale grey values to 0..1 before comparing",
            )
