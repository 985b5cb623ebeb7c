"""Training of the nerve segmentation network on phantoms, with everything drawn over them that is no nerve."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...ccm.segmentation import SegmentationNet, normalise, prepared
from .dataset import PhantomSet
from .distractors import background, distracted

SETTLING = 60  # batches
ADDED_NOISE = (2 / 255, 10 / 255)  # of the noisier copy
DOUBT = 3.0  # logits on either side of the threshold
RIM_PX = 4
VISIBLE = 0.9  # a nerve whose ridge is lower than this many deviations of the surround is not asked for


@dataclass(frozen=True)
class Augmentation:
    """What is done to crops of `side` pixels; shares are probabilities for one crop."""

    side: int = 192
    distraction: float = 0.22
    without_nerves: float = 0.1
    tangled: float = 0.25


@dataclass(frozen=True)
class Crop:
    """A crop before it is prepared: frame, true nerves 0..1, and which pixels count, float32 [side,side] each."""

    frame: np.ndarray
    nerves: np.ndarray
    counted: np.ndarray


class SegmentationProblem:
    """Implements `loop.Problem`: the network on crops of phantom pairs, of which each set is drawn equally often."""

    def __init__(
        self,
        net: SegmentationNet,
        sets: list[PhantomSet],
        augmentation: Augmentation,
        seed: int,
        device: torch.device,
    ) -> None:
        self.net, self.device = net.to(device).train(), device
        self.sets, self.augmentation, self.seed = sets, augmentation, seed

    @property
    def parameters(self) -> Mapping[str, nn.Parameter]:
        return dict(self.net.named_parameters())

    def losses(self, positions: range) -> Tensor:
        frames, nerves, counted = self.batch(positions)
        return self.loss(self.net(normalise(frames)).float(), nerves, counted).expand(len(positions))

    def loss(self, logits: Tensor, nerves: Tensor, counted: Tensor) -> Tensor:
        return segmentation_loss(logits, nerves, counted)

    def refresh(self) -> None:
        """Nothing is derived from the parameters."""

    def batch(self, positions: range) -> tuple[Tensor, Tensor, Tensor]:
        """Prepared frames, true nerves and counted pixels [B,side,side] of the samples at these positions."""
        crops = [crop for k in positions for crop in self.crops(np.random.default_rng((self.seed, k)))]
        parts = zip(*((prepared(c.frame), c.nerves, c.counted) for c in crops), strict=True)
        frames, nerves, counted = (torch.from_numpy(np.stack(part)).to(self.device) for part in parts)
        return frames, nerves, counted

    def crops(self, rng: np.random.Generator) -> tuple[Crop, ...]:
        """The crops of one sample."""
        return (_crop(self.sets, self.augmentation, rng),)

    @torch.no_grad()
    def settle(self, parameters: Mapping[str, Tensor], first: int, batch: int) -> SegmentationNet:
        """Return the network with these parameters, its norms and its threshold fitted to fresh batches.

        The norms are told the statistics of SETTLING batches; the last bias is moved to where the mask agrees
        best with the truth of as many others.
        """
        self.net.load_state_dict({**self.net.state_dict(), **parameters})
        for module in self.net.modules():
            if isinstance(module, nn.BatchNorm3d):
                module.reset_running_stats()
                module.momentum = None  # the plain mean over all batches
        for frames, _, _ in self._fresh(first, batch):
            self.net(normalise(frames))
        self.net.eval()
        answers = []
        for frames, nerves, counted in self._fresh(first + SETTLING * batch, batch):
            asked = counted > 0
            answers.append((self.net(normalise(frames))[asked], nerves[asked] > 0.5))
        logits, truth = (torch.cat(parts) for parts in zip(*answers, strict=True))
        self.net.head.bias.sub_(best_threshold(logits, truth))
        return self.net.cpu()

    def _fresh(self, first: int, batch: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        return (self.batch(range(k, k + batch)) for k in range(first, first + SETTLING * batch, batch))


def best_threshold(logits: Tensor, truth: Tensor) -> Tensor:
    """The logit from which on [N] pixels are best called nerve: by the Dice coefficient with the truth, bool [N]."""
    falling, order = logits.sort(descending=True)
    hits = truth[order].cumsum(0)
    called = torch.arange(1, len(logits) + 1, device=logits.device)
    return falling[(2 * hits / (called + hits[-1])).argmax()]


class SteadyProblem(SegmentationProblem):
    """The same, with every crop twice, once noisier: where the network is in doubt, both answers should agree.

    A network that was taught one frame at a time is rightly less sure of a noisier one, and so finds less nerve.
    """

    def crops(self, rng: np.random.Generator) -> tuple[Crop, ...]:
        crop = _crop(self.sets, self.augmentation, rng)
        noise = rng.uniform(*ADDED_NOISE) * rng.standard_normal(crop.frame.shape, dtype=np.float32)
        return crop, replace(crop, frame=crop.frame + noise)

    def loss(self, logits: Tensor, nerves: Tensor, counted: Tensor) -> Tensor:
        return super().loss(logits, nerves, counted) + unsteadiness(logits[::2], logits[1::2])


def unsteadiness(logits: Tensor, noisier: Tensor) -> Tensor:
    """Mean difference of two answers [B,H,W], and its bias, where either is in doubt; a rim is not asked."""
    rim = (..., slice(RIM_PX, -RIM_PX), slice(RIM_PX, -RIM_PX))
    a, b = logits[rim], noisier[rim]
    doubtful = (a.detach().abs() < DOUBT) | (b.detach().abs() < DOUBT)
    share = doubtful / doubtful.sum().clamp(min=1)
    return (F.smooth_l1_loss(a, b, reduction="none") * share).sum() + ((b - a) * share).sum().abs()


def segmentation_loss(logits: Tensor, nerves: Tensor, counted: Tensor) -> Tensor:
    """Cross-entropy plus soft Dice (Milletari 2016) over the counted pixels of the batch, for [B,H,W]."""
    p = torch.sigmoid(logits) * counted
    truth = nerves * counted
    dice = 1 - (2 * (p * truth).sum() + 1) / (p.sum() + truth.sum() + 1)
    entropy = F.binary_cross_entropy_with_logits(logits, nerves, reduction="none")
    return (entropy * counted).sum() / counted.sum() + dice


def _crop(sets: list[PhantomSet], augmentation: Augmentation, rng: np.random.Generator) -> Crop:
    side = augmentation.side
    if rng.random() < augmentation.without_nerves:
        frame = degraded(distracted(background(side, rng), rng, 2 * augmentation.distraction), rng)
        return Crop(frame, np.zeros((side, side), np.float32), np.ones((side, side), np.float32))
    pairs = sets[rng.integers(len(sets))]
    frame, nerves = _zoomed(pairs, side, rng)
    if rng.random() < augmentation.tangled:
        frame, nerves = _tangled(frame, nerves, pairs, rng)
    frame = degraded(distracted(frame, rng, augmentation.distraction), rng)
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
