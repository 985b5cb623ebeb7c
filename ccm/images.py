"""Frames as tensors and as grey arrays, and the geometry of one HRT3-RCM field.

An HRT3 Rostock Cornea Module frame is 384 x 384 pixels over 400 x 400 um (0.16 mm^2).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from .errors import ImageError, MaskError, PixelSizeError

if TYPE_CHECKING:
    import torch

FIELD_PX = 384
FIELD_UM = 400.0
UM_PER_PX = FIELD_UM / FIELD_PX
ASPECT_TOLERANCE = 0.02  # of masks and frames against the field they belong to
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601


def check_um_per_px(um_per_px: float) -> float:
    """Return the pixel size in um if it is a positive finite number, else raise PixelSizeError."""
    if not (math.isfinite(um_per_px) and um_per_px > 0):
        raise PixelSizeError(
            f"Pixel size is {um_per_px} um per pixel; it must be positive",
            fix=f"use {UM_PER_PX:.4f} for an HRT3-RCM frame of 384 pixels and 400 um",
        )
    return float(um_per_px)


def to_grey(images: torch.Tensor) -> np.ndarray:
    """Turn frames [B,H,W,C] (C = 1, 3 or 4, values 0..1) into grey float32 [B,H,W].

    Colour is weighted by ITU-R BT.601; alpha is ignored. Raises ImageError on any other shape,
    on no pixels and on NaN or infinity.
    """
    array = images.detach().cpu().float().numpy()
    if array.ndim != 4 or array.shape[-1] not in (1, 3, 4):
        raise ImageError(
            f"Image has shape {tuple(array.shape)}; expected [frames, height, width, 1, 3 or 4]",
            fix="connect an IMAGE output, for example of Load Image",
        )
    grey = array[..., 0] if array.shape[-1] == 1 else array[..., :3] @ LUMA
    return _finite(grey, ImageError, "Image", "load the file again, or lower the guidance that made it")


def to_masks(masks: torch.Tensor) -> np.ndarray:
    """Turn host masks [B,H,W] or [H,W] into float32 [B,H,W]; raises MaskError on other shapes or NaN."""
    array = masks.detach().cpu().float().numpy()
    if array.ndim == 2:
        array = array[None]
    if array.ndim != 3:
        raise MaskError(
            f"Mask has shape {tuple(array.shape)}; expected [frames, height, width]",
            fix="connect a MASK output, or convert an image with Prepare Nerve Mask",
        )
    return _finite(array, MaskError, "Mask", "draw or load the mask again")


def to_image(grey: np.ndarray) -> torch.Tensor:
    """Turn grey [B,H,W] or colour [B,H,W,3] arrays in 0..1 into a host IMAGE [B,H,W,3]."""
    import torch

    array = np.asarray(grey, dtype=np.float32).clip(0.0, 1.0)
    if array.ndim == 3:
        array = np.repeat(array[..., None], 3, axis=-1)
    return torch.from_numpy(np.ascontiguousarray(array))


def _finite(array: np.ndarray, error: type[ImageError] | type[MaskError], name: str, fix: str) -> np.ndarray:
    if array.size == 0:
        raise error(f"{name} has shape {tuple(array.shape)} and so no pixels", fix=fix)
    if not np.isfinite(array).all():
        raise error(f"{name} holds NaN or infinite values", fix=fix)
    return array
