"""Nerve masks as users bring them, made into the one style that the generator knows.

A drawing may be dark on light or light on dark, thin or thick, soft, coloured, over a frame or photographed.
It is binarised, its centre-lines are measured, and these are drawn again with one width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .errors import MaskError
from .images import ASPECT_TOLERANCE, FIELD_PX, FIELD_UM, LUMA, to_grey, to_masks
from .morphometry.graph import Role, measure_graph
from .phantom.curves import length_of
from .phantom.mask import check_drawing, draw_lines

if TYPE_CHECKING:
    import torch

WIDTH_PX = 3.0
FLAT = 0.02  # a picture whose values span less holds no drawing
LINE_LEVEL = 0.25  # a pixel is line from this share of the lines' contrast on
NOISE_SIGMAS = 4.0
SPECK_UM2 = 30.0
SHORTEST_UM = 15.0
LONGEST_UM = 50.0  # in paper noise, the longest line is shorter
BLACK = 0.02  # darker than five grey levels of 255
LEAST_BLACK = 0.5  # of a mask; nerves cover a tenth of a frame


def prepare_masks(drawings: np.ndarray, field_px: int = FIELD_PX, width_px: float = WIDTH_PX) -> np.ndarray:
    """Turn drawings [B,H,W] (values 0..1) into masks [B,F,F], float32 of 0 and 1, F = field_px.

    Every nerve becomes width_px pixels wide about its centre-line. Raises MaskError for a picture that is not
    square within 2 %, that is empty or uniform, or that holds no line of 50 um, and for a field or width that
    cannot be drawn.
    """
    check_drawing(field_px, width_px)
    return np.stack([_prepare(drawing, field_px, width_px, n) for n, drawing in enumerate(drawings)])


def check_is_mask(mask: np.ndarray, name: str) -> None:
    """Raise MaskError for a picture [H,W] in 0..1 that cannot be a nerve mask: a frame, or dark nerves on light.

    `name` is what the error calls it.
    """
    black = float((mask < BLACK).mean())
    if black < LEAST_BLACK:
        raise MaskError(
            f"{name} is no nerve mask: {black:.0%} of it is black, expected at least {LEAST_BLACK:.0%}",
            fix="give white nerves on black: trace a frame first (Segment Nerves; `python . measure` without --masks), "
            "or bring a drawing through Prepare Nerve Mask",
        )


def read_drawings(image: torch.Tensor | None, mask: torch.Tensor | None) -> np.ndarray:
    """Take the drawings [B,H,W] out of an image [B,H,W,C] or a mask [B,H,W], whichever is given.

    Transparent parts count as mid-grey, so that black and white strokes both stand out. Where a minority of
    the pixels is coloured, as in a tracing over a grey frame, the colour is the drawing. Raises MaskError
    unless exactly one of the two is given.
    """
    if (image is None) == (mask is None):
        raise MaskError(
            "Prepare Nerve Mask got "
            + ("neither an image nor a mask" if image is None else "image and mask"),
            fix="connect exactly one of the two inputs",
        )
    if mask is not None:
        return to_masks(mask)
    assert image is not None
    grey = to_grey(image)
    if image.shape[-1] < 3:
        return grey
    array = image.detach().cpu().float().numpy()
    alpha = array[..., 3:4] if array.shape[-1] == 4 else np.ones_like(array[..., :1])
    colour = array[..., :3] * alpha + 0.5 * (1 - alpha)
    return np.stack([_colour_or_grey(frame) for frame in colour])


def _colour_or_grey(frame: np.ndarray) -> np.ndarray:
    """Return the chroma [H,W] of a frame [H,W,3] if few pixels have it, but strongly, else its grey."""
    chroma = frame.max(axis=-1) - frame.min(axis=-1)
    few_but_strong = np.quantile(chroma, 0.8) < 0.1 and np.quantile(chroma, 0.999) > 0.35
    return chroma if few_but_strong else frame @ LUMA


def _prepare(drawing: np.ndarray, field_px: int, width_px: float, number: int) -> np.ndarray:
    _check_aspect(drawing, number)
    lines = trace_lines(binarise(_working_size(drawing, field_px), number))
    if max(map(length_of, lines), default=0.0) < LONGEST_UM:
        raise MaskError(
            f"Mask {number} holds no line of {LONGEST_UM:g} um or more",
            fix="draw longer, or more visible, nerves; to trace a frame, use Segment Nerves",
        )
    pixels = [(line * (field_px / FIELD_UM), np.full(len(line), width_px)) for line in lines]
    return (draw_lines(pixels, (field_px, field_px)) >= 128).astype(np.float32)


def _check_aspect(drawing: np.ndarray, number: int) -> None:
    height, width = drawing.shape
    if abs(width / height - 1) > ASPECT_TOLERANCE:
        raise MaskError(
            f"Mask {number} is {width} x {height} pixels; expected a square, as the 400 x 400 um field is",
            fix="crop it to the field, which in an HRT export of 384 x 484 is the top 384 rows",
        )


def _working_size(drawing: np.ndarray, field_px: int) -> np.ndarray:
    """Resize a drawing to a square of one to two times the field, so that small and huge ones trace alike."""
    import cv2

    side = int(np.clip(max(drawing.shape), field_px, 2 * field_px))
    shrinks = side < max(drawing.shape)
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(drawing.astype(np.float32), (side, side), interpolation=how)


def binarise(drawing: np.ndarray, number: int = 0) -> np.ndarray:
    """Find the lines, bool [S,S], of a square drawing of the 400 um field, whatever their polarity.

    Strategy: take off the paper (a wide median, which also takes off uneven light); lines are the side on
    which the rest has its long tail; the threshold is a share of their contrast, but above the paper's noise.
    Raises MaskError for a uniform picture.
    """
    import cv2

    low, high = float(drawing.min()), float(drawing.max())
    if high - low < FLAT:
        raise MaskError(
            f"Mask {number} is {'empty' if high < 0.5 else 'white all over'}",
            fix="draw nerves as lines on a background of another brightness, and connect that picture",
        )
    unit = (drawing - low) / (high - low)
    side = len(unit)
    paper = cv2.medianBlur(np.round(unit * 255).astype(np.uint8), min(side // 9, 254) // 2 * 2 + 1)
    rest = cv2.GaussianBlur(unit - paper / np.float32(255), (0, 0), 0.7 * side / FIELD_PX)
    lines = rest if float((rest.astype(np.float64) ** 3).sum()) >= 0 else -rest
    return _drop_specks(lines > _threshold(lines))


def _threshold(lines: np.ndarray) -> float:
    import cv2

    scaled = np.round(np.clip(lines, 0, 1) * 255).astype(np.uint8)
    level, _ = cv2.threshold(scaled, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    strong = scaled > level
    contrast = float(np.median(lines[strong])) if strong.any() else 1.0
    noise = 1.4826 * float(np.median(np.abs(lines[~strong])))
    return min(max(LINE_LEVEL * contrast, NOISE_SIGMAS * noise), 0.8 * contrast)


def _drop_specks(lines: np.ndarray) -> np.ndarray:
    import cv2

    _, labels, stats, _ = cv2.connectedComponentsWithStats(lines.astype(np.uint8), connectivity=8)
    large = stats[:, cv2.CC_STAT_AREA] * (FIELD_UM / len(lines)) ** 2 >= SPECK_UM2
    large[0] = False
    return large[np.asarray(labels, np.intp)]


def trace_lines(mask: np.ndarray) -> list[np.ndarray]:
    """Measure the centre-lines [N,2] in um of a square mask of the 400 um field, fragments left out."""
    if not mask.any():
        return []
    graph = measure_graph(mask, FIELD_UM / len(mask))
    nerves = [n for n in graph.nerves if n.role is not Role.FRAGMENT or n.length_um >= SHORTEST_UM]
    return [piece for nerve in nerves for piece in nerve.pieces_um if len(piece) > 1]
