"""What a nerve-mask control net may be given."""

from __future__ import annotations

import numpy as np

from .errors import MaskError
from .images import ASPECT_TOLERANCE


def check_control_masks(masks: np.ndarray) -> None:
    """Raise MaskError when one of the masks [B,H,W] holds no nerve."""
    for number, mask in enumerate(masks):
        if mask.max() <= 0:
            raise MaskError(
                f"Mask {number} is empty, so there is no nerve to place",
                fix="draw or generate a mask with nerves, or sample without Apply Nerve Mask Control",
            )


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
