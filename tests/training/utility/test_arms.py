"""What the arms draw, and that nothing but the source of the frames differs between them."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
import torch
from ccm_pack.ccm.frames.record import Record
from ccm_pack.training.utility.arms import Arm, augmented, draws
from ccm_pack.training.utility.data import FrameSet


def frame_set(count: int, cohort: int, side: int = 16) -> FrameSet:
    """Frames of noise whose nerves are number k along the diagonal of frame k."""
    rng = np.random.default_rng([count, cohort])
    nerves = np.zeros((count, side, side), bool)
    nerves[np.arange(count), np.arange(count), np.arange(count)] = True
    return FrameSet(
        tuple(Record(f"{k}.png") for k in range(count)),
        rng.random((count, side, side), dtype=np.float32),
        nerves,
        np.full(count, cohort),
    )


REAL, SYNTHETIC = frame_set(6, 0), frame_set(9, 1)


def drawn(arm: Arm, count: int, seed: int = 0, crop: int | None = None, share: float = 0.5):
    return list(islice(draws(arm, REAL, SYNTHETIC, share, 4, crop, np.random.default_rng(seed)), count))


@pytest.mark.parametrize(
    ("arm", "synthetic"), [(Arm.REAL, 0), (Arm.AUGMENTED, 0), (Arm.ADDED, 2), (Arm.SYNTHETIC, 4)]
)
def test_every_batch_has_its_share_of_synthetic_frames(arm: Arm, synthetic: int) -> None:
    assert all(int(batch.cohorts.sum()) == synthetic for batch in drawn(arm, 5))


@pytest.mark.parametrize(("share", "frames"), [(0.25, 1), (0.05, 1), (0.75, 3), (0.95, 3)])
def test_the_share_can_be_chosen_but_no_arm_is_left_without_either_kind(share: float, frames: int) -> None:
    assert all(int(batch.cohorts.sum()) == frames for batch in drawn(Arm.ADDED, 3, share=share))


def test_every_frame_comes_once_before_any_comes_again() -> None:
    batches = drawn(Arm.REAL, 3)
    where = torch.cat([batch.nerves for batch in batches]).flatten(1).argmax(dim=1)
    assert sorted(where[:6].tolist()) == sorted(where[6:12].tolist()) == [17 * k for k in range(6)]


def test_a_seed_fixes_the_batches() -> None:
    for one, same, other in zip(
        drawn(Arm.ADDED, 3), drawn(Arm.ADDED, 3), drawn(Arm.ADDED, 3, 1), strict=True
    ):
        assert torch.equal(one.frames, same.frames) and not torch.equal(one.frames, other.frames)


def test_crops_of_frame_and_nerves_are_of_one_place() -> None:
    grey = np.where(REAL.nerves, 1.0, 0.0).astype(np.float32)
    marked = FrameSet(REAL.records, grey, REAL.nerves, REAL.cohorts)
    for batch in islice(draws(Arm.REAL, marked, SYNTHETIC, 0.5, 4, 8, np.random.default_rng(2)), 20):
        assert batch.frames.shape == (4, 1, 8, 8) and batch.nerves.shape == (4, 8, 8)
        for frame, nerves in zip(batch.frames[:, 0], batch.nerves, strict=True):
            assert not nerves.any() or frame.argmax() == nerves.argmax()


def test_augmentation_moves_frame_and_nerves_alike_and_stays_in_range() -> None:
    rng = np.random.default_rng(4)
    nerves = np.zeros((16, 16), bool)
    nerves[2, 5] = True
    places = set()
    for _ in range(60):
        frame, moved = augmented(0.9 * nerves.astype(np.float32), nerves, rng)
        assert 0.0 <= frame.min() and frame.max() <= 1.0
        assert frame.argmax() == moved.argmax()
        places.add(int(moved.argmax()))
    assert len(places) == 8
