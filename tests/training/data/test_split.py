"""Splits share no patient, whatever the fractions, and say why they cannot be made."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
import records as made
from ccm_pack.ccm.cohorts import Cohort
from ccm_pack.ccm.errors import TrainingError
from ccm_pack.training.data.split import Splits, split_records
from hypothesis import given, settings
from hypothesis import strategies as st

SHARES = (0.8, 0.1, 0.1)


def split(records: list[made.Record], fractions: tuple[float, ...] = SHARES, seed: int = 0) -> Splits:
    return split_records(records, fractions, seed, allow_image_split=False)


def patients(splits: Splits) -> list[set[str | None]]:
    return [{record.patient for record in members} for members in splits.named().values()]


def test_thirty_patients_are_shared_out_within_each_cohort() -> None:
    splits = split(made.records(30, 4))
    for name, count in (("train", 8), ("validation", 1), ("test", 1)):
        cohorts = Counter(record.cohort for record in splits.named()[name])
        assert cohorts == {cohort: 4 * count for cohort in Cohort}
    assert splits.by_patient


@settings(max_examples=60, deadline=None)
@given(st.integers(3, 40), st.integers(1, 3), st.integers(0, 99), st.integers(1, 8), st.integers(0, 1))
def test_no_patient_is_in_two_sets_and_no_frame_is_lost(
    count: int, frames: int, seed: int, train: int, test: int
) -> None:
    given_records = made.records(count, frames)
    rest = 10 - train
    splits = split(given_records, (train / 10, (rest - test) / 10, test / 10), seed)
    first, second, third = patients(splits)
    assert not (first & second or first & third or second & third)
    together = [record for members in splits.named().values() for record in members]
    assert sorted(map(str, together)) == sorted(map(str, given_records))
    assert len(first) >= 1 and len(second) >= 1 and len(third) >= test


def test_the_seed_alone_decides() -> None:
    records = made.records(30)
    assert patients(split(records)) == patients(split(records[::-1]))
    assert patients(split(records)) != patients(split(records, seed=1))


def test_from_four_patients_on_each_cohort_is_in_every_set() -> None:
    splits = split(made.records(12))
    assert [{r.cohort for r in members} for members in splits.named().values()] == [set(Cohort)] * 3


def test_too_few_patients_for_the_sets_are_refused() -> None:
    with pytest.raises(TrainingError, match="2 patients are too few for a test set"):
        split(made.records(2))


def test_without_patients_there_is_no_split() -> None:
    records = [replace(r, patient=None) for r in made.records(8)]
    with pytest.raises(TrainingError, match=r"8 of 8 frames have no patient, 0_0\.png.*--allow-image-split"):
        split(records)


def test_an_allowed_image_split_says_that_it_is_none_by_patient_and_keeps_known_patients_together() -> None:
    records = [replace(r, patient=None) for r in made.records(10)] + made.records(10, 5)
    splits = split_records(records, (0.5, 0.25, 0.25), 0, allow_image_split=True)
    assert not splits.by_patient
    first, second, third = (found - {None} for found in patients(splits))
    assert not (first & second or first & third or second & third)
    assert sum(map(len, splits.named().values())) == 60


def test_the_flag_changes_nothing_where_patients_are_known() -> None:
    records = made.records(12)
    assert split_records(records, SHARES, 0, allow_image_split=True) == split(records)


def test_splits_of_the_data_set_are_kept() -> None:
    names = ["test", "train", "validation", "train"]
    records = [replace(r, split=name) for r, name in zip(made.records(4), names, strict=True)]
    splits = split(records)
    assert [r.patient for r in splits.train] == ["P1", "P3"]
    assert ([r.patient for r in splits.validation], [r.patient for r in splits.test]) == (["P2"], ["P0"])


def test_a_patient_in_two_sets_is_named() -> None:
    records = [replace(r, split="train") for r in made.records(4, 2)]
    records[3] = replace(records[3], split="test")
    with pytest.raises(TrainingError, match="Patient P1 is in train and test"):
        split(records)


def test_splits_for_some_frames_only_are_refused() -> None:
    records = made.records(4)
    records[2] = replace(records[2], split="train")
    with pytest.raises(TrainingError, match=r"3 of 4 frames have no split, 0_0\.png"):
        split(records)
    with pytest.raises(TrainingError, match="No frame is in the split train"):
        split([replace(r, split="test") for r in records])


def test_no_frames_are_refused() -> None:
    with pytest.raises(TrainingError, match="holds no frames"):
        split([])
