"""Training of the segmentation: what is drawn over the phantoms, what counts, and that a step learns."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ccm_pack.ccm.segmentation import SegmentationNet
from ccm_pack.training.nano import distractors
from ccm_pack.training.nano.dataset import PhantomSet
from ccm_pack.training.nano.segmentation import (
    SegmentationSchedule,
    counted_pixels,
    degraded,
    segmentation_loss,
    train_segmentation,
)

SIDE = 64
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


def test_training_lowers_the_loss_and_hands_out_snapshots(monkeypatch):
    rng = np.random.default_rng(0)
    nerves = np.zeros((4, SIDE, SIDE), np.uint8)
    nerves[:, ::16] = nerves[:, 1::16] = 255
    frames = (60 + nerves // 2 + rng.integers(0, 20, nerves.shape)).astype(np.uint8)
    pairs = PhantomSet(frames, nerves, nerves, [""] * 4)
    monkeypatch.setattr("ccm_pack.training.nano.segmentation.SNAPSHOT", 10)
    torch.manual_seed(0)
    seen: list[float] = []
    net = SegmentationNet((1, 1, 1, 1, 1))
    schedule = SegmentationSchedule(steps=20, batch=2, side=32, distraction=0, without_nerves=0, tangled=0.5)
    train_segmentation(net, [pairs], schedule, lambda net: seen.append(float(net.head.bias.detach())))
    assert len(seen) == 2 and seen[0] != seen[1] and not net.training
