"""Training of the segmentation: what is drawn over the phantoms, what counts, and that a step learns."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from ccm_pack.ccm.equivariant import ORDER
from ccm_pack.ccm.segmentation import SegmentationNet, normalise
from ccm_pack.training.nano import distractors
from ccm_pack.training.nano.dataset import PhantomSet
from ccm_pack.training.nano.segmentation import (
    Augmentation,
    SegmentationProblem,
    SteadyProblem,
    best_threshold,
    counted_pixels,
    degraded,
    segmentation_loss,
    unsteadiness,
)

SIDE, CPU = 64, torch.device("cpu")
KINDS = ("k_structures", "pressure_lines", "dendritic_cells", "epithelium", "nuclei", "patches", "background")


@pytest.mark.parametrize("kind", KINDS)
def test_every_distraction_is_finite_and_repeats_with_its_seed(kind):
    draw = getattr(distractors, kind)
    light, again = (draw(SIDE, np.random.default_rng(5)) for _ in range(2))
    assert light.shape == (SIDE, SIDE) and np.isfinite(light).all() and (light == again).all()
    assert light.std() > 0


def test_pressure_lines_take_light_away():
    assert distractors.pressure_lines(SIDE, np.random.default_rng(0)).max() <= 0


def test_degrading_keeps_size_and_type():
    frame = degraded(np.full((SIDE, SIDE), 0.4, np.float32), np.random.default_rng(1))
    assert frame.shape == (SIDE, SIDE) and frame.dtype == np.float32 and np.isfinite(frame).all()


def test_a_nerve_that_cannot_be_seen_does_not_count_and_a_bright_one_does():
    nerves = np.zeros((SIDE, SIDE), np.float32)
    nerves[20:23] = nerves[44:47] = 1
    frame = 0.3 + 0.02 * np.random.default_rng(2).standard_normal((SIDE, SIDE)).astype(np.float32)
    frame[20:23] += 0.3
    counted = counted_pixels(frame, nerves)
    assert counted[21].mean() == 1 and counted[45].mean() < 0.3
    assert counted[nerves == 0].all()


def test_uncounted_pixels_do_not_change_the_loss():
    nerves, counted = torch.zeros(1, 4, 4), torch.ones(1, 4, 4)
    counted[0, 0] = 0
    logits = torch.zeros(1, 4, 4)
    changed = logits.clone()
    changed[0, 0] = 9.0
    assert segmentation_loss(logits, nerves, counted) == segmentation_loss(changed, nerves, counted)


def test_answers_that_agree_are_steady():
    logits = torch.randn(2, 16, 16)
    assert unsteadiness(logits, logits) == 0


def test_only_doubtful_pixels_away_from_the_rim_make_an_answer_unsteady():
    logits = torch.zeros(1, 16, 16)
    logits[0, 8] = 9.0  # sure, and sure in the copy
    noisier = logits.clone()
    noisier[0, 8] = 7.0
    noisier[0, 0] = 5.0  # on the rim
    assert unsteadiness(logits, noisier) == 0


def test_a_lower_answer_costs_its_distance_and_its_bias():
    logits = torch.zeros(1, 16, 16)
    assert unsteadiness(logits, logits - 2.0).item() == pytest.approx(1.5 + 2.0)  # smooth L1 of 2 is 1.5


def test_the_best_threshold_is_where_calling_pixels_nerve_agrees_best_with_the_truth():
    logits = torch.tensor([3.0, -2.0, 1.0, 2.0, -1.0, 0.0])
    truth = torch.tensor([True, False, True, True, False, False])
    assert best_threshold(logits, truth) == 1.0  # the three highest are the three nerves
    truth[3] = False
    assert best_threshold(logits, truth) == 1.0  # Dice 4/5; the highest alone has 2/3


@pytest.fixture
def problem():
    return small(SegmentationProblem)


def small(kind):
    rng = np.random.default_rng(0)
    nerves = np.zeros((4, SIDE, SIDE), np.uint8)
    nerves[:, ::16] = nerves[:, 1::16] = 255
    frames = (60 + nerves // 2 + rng.integers(0, 20, nerves.shape)).astype(np.uint8)
    torch.manual_seed(0)
    net = SegmentationNet((1, 1, 1, 1, 1))
    augmentation = Augmentation(side=32, distraction=0, without_nerves=0, tangled=0.5)
    return kind(net, [PhantomSet(frames, frames, nerves, nerves, [""] * 4)], augmentation, 1, CPU)


def test_a_step_down_the_gradient_lowers_the_loss(problem):
    before = problem.losses(range(4)).mean()
    before.backward()
    with torch.no_grad():
        for parameter in problem.parameters.values():
            parameter -= 0.01 * parameter.grad
        assert problem.losses(range(4)).mean() < before


def test_a_steady_problem_asks_of_every_crop_twice_with_the_same_truth():
    frames, nerves, counted = small(SteadyProblem).batch(range(2))
    assert frames.shape == (4, 32, 32)
    assert (nerves[::2] == nerves[1::2]).all() and (counted[::2] == counted[1::2]).all()
    assert not torch.allclose(frames[::2], frames[1::2])


def test_settling_gives_the_norms_the_mean_statistics_of_its_batches(problem, monkeypatch):
    monkeypatch.setattr("ccm_pack.training.nano.segmentation.SETTLING", 3)
    net = problem.settle({name: p.detach() for name, p in problem.parameters.items()}, first=8, batch=2)
    block = net.stem[0]
    seen = [normalise(problem.batch(range(8 + 2 * k, 10 + 2 * k))[0]) for k in range(3)]
    with torch.no_grad():
        fields = [F.conv2d(x, block.kernels(), stride=2, padding=2) for x in seen]
    means = [x.reshape(2, -1, ORDER, *x.shape[2:]).mean((0, 2, 3, 4)) for x in fields]
    assert torch.allclose(block.norm.running_mean, torch.stack(means).mean(0), atol=1e-5)
    assert not net.training
