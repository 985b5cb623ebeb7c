"""Training of the nerve segmentation network on phantoms, with everything drawn over them that is no nerve."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...ccm.segmentation import SegmentationNet, normalise
from .dataset import PhantomSet
from .distractors import background, distracted

log = logging.getLogger(__name__)

SNAPSHOT = 500
VISIBLE = 0.9  # a nerve whose ridge is lower than this many deviations of the surround is not asked for


@dataclass(frozen=True)
class SegmentationSchedule:
    """One training: crops of `side` pixels, `batch` at a time; shares are probabilities for one crop."""

    steps: int = 4000
    batch: int = 12
    side: int = 192
    learning_rate: float = 4e-3
    distraction: float = 0.22
    without_nerves: float = 0.1
    tangled: float = 0.0
    seed: int = 3


@dataclass(frozen=True)
class Crop:
    """A crop as the network sees it: frame, true nerves 0..1, and which pixels count, float32 [side,side] each."""

    frame: np.ndarray
    nerves: np.ndarray
    counted: np.ndarray


def train_segmentation(
    net: SegmentationNet,
    sets: list[PhantomSet],
    schedule: SegmentationSchedule,
    snapshot: Callable[[SegmentationNet], None],
) -> SegmentationNet:
    """Train a network with AdamW and one cycle of the learning rate; returns it for evaluation.

    `snapshot` receives the network every SNAPSHOT steps.
    """
    rng = np.random.default_rng(schedule.seed)
    net.train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=schedule.learning_rate, weight_decay=0.01)
    rate = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, schedule.learning_rate, schedule.steps, pct_start=0.1
    )
    for step in range(schedule.steps):
        frames, nerves, counted = _batch(sets, schedule, rng)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = net(normalise(frames)).float()
        loss = segmentation_loss(logits, nerves, counted)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        rate.step()
        if (step + 1) % 50 == 0:
            log.info("segmentation step %d of %d, loss %.4f", step + 1, schedule.steps, loss.item())
        if (step + 1) % SNAPSHOT == 0:
            snapshot(net)
    return net.eval()


def segmentation_loss(logits: Tensor, nerves: Tensor, counted: Tensor) -> Tensor:
    """Cross-entropy plus soft Dice (Milletari 2016) over the counted pixels of the batch, for [B,H,W]."""
    p = torch.sigmoid(logits) * counted
    truth = nerves * counted
    dice = 1 - (2 * (p * truth).sum() + 1) / (p.sum() + truth.sum() + 1)
    entropy = F.binary_cross_entropy_with_logits(logits, nerves, reduction="none")
    return (entropy * counted).sum() / counted.sum() + dice


def _batch(
    sets: list[PhantomSet], schedule: SegmentationSchedule, rng: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    crops = [_crop(sets, schedule, rng) for _ in range(schedule.batch)]
    frames, nerves, counted = zip(*((c.frame, c.nerves, c.counted) for c in crops), strict=True)
    return tuple(torch.from_numpy(np.stack(part)) for part in (frames, nerves, counted))  # pyright: ignore


def _crop(sets: list[PhantomSet], schedule: SegmentationSchedule, rng: np.random.Generator) -> Crop:
    side = schedule.side
    if rng.random() < schedule.without_nerves:
        frame = degraded(distracted(background(side, rng), rng, 2 * schedule.distraction), rng)
        return Crop(frame, np.zeros((side, side), np.float32), np.ones((side, side), np.float32))
    pairs = sets[rng.integers(len(sets))]
    frame, nerves = _zoomed(pairs, side, rng)
    if rng.random() < schedule.tangled:
        frame, nerves = _tangled(frame, nerves, pairs, rng)
    frame = degraded(distracted(frame, rng, schedule.distraction), rng)
    return Crop(frame, nerves, counted_pixels(frame, nerves))


def _zoomed(pairs: PhantomSet, side: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A crop of frame and nerves, now and then a little larger or smaller than life."""
    import cv2

    taken = side if rng.random() < 0.6 else round(side / rng.uniform(0.75, 1.3))
    k = rng.integers(len(pairs))
    i, j = rng.integers(0, pairs.frames.shape[1] - taken + 1, 2)
    stack = (pairs.frames[k, i : i + taken, j : j + taken], pairs.nerves[k, i : i + taken, j : j + taken])
    frame, nerves = (part.astype(np.float32) / 255 for part in stack)
    if taken != side:
        frame, nerves = (
            cv2.resize(part, (side, side), interpolation=cv2.INTER_LINEAR) for part in (frame, nerves)
        )
    return frame, nerves


def _tangled(
    frame: np.ndarray, nerves: np.ndarray, pairs: PhantomSet, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Bend a crop tightly, and half the time lay a second one over it: the meshes near the whorl have such nerves."""
    import cv2

    side = frame.shape[0]
    if rng.random() < 0.5:
        turn = int(rng.integers(4))
        over, more = (np.rot90(part, turn) for part in _zoomed(pairs, side, rng))
        frame, nerves = np.maximum(frame, rng.uniform(0.6, 1.0) * over), np.maximum(nerves, more)
    cells = int(rng.integers(5, 12))
    bends = rng.normal(0.0, rng.uniform(0.1, 0.3) * side / cells, (2, cells, cells)).astype(np.float32)
    dx, dy = (cv2.resize(bend, (side, side), interpolation=cv2.INTER_CUBIC) for bend in bends)
    y, x = np.indices((side, side), dtype=np.float32)
    moved = (
        cv2.remap(part, x + dx, y + dy, cv2.INTER_LINEAR, None, cv2.BORDER_REFLECT)
        for part in (frame, nerves)
    )
    return tuple(np.ascontiguousarray(part, np.float32) for part in moved)  # pyright: ignore


def degraded(frame: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Blur, vignetting, gain, offset, saturation, gamma, grain and noise, each in a part of the crops."""
    import cv2

    if rng.random() < 0.35:
        frame = cv2.GaussianBlur(frame, (0, 0), rng.uniform(0.4, 1.8))
    if rng.random() < 0.3:
        frame = frame * _shade(frame.shape[0], rng)
    if rng.random() < 0.3:
        frame = frame * np.exp(rng.uniform(0.05, 0.3) * _grain(frame.shape, rng))
    frame = (rng.uniform(0.5, 1.6) * frame + rng.uniform(-0.06, 0.12)).clip(0, 1) ** rng.uniform(0.65, 1.6)
    noise = (
        rng.standard_normal(frame.shape, dtype=np.float32) if rng.random() < 0.5 else _grain(frame.shape, rng)
    )
    return (frame + rng.uniform(0, 0.07) * noise).astype(np.float32)


def _grain(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    import cv2

    grain = cv2.GaussianBlur(rng.standard_normal(shape, dtype=np.float32), (0, 0), rng.uniform(0.5, 1.0))
    return grain / float(grain.std())


def _shade(side: int, rng: np.random.Generator) -> np.ndarray:
    """Loss of light with the square of the distance from a point in or near the crop."""
    y, x = np.indices((side, side), dtype=np.float32) / side
    cy, cx = rng.uniform(-0.5, 1.5, 2)
    return np.maximum(1.0 - rng.uniform(0.1, 0.9) * ((x - cx) ** 2 + (y - cy) ** 2), 0.08)


def counted_pixels(frame: np.ndarray, nerves: np.ndarray) -> np.ndarray:
    """1 everywhere but on stretches of nerve that sink below `VISIBLE`, which no one could trace."""
    import cv2

    ridge = cv2.GaussianBlur(frame, (0, 0), 1.2) - cv2.GaussianBlur(frame, (0, 0), 9.0)
    weight = cv2.GaussianBlur(nerves, (0, 0), 5.0)
    height = cv2.GaussianBlur(ridge * nerves, (0, 0), 5.0) / np.maximum(weight, 1e-3)
    beside = ridge[nerves < 0.1]
    deviation = float(beside.std()) if beside.size else 0.0
    return ((nerves < 0.1) | (height >= VISIBLE * deviation)).astype(np.float32)
