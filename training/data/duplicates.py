"""Near-duplicate frames by perceptual hash: saved again, brighter, noisier, resized, shifted, mirrored or turned.

The hash is the signs of the lowest 16 x 16 cosine coefficients of the frame (after Zauner 2010, with more
coefficients: all frames of the sub-basal plexus look alike coarsely). Measured on 88 real frames of two eyes: a
frame and its copy saved as JPEG, brighter by 30 %, noisier or resized differ in at most 20 of 255 bits, shifted by
8 pixels of 384 or cut by 5 % in at most 60; two frames differ in 83 or more, but for 5 of 3,828 pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

SIDE = 16
BITS = SIDE * SIDE - 1
ALIKE = 64  # bits in which near-duplicates differ at most
_BLOCK = 512


class Near(NamedTuple):
    """Two frames, by index, first < second, and how many of BITS bits they differ in at the best orientation."""

    first: int
    second: int
    bits: int


def perceptual_hash(frame: np.ndarray) -> np.ndarray:
    """Return the signs, float32 [16,16] of -1 and 1, of a frame's lowest cosine coefficients; the mean is left out."""
    import cv2

    small = cv2.resize(frame.astype(np.float32), (4 * SIDE, 4 * SIDE), interpolation=cv2.INTER_AREA)
    signs = np.where(cv2.dct(small)[:SIDE, :SIDE] > 0, np.float32(1), np.float32(-1))
    signs[0, 0] = 0
    return signs


def find_near(hashes: Sequence[np.ndarray]) -> list[Near]:
    """Return all pairs of hashes that differ in at most ALIKE bits at any of the eight orientations.

    Mirroring a picture turns the sign of its odd coefficients along that axis; mirroring it at its diagonal
    transposes them.
    """
    if len(hashes) < 2:
        return []
    flat = np.stack(hashes).reshape(len(hashes), -1)
    turned = [view.reshape(len(hashes), -1) for view in _orientations(np.stack(hashes))]
    found = []
    for start in range(0, len(flat), _BLOCK):
        block = flat[start : start + _BLOCK]
        agreement = np.max([block @ view.T for view in turned], axis=0)  # bits alike less bits different
        bits = (BITS - agreement) / 2
        bits[np.tri(bits.shape[0], bits.shape[1], start, dtype=bool)] = (
            BITS  # every pair once, and none with itself
        )
        found += [Near(int(i) + start, int(j), int(bits[i, j])) for i, j in np.argwhere(bits <= ALIKE)]
    return found


def _orientations(signs: np.ndarray) -> list[np.ndarray]:
    """Return the hashes [N,16,16] of the eight orientations of the frames."""
    odd = np.where(np.arange(SIDE) % 2, np.float32(-1), np.float32(1))
    views = []
    for view in (signs, signs.transpose(0, 2, 1)):
        views += [view, view * odd, view * odd[:, None], view * odd * odd[:, None]]
    return views
