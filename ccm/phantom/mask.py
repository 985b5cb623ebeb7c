"""Centre-lines and nerve trees drawn as pixel masks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from ..errors import MaskError
from ..images import FIELD_PX
from .curves import headings_of

if TYPE_CHECKING:
    from .tree import NerveTree

LARGEST_PX = 2048  # 0.2 um per pixel, finer than a confocal microscope resolves
_FINE = 4  # drawn at this multiple of the size, then averaged
_SHIFT = 4  # fractional bits of the drawing coordinates
_RIM = 0.5  # OpenCV fills the outline as well: half a fine pixel more on every side
_EDGE_PX = 1e-3


def check_drawing(size_px: int, width_px: float) -> None:
    """Raise MaskError unless nerves of width_px pixels can be drawn in a field of size_px pixels a side."""
    if not 1 <= size_px <= LARGEST_PX:
        raise MaskError(
            f"The field is to have {size_px} pixels a side", fix=f"use {FIELD_PX}, or up to {LARGEST_PX}"
        )
    if not 0 < width_px <= size_px:
        raise MaskError(
            f"The nerves are to be {width_px} pixels wide in a field of {size_px}", fix="use a width like 3"
        )


def draw_mask(
    tree: NerveTree, size_px: tuple[int, int] = (FIELD_PX, FIELD_PX), width_px: float | None = None
) -> np.ndarray:
    """Draw a tree as an anti-aliased mask, uint8 [H,W], 255 inside the nerves.

    size_px is (width, height). Nerves have their true widths, or width_px everywhere if that is given. Drawn
    widths are right to a quarter pixel, on average to 0.1.
    """
    scale = np.array([size_px[0] / tree.size_um[0], size_px[1] / tree.size_um[1]])
    lines = []
    for nerve in tree.nerves:
        widths = (
            nerve.width_um * scale.mean() if width_px is None else np.full(len(nerve.points_um), width_px)
        )
        lines.append((nerve.points_um * scale, widths))
    return draw_lines(lines, size_px)


def draw_lines(lines: Iterable[tuple[np.ndarray, np.ndarray]], size_px: tuple[int, int]) -> np.ndarray:
    """Draw lines (points [N,2] x, y and widths [N], both in pixels) as an anti-aliased mask, uint8 [H,W].

    Ends are round, as a nerve's are; a line that ends on the border goes on beyond it at its full width.
    """
    import cv2

    width, height = size_px
    canvas = np.zeros((height * _FINE, width * _FINE), np.uint8)
    for points, widths in lines:
        path, radius = _past_border(points, widths / 2, size_px)
        heading = headings_of(path, 1)
        aside = (radius - _RIM / _FINE)[:, None] * np.stack([-np.sin(heading), np.cos(heading)], axis=1)
        cv2.fillPoly(
            canvas, [_fixed(np.vstack([path + aside, (path - aside)[::-1]]))], 255, cv2.LINE_8, _SHIFT
        )
        for end in (0, -1):
            cap = round((radius[end] * _FINE - _RIM) * (1 << _SHIFT))
            cv2.circle(canvas, tuple(_fixed(path[end]).tolist()), cap, 255, -1, cv2.LINE_8, _SHIFT)
    half = cv2.resize(
        canvas, (2 * width, 2 * height), interpolation=cv2.INTER_AREA
    )  # halving is much the fastest
    return cv2.resize(half, (width, height), interpolation=cv2.INTER_AREA)


def _past_border(
    points: np.ndarray, radius: np.ndarray, size_px: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Lead a line that ends on the border on beyond it by four times its half-width."""
    for end, inner in ((0, 1), (-1, -2)):
        if np.minimum(points[end], np.asarray(size_px) - points[end]).min() > _EDGE_PX:
            continue
        step = points[end] - points[inner]
        beyond = points[end] + step * (4 * radius[end] / max(float(np.hypot(*step)), 1e-9))
        parts = ([beyond], points) if end == 0 else (points, [beyond])
        rims = ([radius[0]], radius) if end == 0 else (radius, [radius[-1]])
        points, radius = np.concatenate(parts), np.concatenate(rims)
    return points, radius


def _fixed(points: np.ndarray) -> np.ndarray:
    """Turn pixel coordinates into fixed-point ones of the fine canvas, whose pixel centres are whole."""
    return np.round((points * _FINE - 0.5) * (1 << _SHIFT)).astype(np.int32)
