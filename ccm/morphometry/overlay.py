"""The traced nerves drawn over their frame."""

from __future__ import annotations

import numpy as np

from ..errors import ImageError
from .biomarkers import NerveBiomarkers
from .graph import Nerve, Role

# Okabe and Ito 2008: colours that colour-blind readers can tell apart
MAIN = (230, 75, 25)
BRANCH = (86, 190, 255)
OTHER = (204, 150, 215)
BRANCH_POINT = (255, 235, 64)
INK = (255, 255, 255)
COLOURS = {Role.MAIN: MAIN, Role.BRANCH: BRANCH, Role.TWIG: OTHER, Role.FRAGMENT: OTHER}
SHORT_SIDE = 768  # frames are enlarged by whole numbers to at least this, so that lines stay thin on nerves
LEGEND_PX = 30
SUBPIXEL_BITS = 4


def backgrounds(masks: np.ndarray, frames: np.ndarray | None) -> np.ndarray:
    """What to draw the nerves of masks [B,H,W] on, grey [B,H,W]: the frames [B or 1,H,W], else the dimmed masks.

    Raises ImageError if the frames do not fit the masks.
    """
    if frames is None:
        return np.float32(0.35) * masks
    if frames.shape[1:] != masks.shape[1:] or len(frames) not in (1, len(masks)):
        raise ImageError(
            f"Image has {_size(frames)}, mask has {_size(masks)}",
            fix="connect the frames that the masks were made from, or leave image unconnected",
        )
    return np.broadcast_to(frames, masks.shape)


def _size(batch: np.ndarray) -> str:
    return f"{len(batch)} frames of {batch.shape[2]} x {batch.shape[1]} pixels"


def draw_overlay(grey: np.ndarray, measured: NerveBiomarkers, um_per_px: float) -> np.ndarray:
    """Draw main fibres, branches and branch points over a frame [H,W] of values 0..1.

    Returns colour float32 [k H + 30, k W, 3] of values 0..1, k being the smallest whole number that brings the
    short side to 768 pixels. A strip below names the colours and counts what they stand for. Twigs and fragments
    share a colour: they count towards the length only.
    """
    import cv2

    scale = max(1, -(-SHORT_SIDE // min(grey.shape)))
    picture = np.repeat(np.round(255.0 * np.clip(grey, 0.0, 1.0)).astype(np.uint8)[..., None], 3, axis=-1)
    picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
    per_um = scale / um_per_px
    for nerve in sorted(measured.graph.nerves, key=lambda nerve: nerve.role is Role.MAIN):
        _draw_nerve(picture, nerve, per_um, max(1, scale))
    for point in measured.graph.branch_points_um:
        _draw_point(picture, point * per_um, max(4, round(2.5 * scale)))
    return np.concatenate([picture, _legend(picture.shape[1], measured)]) / np.float32(255.0)


def _draw_nerve(picture: np.ndarray, nerve: Nerve, per_um: float, thickness: int) -> None:
    import cv2

    lines = [_fixed(piece * per_um).reshape(-1, 1, 2) for piece in nerve.pieces_um]
    cv2.polylines(picture, lines, False, COLOURS[nerve.role], thickness, cv2.LINE_AA, SUBPIXEL_BITS)


def _draw_point(picture: np.ndarray, point: np.ndarray, radius: int) -> None:
    import cv2

    centre = tuple(_fixed(point).tolist())
    radius *= 2**SUBPIXEL_BITS
    cv2.circle(picture, centre, radius, (0, 0, 0), 4, cv2.LINE_AA, SUBPIXEL_BITS)
    cv2.circle(picture, centre, radius, BRANCH_POINT, 2, cv2.LINE_AA, SUBPIXEL_BITS)


def _fixed(points: np.ndarray) -> np.ndarray:
    """Pixel coordinates as OpenCV's fixed-point numbers, in which a pixel's centre is a whole number."""
    return np.round((points - 0.5) * 2**SUBPIXEL_BITS).astype(np.int32)


def _legend(width: int, measured: NerveBiomarkers) -> np.ndarray:
    import cv2

    strip = np.zeros((LEGEND_PX, width, 3), dtype=np.uint8)
    entries = (
        (MAIN, f"main {measured.main_fibres}"),
        (BRANCH, f"branches {measured.branches}"),
        (BRANCH_POINT, f"branch points {measured.branch_points}"),
        (OTHER, "short or ring"),
        (INK, f"CNFL {measured.cnfl_mm_per_mm2:.1f} mm/mm2"),
    )
    left = 10
    for colour, text in entries:
        (extent, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 1)
        cv2.putText(strip, text, (left, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, 1, cv2.LINE_AA)
        left += extent + 24
    return strip
