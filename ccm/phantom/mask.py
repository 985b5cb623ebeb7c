"""Nerve trees as pixel masks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..images import FIELD_PX

if TYPE_CHECKING:
    from .topology import NerveTree

_SHIFT = 4
_SUPERSAMPLE = 4


def draw_mask(
    tree: NerveTree, size_px: tuple[int, int] = (FIELD_PX, FIELD_PX), width_px: float | None = None
) -> np.ndarray:
    """Draw a tree as an anti-aliased mask, uint8 [H,W], 255 inside the nerves.

    size_px is (width, height). Nerves have their true widths, or width_px everywhere if given.
    """
    import cv2

    width, height = size_px
    scale = np.array([width / tree.size_um[0], height / tree.size_um[1]]) * _SUPERSAMPLE
    canvas = np.zeros((height * _SUPERSAMPLE, width * _SUPERSAMPLE), np.uint8)
    for nerve in tree.nerves:
        line = np.round((nerve.points_um * scale - 0.5) * (1 << _SHIFT)).astype(np.int32)
        if width_px is not None:
            thick = max(1, round(width_px * _SUPERSAMPLE))
            cv2.polylines(canvas, [line[:, None]], False, 255, thick, cv2.LINE_8, _SHIFT)
            continue
        thicks = np.maximum(1, np.round(nerve.width_um * scale.mean())).astype(int)
        for start in range(0, len(line) - 1, 6):
            piece = line[start : start + 7, None]
            cv2.polylines(canvas, [piece], False, 255, int(thicks[start]), cv2.LINE_8, _SHIFT)
    return cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA)
