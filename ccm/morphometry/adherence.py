"""How well the centre-lines of two nerve masks lie on each other."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..errors import MaskError
from .skeleton import as_nerve_mask, thin


class Adherence(NamedTuple):
    """Share of centre-line a near b (precision), of b near a (recall), and their harmonic mean (F1)."""

    precision: float
    recall: float
    f1: float


def centre_line_f1(mask_a: np.ndarray, mask_b: np.ndarray, tolerance_px: float = 3.0) -> Adherence:
    """Compare the centre-lines of a measured mask a and a reference mask b, both [H,W].

    A centre-line pixel is right when a centre-line pixel of the other mask lies within `tolerance_px` (inclusive,
    between pixel centres): the buffer method of Heipke et al. 1997 for extracted roads. Two empty masks agree
    (1, 1, 1); an empty and a filled one do not (0, 0, 0). Raises MaskError if the sizes differ.
    """
    a, b = as_nerve_mask(mask_a), as_nerve_mask(mask_b)
    if a.shape != b.shape:
        raise MaskError(f"Masks have sizes {a.shape} and {b.shape}", fix="bring both to the same size first")
    line_a, line_b = thin(a), thin(b)
    if not line_a.any() or not line_b.any():
        value = float(line_a.any() == line_b.any())
        return Adherence(value, value, value)
    precision = float((_distance_to(line_b)[line_a] <= tolerance_px).mean())
    recall = float((_distance_to(line_a)[line_b] <= tolerance_px).mean())
    total = precision + recall
    return Adherence(precision, recall, 2.0 * precision * recall / total if total else 0.0)


def _distance_to(line: np.ndarray) -> np.ndarray:
    """Distance [H,W] of every pixel to the nearest pixel of `line`, in pixels."""
    import cv2

    return cv2.distanceTransform((~line).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
