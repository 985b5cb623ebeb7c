"""What a base model or control net may be given as a nerve mask, and how the mask is drawn for it."""

from __future__ import annotations

from enum import Enum

import numpy as np

from .errors import MaskError
from .images import ASPECT_TOLERANCE
from .masks import check_is_mask

LEVEL = 0.5  # of a mask's highest value: what counts as nerve where a drawing knows only yes and no
STROKE = 0.01  # width of a scribble, as a share of the side, beyond that of the mask itself
SOFT_EDGE = 1 / 256  # sigma of a soft edge, as a share of the side
EARTH, ROAD = (120, 120, 70), (140, 140, 140)  # classes of ADE20K: thin branching lines on a ground


class MaskStyle(str, Enum):
    """The drawing that a control net was trained on.

    NERVES: the mask as it is, for nets trained on nerve masks. SCRIBBLE: white strokes. SOFT_EDGE: lines with soft
    flanks, as HED and PiDiNet draw edges. CANNY: outlines one pixel wide. SEGMENTATION: colours of ADE20K classes.
    """

    NERVES = "nerve mask"
    SCRIBBLE = "scribble"
    SOFT_EDGE = "soft edge"
    CANNY = "canny"
    SEGMENTATION = "segmentation"


def draw_masks(masks: np.ndarray, style: MaskStyle) -> np.ndarray:
    """Draw masks [B,H,W] in 0..1 as pictures [B,H,W,3] in 0..1, in the style that a control net was trained on."""
    if style is MaskStyle.SEGMENTATION:
        colours = np.array([EARTH, ROAD], dtype=np.float32) / 255
        return colours[np.stack([_nerves(mask) for mask in masks])]
    draw = {
        MaskStyle.NERVES: lambda mask: mask,
        MaskStyle.SCRIBBLE: _scribble,
        MaskStyle.SOFT_EDGE: _soft_edge,
        MaskStyle.CANNY: _outline,
    }[style]
    grey = np.stack([draw(mask) for mask in masks]).astype(np.float32)
    return np.repeat(grey[..., None], 3, axis=-1)


def _nerves(mask: np.ndarray) -> np.ndarray:
    """Return what is nerve as uint8 of 0 and 1."""
    return (mask > LEVEL * mask.max()).astype(np.uint8)


def _scribble(mask: np.ndarray) -> np.ndarray:
    import cv2

    side = round(STROKE * max(mask.shape)) | 1
    return cv2.dilate(_nerves(mask), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))


def _soft_edge(mask: np.ndarray) -> np.ndarray:
    import cv2

    soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), SOFT_EDGE * max(mask.shape))
    return soft / max(float(soft.max()), np.finfo(np.float32).tiny)


def _outline(mask: np.ndarray) -> np.ndarray:
    import cv2

    nerves = _nerves(mask)
    return nerves - cv2.erode(nerves, np.ones((3, 3), np.uint8), borderValue=0)


def check_control_masks(masks: np.ndarray) -> None:
    """Raise MaskError when one of the masks [B,H,W] holds no nerve, or is no mask."""
    for number, mask in enumerate(masks):
        if mask.max() <= 0:
            raise MaskError(
                f"Mask {number} is empty, so there is no nerve to place",
                fix="draw or generate a mask with nerves, or sample without a mask: DPN Prompt alone",
            )
        check_is_mask(mask, f"Mask {number}")


def check_masks_fit_latents(masks: tuple[int, ...], latents: tuple[int, ...]) -> None:
    """Raise MaskError unless masks [B,H,W] can steer latents [N,...,h,w]: B is 1 or N, same aspect."""
    if masks[0] not in (1, latents[0]):
        raise MaskError(
            f"There are {masks[0]} masks for {latents[0]} latents",
            fix=f"connect one mask or {latents[0]}, or set the batch size of the latents to {masks[0]}",
        )
    mask_aspect, latent_aspect = masks[-1] / masks[-2], latents[-1] / latents[-2]
    if abs(mask_aspect / latent_aspect - 1) > ASPECT_TOLERANCE:
        raise MaskError(
            f"The mask is {masks[-1]} x {masks[-2]}, an aspect of {mask_aspect:.3f}, and the latents have "
            f"{latent_aspect:.3f}",
            fix="give mask and latents the same aspect; Prepare Nerve Mask makes a square field",
        )


def check_masks_are_frames(masks: tuple[int, ...], latents: tuple[int, ...], latent_px: int) -> None:
    """Raise MaskError unless masks [B,H,W] have the size of the frames that latents [N,...,h,w] become."""
    width, height = latents[-1] * latent_px, latents[-2] * latent_px
    if (masks[-1], masks[-2]) != (width, height):
        raise MaskError(
            f"The mask is {masks[-1]} x {masks[-2]} pixels and the frame will be {width} x {height}",
            fix="give both one size; Prepare Nerve Mask draws the mask at any field_size",
        )
