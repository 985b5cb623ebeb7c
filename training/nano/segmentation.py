"""Training of the nerve segmentation network on phantoms."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...ccm.segmentation import SegmentationNet, normalise
from .dataset import PhantomSet

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SegmentationSchedule:
    """One training: crops of `side` pixels, `batch` at a time."""

    steps: int = 2500
    batch: int = 12
    side: int = 192
    learning_rate: float = 2e-3
    seed: int = 3


def train_segmentation(sets: list[PhantomSet], schedule: SegmentationSchedule) -> SegmentationNet:
    """Train on crops with random gain, gamma, blur and noise; returns the network for evaluation."""
    torch.manual_seed(schedule.seed)
    rng = np.random.default_rng(schedule.seed)
    net = SegmentationNet().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(net.parameters(), lr=schedule.learning_rate, weight_decay=0.01)
    rate = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, schedule.learning_rate, schedule.steps, pct_start=0.1
    )
    for step in range(schedule.steps):
        frames, nerves = _batch(sets, schedule, rng)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = net(normalise(frames).to(memory_format=torch.channels_last)).float()
        loss = segmentation_loss(logits, nerves)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        rate.step()
        if (step + 1) % 50 == 0:
            log.info("segmentation step %d of %d, loss %.4f", step + 1, schedule.steps, loss.item())
    return net.eval()


def segmentation_loss(logits: Tensor, nerves: Tensor) -> Tensor:
    """Cross-entropy plus soft Dice (Milletari 2016) over the batch, for [B,H,W]."""
    p = torch.sigmoid(logits)
    dice = 1 - (2 * (p * nerves).sum() + 1) / (p.sum() + nerves.sum() + 1)
    return F.binary_cross_entropy_with_logits(logits, nerves) + dice


def _batch(
    sets: list[PhantomSet], schedule: SegmentationSchedule, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    frames, nerves = [], []
    for _ in range(schedule.batch):
        pairs = sets[rng.integers(len(sets))]
        k, side = rng.integers(len(pairs)), schedule.side
        i, j = rng.integers(0, pairs.frames.shape[1] - side + 1, 2)
        frames.append(_augmented(pairs.frames[k, i : i + side, j : j + side].astype(np.float32) / 255, rng))
        nerves.append(pairs.nerves[k, i : i + side, j : j + side].astype(np.float32) / 255)
    return torch.from_numpy(np.stack(frames)), torch.from_numpy(np.stack(nerves))


def _augmented(frame: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    import cv2

    if rng.random() < 0.3:
        frame = cv2.GaussianBlur(frame, (0, 0), rng.uniform(0.4, 1.1))
    frame = (rng.uniform(0.6, 1.4) * frame + rng.uniform(-0.05, 0.1)).clip(0, 1) ** rng.uniform(0.7, 1.4)
    return frame + rng.uniform(0, 0.05) * rng.standard_normal(frame.shape, dtype=np.float32)
