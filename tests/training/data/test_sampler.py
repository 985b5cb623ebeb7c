"""Samples are a pure function of seed and number, balanced by cohort, without loss."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from ccm_pack.ccm.cohorts import Cohort
from ccm_pack.ccm.errors import TrainingError
from ccm_pack.training.config import DataConfig
from ccm_pack.training.data.sampler import Sampler, orient

COHORTS = [Cohort.CONTROL] * 5 + [Cohort.T1NODPN] * 2 + [Cohort.T1DPN] * 3


def sampler(seed: int = 0, cohorts: list[Cohort | None] | None = None, **options: object) -> Sampler:
    return Sampler(cohorts or COHORTS, DataConfig(path="", **options), seed)


def test_a_sample_depends_on_seed_and_number_alone() -> None:
    forward, backward = sampler(), sampler()
    samples = [forward.sample(k) for k in range(50)]
    assert [backward.sample(k) for k in reversed(range(50))] == samples[::-1]
    assert [sampler(seed=1).sample(k) for k in range(50)] != samples


def test_each_round_draws_every_cohort_once() -> None:
    drawn = [COHORTS[sampler().sample(k).record] for k in range(60)]
    for start in range(0, 60, 3):
        assert set(drawn[start : start + 3]) == set(Cohort)


def test_each_record_comes_once_before_any_of_its_cohort_comes_again() -> None:
    draw = sampler()
    of_controls = [r for k in range(90) if (r := draw.sample(k).record) < 5]
    epochs = [of_controls[start : start + 5] for start in range(0, 30, 5)]
    assert all(sorted(epoch) == [0, 1, 2, 3, 4] for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_unbalanced_every_record_comes_once_an_epoch() -> None:
    draw = sampler(balanced=False)
    for start in (0, 10, 20):
        assert sorted(draw.sample(k).record for k in range(start, start + 10)) == list(range(10))


def test_records_without_a_cohort_are_one_group() -> None:
    draw = sampler(cohorts=[None] * 4)
    assert sorted(draw.sample(k).record for k in range(4)) == [0, 1, 2, 3]
    mixed = sampler(cohorts=[None, None, None, Cohort.T1DPN])
    assert Counter(mixed.sample(k).record == 3 for k in range(12)) == {True: 6, False: 6}


def test_the_shares_of_dropped_captions_and_masks_are_those_asked_for() -> None:
    samples = [sampler(caption_drop=0.1, control_drop=0.3).sample(k) for k in range(4000)]
    assert np.mean([s.drop_caption for s in samples]) == pytest.approx(0.1, abs=0.02)
    assert np.mean([s.drop_control for s in samples]) == pytest.approx(0.3, abs=0.03)
    both = np.mean([s.drop_caption and s.drop_control for s in samples])
    assert both == pytest.approx(0.03, abs=0.01)
    assert {s.orientation for s in samples} == set(range(8))
    assert len({s.noise_seed for s in samples}) == 4000
    assert all(0 <= share < 1 for s in samples for share in s.crop)


def test_what_is_switched_off_changes_nothing_else() -> None:
    on = sampler(caption_drop=1.0, control_drop=1.0).sample(7)
    off = sampler(caption_drop=0.0, control_drop=0.0, flips=False).sample(7)
    assert (on.drop_caption, on.drop_control, off.drop_caption, off.drop_control) == (
        True,
        True,
        False,
        False,
    )
    assert off.orientation == 0
    assert (on.record, on.crop, on.noise_seed) == (off.record, off.crop, off.noise_seed)


def test_no_training_frames_are_refused() -> None:
    with pytest.raises(TrainingError, match="no training frames"):
        Sampler([], DataConfig(path=""), 0)


def test_the_eight_orientations_are_those_of_the_square() -> None:
    square = np.array([[1, 2], [3, 4]])
    seen = [orient(square, number).tolist() for number in range(8)]
    assert seen[0] == [[1, 2], [3, 4]]
    assert seen[1] == [[2, 4], [1, 3]]  # counter-clockwise
    assert seen[4] == [[2, 1], [4, 3]]
    assert len({str(turned) for turned in seen}) == 8


def test_stacked_frames_and_masks_turn_alike() -> None:
    pair = np.arange(12).reshape(2, 2, 3)
    for number in range(8):
        turned = orient(pair, number)
        assert (turned[1] - turned[0] == 6).all()
        assert turned.shape == ((2, 3, 2) if number % 2 else (2, 2, 3))
