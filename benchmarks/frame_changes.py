"""Changes of a frame that must not change its biomarkers, and odd frames that must not crash a tool."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

NOISE = 5.0  # standard deviation in grey levels of 255
SEEDS = (
    17,
    101,
    102,
    103,
)  # one draw says little: the shares of frames whose CNFD stays differ by up to 12 %
Change = Callable[[np.ndarray], np.ndarray]


def _graded(change: Change) -> Change:
    """A change of grey values 0..255, made a change of uint8 frames."""
    return lambda grey: np.round(np.clip(change(grey.astype(float)), 0.0, 255.0)).astype(np.uint8)


def _noisy(seed: int, grey: np.ndarray) -> np.ndarray:
    return grey + NOISE * np.random.default_rng(seed).standard_normal(grey.shape)


def _resized(scale: float) -> Change:
    def resize(grey: np.ndarray) -> np.ndarray:
        import cv2

        method = cv2.INTER_AREA if scale < 1.0 else cv2.INTER_CUBIC
        return cv2.resize(grey, None, fx=scale, fy=scale, interpolation=method)

    return resize


CHANGES: dict[str, Sequence[Change]] = {  # of frames uint8 [H,W]; the draws of one change count together
    "rot90": [lambda grey: np.rot90(grey).copy()],
    "mirror": [lambda grey: np.fliplr(grey).copy()],
    "gain_up": [_graded(lambda grey: 1.1 * grey)],
    "gain_down": [_graded(lambda grey: 0.9 * grey)],
    "offset": [_graded(lambda grey: grey + 10.0)],
    "gamma": [_graded(lambda grey: 255.0 * (grey / 255.0) ** 1.1)],
    "noise": [_graded(partial(_noisy, seed)) for seed in SEEDS],
    "half_size": [_resized(0.5)],
    "double_size": [_resized(2.0)],
}


def odd_frames(grey: np.ndarray) -> dict[str, np.ndarray]:
    """Frames without nerves, with strange ones, and of other sizes, uint8 [H,W]; some are made of `grey`."""
    black = np.zeros_like(grey)
    rows, columns = np.indices(grey.shape)
    away = np.hypot(rows - grey.shape[0] / 2, columns - grey.shape[1] / 2)
    speck, ring = black.copy(), black.copy()
    speck[100:104, 100:104] = 255
    ring[np.abs(away - 60.0) < 3.0] = 255
    return {
        "black": black,
        "white": np.full_like(grey, 255),
        "speck": speck,
        "ring": ring,
        "noise": np.random.default_rng(SEEDS[0]).integers(0, 256, grey.shape, dtype=np.uint8),
        "small": grey[:192, :192].copy(),
        "large": np.tile(grey, (2, 2)),
        "strip": grey[:96].copy(),
    }
