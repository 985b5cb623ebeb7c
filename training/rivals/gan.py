"""The GAN as a problem of the training loop: both players in one loss, each reached by its own gradients only.

Hinge loss (Lim and Ye 2017, arXiv 1705.02894) with feature matching (Wang et al. 2018, arXiv 1711.11585):

    discriminator: max(0, 1 - D(x)) + max(0, 1 + D(G(z)))       with G held still
    generator:     -D(G(z)) + w sum_l |D_l(G(z)) - D_l(x)|       with D held still

Both take their step together, by one optimizer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from ...ccm.cohorts import Cohort
from ...ccm.errors import TrainingError
from ...ccm.frames.record import Record, load_frame, load_mask
from ..data.sampler import Sample, orient
from ..discriminator import Discriminator
from ..trainer import Setup
from ..validate import Validation
from . import Rival
from .networks import Generator

GROUPS = (*Cohort, None)
PLANES = 1 + len(GROUPS)  # the mask, and one plane for each group
MATCHING = 10.0
GRAIN_PX = 16


class GanProblem:
    """Implements `loop.Problem`."""

    def __init__(self, setup: Setup) -> None:
        self.setup, self.records = setup, setup.splits.train
        if any(record.mask is None for record in self.records):
            raise TrainingError(
                "The GAN draws from masks, and a training frame has none", fix="leave the arm gan out"
            )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(setup.config.run.seed)
            players = nn.ModuleDict({"generator": Generator(PLANES), "discriminator": Discriminator(PLANES)})
        self.players = players.to(setup.processes.device)

    @property
    def parameters(self) -> Mapping[str, nn.Parameter]:
        return dict(self.players.named_parameters())

    def losses(self, positions: range) -> Tensor:
        samples = [self.setup.sampler.sample(k) for k in positions]
        real, condition = self._batch(samples)
        seeds = torch.tensor([sample.noise_seed for sample in samples])
        fake = self.paint(seeds, condition)
        judge = self.players["discriminator"]
        on_real, wanted = judge(real, condition)
        on_fake, _ = judge(fake.detach(), condition)
        still = {name: p.detach() for name, p in judge.named_parameters()}
        fooled, found = functional_call(judge, still, (fake, condition))
        matched = sum(_mean((a - b.detach()).abs()) for a, b in zip(found, wanted, strict=True))
        return _mean(F.relu(1 - on_real)) + _mean(F.relu(1 + on_fake)) - _mean(fooled) + MATCHING * matched

    def refresh(self) -> None:
        """Nothing is derived from the parameters."""

    def paint(self, seeds: Tensor, condition: Tensor) -> Tensor:
        """Draw frames [B,1,h,w] for condition planes [B,P,h,w]."""
        noise = Generator.noise(seeds, (condition.shape[-2], condition.shape[-1]))
        return self.players["generator"](noise.to(condition.device), condition)

    def _batch(self, samples: Sequence[Sample]) -> tuple[Tensor, Tensor]:
        """Frames [B,1,h,w] and condition planes [B,P,h,w]."""
        frames, planes = zip(*(self._sample(sample) for sample in samples), strict=True)
        device = self.setup.processes.device
        return torch.stack(frames).to(device), torch.stack(planes).to(device)

    def _sample(self, sample: Sample) -> tuple[Tensor, Tensor]:
        record, crop = self.records[sample.record], self.setup.config.data.crop_px
        frame, mask = _loaded(record)
        frame, mask = (orient(array, sample.orientation) for array in (frame, mask))
        side = crop or min(frame.shape)
        corner = [
            round(share * (room - side)) for share, room in zip(sample.crop, frame.shape[::-1], strict=True)
        ]
        cut = np.s_[corner[1] : corner[1] + side, corner[0] : corner[0] + side]
        return torch.from_numpy(frame[cut])[None], condition_planes(mask[cut], record.cohort)


def condition_planes(mask: np.ndarray, cohort: Cohort | None) -> Tensor:
    """The mask [H,W], then a plane for each group, 1 for the group asked for; [P,H,W]."""
    planes = torch.zeros(PLANES, *mask.shape)
    planes[0] = torch.from_numpy(mask)
    planes[1 + GROUPS.index(cohort)] = 1.0
    return planes


@contextmanager
def rival(setup: Setup, validation: Validation) -> Iterator[Rival]:
    problem = GanProblem(setup)

    @torch.no_grad()
    def paint(number: int) -> np.ndarray:
        record = validation.chosen[number]
        _, mask = _loaded(record)
        planes = condition_planes(mask, record.cohort)[None].to(setup.processes.device)
        seed = validation.batches[number].noise_seeds
        return problem.paint(seed, planes)[0, 0].float().cpu().numpy()

    yield Rival(problem, paint)


def _loaded(record: Record) -> tuple[np.ndarray, np.ndarray]:
    """Frame and mask [H,W], float32, cut about their centre to whole grains of the generator."""
    mask = load_mask(record)
    assert mask is not None  # checked when the problem was made
    return _cut(load_frame(record)), _cut(mask)


def _cut(array: np.ndarray) -> np.ndarray:
    height, width = (size // GRAIN_PX * GRAIN_PX for size in array.shape)
    top, left = (array.shape[0] - height) // 2, (array.shape[1] - width) // 2
    return np.ascontiguousarray(array[top : top + height, left : left + width], dtype=np.float32)


def _mean(values: Tensor) -> Tensor:
    """Mean of each sample, [B]."""
    return values.flatten(1).mean(1)
