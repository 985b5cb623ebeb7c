"""The arms of a study: what each step of a training draws, alike in everything but where the frames come from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

import numpy as np
import torch
from torch import Tensor

from ...ccm.segmentation import normalise
from ..data.sampler import ORIENTATIONS, orient
from .data import FrameSet


class Arm(str, Enum):
    """What a network is trained on."""

    REAL = "real"
    AUGMENTED = "real + augmentation"
    ADDED = "real + synthetic"
    SYNTHETIC = "synthetic only"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Draw:
    """A batch: normalised frames [B,1,S,S], nerves of 0 and 1 [B,S,S], and cohorts int64 [B]."""

    frames: Tensor
    nerves: Tensor
    cohorts: Tensor


def draws(
    arm: Arm,
    real: FrameSet,
    synthetic: FrameSet,
    share: float,
    batch: int,
    crop_px: int | None,
    rng: np.random.Generator,
) -> Iterator[Draw]:
    """Yield batches for ever, of random crops or of whole frames; of ADDED, `share` of each is synthetic.

    That is one frame at least, and one real frame is left. Of each set, every frame comes once before any comes again.
    """
    part = min(max(round(share * batch), 1), batch - 1)
    added = {Arm.ADDED: part, Arm.SYNTHETIC: batch}.get(arm, 0)
    sources = [
        (frames, count, _endless(len(frames), rng))
        for frames, count in ((real, batch - added), (synthetic, added))
        if count
    ]
    while True:
        picked = [(frames, next(order)) for frames, count, order in sources for _ in range(count)]
        pairs = [(frames.grey[k], frames.nerves[k]) for frames, k in picked]
        if arm is Arm.AUGMENTED:
            pairs = [augmented(*pair, rng) for pair in pairs]
        grey, nerves = (
            torch.from_numpy(np.stack(part).astype(np.float32)) for part in zip(*pairs, strict=True)
        )
        frames = normalise(grey)
        if crop_px is not None:
            corners = rng.integers(0, grey.shape[-1] - crop_px + 1, (batch, 2)).tolist()
            frames, nerves = _cropped(frames, corners, crop_px), _cropped(nerves, corners, crop_px)
        yield Draw(frames, nerves, torch.tensor([int(source.cohorts[k]) for source, k in picked]))


def augmented(
    grey: np.ndarray, nerves: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Classical augmentation of a frame [S,S]: turned, mirrored, brighter or darker, another gamma, noisier."""
    way = int(rng.integers(ORIENTATIONS))
    lit = (rng.uniform(0.7, 1.4) * grey + rng.uniform(-0.05, 0.05)).clip(0.0, 1.0) ** rng.uniform(0.75, 1.35)
    noisy = lit + rng.uniform(0.0, 0.05) * rng.standard_normal(grey.shape)
    return orient(noisy.clip(0.0, 1.0), way), orient(nerves, way)


def _cropped(batch: Tensor, corners: list[list[int]], side: int) -> Tensor:
    return torch.stack(
        [one[..., y : y + side, x : x + side] for one, (y, x) in zip(batch, corners, strict=True)]
    )


def _endless(count: int, rng: np.random.Generator) -> Iterator[int]:
    while True:
        yield from rng.permutation(count).tolist()
