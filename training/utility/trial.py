"""One trial: the networks of one arm and one seed, trained, and what they say of every test frame."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...ccm.morphometry.adherence import centre_line_f1
from ...ccm.segmentation import normalise
from ..nano.segmentation import segmentation_loss
from .arms import Arm, Draw, draws
from .config import UtilityConfig
from .data import COHORTS, StudyData
from .networks import SmallClassifier, SmallUNet

_SEGMENTATION, _CLASSIFICATION = 9, 10  # keep the streams of random numbers apart


@dataclass(frozen=True, eq=False)
class Verdicts:
    """Of each of N test frames: centre-line F1 and mean IoU [N], and the probability of each cohort [N,C].

    What belongs to a task that was left out is empty.
    """

    f1: np.ndarray
    iou: np.ndarray
    cohorts: np.ndarray


def run_trial(arm: Arm, seed: int, config: UtilityConfig, data: StudyData) -> Verdicts:
    """Train what the configuration asks for and test it; the same bits each time on one kind of processor."""
    torch.set_num_threads(1)
    f1, iou, cohorts = np.empty(0), np.empty(0), np.empty((0, len(COHORTS)))
    if "segmentation" in config.training.tasks:
        f1, iou = _segmentation(arm, seed, config, data)
    if "classification" in config.training.tasks:
        cohorts = _classification(arm, seed, config, data)
    return Verdicts(f1, iou, cohorts)


def _segmentation(
    arm: Arm, seed: int, config: UtilityConfig, data: StudyData
) -> tuple[np.ndarray, np.ndarray]:
    asked, rng = config.training, np.random.default_rng([_SEGMENTATION, seed])
    net = _fresh(SmallUNet, seed)
    batches = draws(arm, data.train, data.synthetic, asked.synthetic_share, asked.batch, asked.crop_px, rng)
    _fit(net, batches, asked.steps, asked.learning_rate, _nerve_loss)
    with torch.inference_mode():
        found = [net(_seen(grey))[0].numpy() > 0 for grey in data.test.grey]
    pairs = list(zip(found, data.test.nerves, strict=True))
    tolerance_px = asked.tolerance_um / config.data.um_per_px
    f1 = [centre_line_f1(mask, truth, tolerance_px).f1 for mask, truth in pairs]
    return np.array(f1), np.array([mean_iou(mask, truth) for mask, truth in pairs])


def _classification(arm: Arm, seed: int, config: UtilityConfig, data: StudyData) -> np.ndarray:
    asked, rng = config.training, np.random.default_rng([_CLASSIFICATION, seed])
    net = _fresh(lambda: SmallClassifier(len(COHORTS)), seed)
    batches = draws(arm, data.train, data.synthetic, asked.synthetic_share, asked.classifier_batch, None, rng)
    _fit(net, batches, asked.classifier_steps, asked.learning_rate, _cohort_loss)
    with torch.inference_mode():
        return torch.cat([net(_seen(grey)).softmax(dim=1) for grey in data.test.grey]).double().numpy()


def mean_iou(mask: np.ndarray, truth: np.ndarray) -> float:
    """Mean over nerve and background of intersection over union; 1 where neither mask has any of a class."""
    shares = []
    for a, b in ((mask, truth), (~mask, ~truth)):
        union = np.count_nonzero(a | b)
        shares.append(np.count_nonzero(a & b) / union if union else 1.0)
    return float(np.mean(shares))


def _fresh(make: Callable[[], nn.Module], seed: int) -> nn.Module:
    """A new network whose first weights the seed fixes, the same in every arm."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def _fit(
    net: nn.Module,
    batches: Iterator[Draw],
    steps: int,
    learning_rate: float,
    loss: Callable[[Tensor, Draw], Tensor],
) -> None:
    """AdamW and one cycle of the learning rate; the network is left ready to be asked."""
    optimizer = torch.optim.AdamW(net.parameters(), lr=learning_rate, weight_decay=0.01)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps + 1, pct_start=0.1)
    net.train()
    for drawn in islice(batches, steps):
        value = loss(net(drawn.frames), drawn)
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        optimizer.step()
        rate.step()
    net.eval()


def _nerve_loss(logits: Tensor, drawn: Draw) -> Tensor:
    return segmentation_loss(logits, drawn.nerves, torch.ones_like(drawn.nerves))


def _cohort_loss(logits: Tensor, drawn: Draw) -> Tensor:
    return F.cross_entropy(logits, drawn.cohorts)


def _seen(grey: np.ndarray) -> Tensor:
    """A frame [S,S] as the networks see it, [1,1,S,S]."""
    return normalise(torch.from_numpy(grey)[None])
