"""The mask-conditional GAN: what its generator may depend on, and that neither player moves the other's weights."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from ccm_pack.ccm.cohorts import Cohort
from ccm_pack.training.discriminator import Discriminator
from ccm_pack.training.rivals import with_optimizer
from ccm_pack.training.rivals.gan import PLANES, GanProblem, condition_planes
from ccm_pack.training.rivals.networks import Generator
from small_problem import small_config
from torch import Tensor


def planes(size: tuple[int, int] = (32, 48), column: int = 8) -> Tensor:
    mask = np.zeros(size, np.float32)
    mask[:, column : column + 3] = 1.0
    return condition_planes(mask, Cohort.T1DPN)[None]


@pytest.fixture
def generator() -> Generator:
    torch.manual_seed(0)
    return Generator(PLANES).eval()


def draw(generator: Generator, condition: Tensor, seed: int = 1) -> Tensor:
    with torch.no_grad():
        return generator(
            Generator.noise(torch.tensor([seed]), (condition.shape[-2], condition.shape[-1])), condition
        )


def test_the_condition_is_the_mask_and_one_plane_for_the_cohort() -> None:
    found = planes()[0]
    assert found.shape == (PLANES, 32, 48) and found[0].sum() == 3 * 32
    assert [float(plane.mean()) for plane in found[1:]] == [0.0, 0.0, 1.0, 0.0]


def test_frames_have_the_size_of_their_mask_and_lie_between_0_and_1(generator: Generator) -> None:
    frame = draw(generator, planes())
    assert frame.shape == (1, 1, 32, 48) and 0 <= frame.min() and frame.max() <= 1


def test_a_frame_is_fixed_by_mask_cohort_and_seed_and_changes_with_each(generator: Generator) -> None:
    frame = draw(generator, planes())
    assert torch.equal(frame, draw(generator, planes()))
    other = planes()
    other[:, 1:] = other[:, [4, 1, 2, 3]]
    for changed in (
        draw(generator, planes(), seed=2),
        draw(generator, planes(column=30)),
        draw(generator, other),
    ):
        assert not torch.allclose(frame, changed)


def test_a_frame_does_not_depend_on_its_batch(generator: Generator) -> None:
    both = torch.cat([planes(), planes(column=30)])
    with torch.no_grad():
        frames = generator(Generator.noise(torch.tensor([1, 2]), (32, 48)), both)
    assert torch.allclose(frames[:1], draw(generator, planes()), atol=1e-6)


def test_the_discriminator_scores_patches() -> None:
    score, features = Discriminator(PLANES)(torch.rand(2, 1, 64, 64), planes((64, 64)).expand(2, -1, -1, -1))
    assert score.shape == (2, 1, 7, 7) and len(features) == 3


class OneBatch(GanProblem):
    """The problem with one fixed batch in place of a data set."""

    def __init__(self) -> None:
        config: Any = SimpleNamespace(run=SimpleNamespace(seed=0))
        splits, cpu = SimpleNamespace(train=[]), SimpleNamespace(device=torch.device("cpu"))
        sampler = SimpleNamespace(sample=lambda k: SimpleNamespace(noise_seed=k))
        setup: Any = SimpleNamespace(config=config, splits=splits, processes=cpu, sampler=sampler)
        super().__init__(setup)

    def _batch(self, samples: Any) -> tuple[Tensor, Tensor]:
        real = torch.rand(len(samples), 1, 32, 32, generator=torch.Generator().manual_seed(0))
        return real, planes((32, 32)).expand(len(samples), -1, -1, -1)


def test_each_player_gets_the_gradients_of_its_own_loss_alone() -> None:
    problem = OneBatch()
    losses = problem.losses(range(3))
    assert losses.shape == (3,)
    losses.sum().backward()
    real, condition = problem._batch([None] * 3)
    fake = problem.paint(torch.arange(3), condition).detach()
    judge = problem.players["discriminator"]
    got = {name: p.grad.clone() for name, p in judge.named_parameters()}
    judge.zero_grad()
    hinge = torch.relu(1 - judge(real, condition)[0]) + torch.relu(1 + judge(fake, condition)[0])
    hinge.flatten(1).mean(1).sum().backward()
    for name, p in judge.named_parameters():
        assert torch.allclose(got[name], p.grad, atol=1e-6), name
    assert all(p.grad is not None for p in problem.players["generator"].parameters())


@pytest.mark.parametrize("name", ["gan", "scratch"])
def test_a_rival_keeps_steps_and_samples(name: str) -> None:
    config = small_config()
    rival = with_optimizer(config, name)
    assert (rival.optimizer.steps, rival.optimizer.batch, rival.data) == (12, 2, config.data)
    assert rival.optimizer.learning_rate != config.optimizer.learning_rate
