"""Training, validation and test sets that share no patient."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from ...ccm.errors import TrainingError
from ...ccm.frames.record import SPLITS, Record

_STREAM = 4  # keeps these random numbers apart from those of the sampler
ENOUGH = 4  # patients of a cohort that every set gets one of
ALLOW = "--allow-image-split"


@dataclass(frozen=True)
class Splits:
    """The records of each set; by_patient is False where patients may be in several."""

    train: list[Record]
    validation: list[Record]
    test: list[Record]
    by_patient: bool

    def named(self) -> dict[str, list[Record]]:
        """Return the sets by name, in the order of SPLITS."""
        return {name: getattr(self, name) for name in SPLITS}


def split_records(
    records: Sequence[Record], fractions: Sequence[float], seed: int, allow_image_split: bool
) -> Splits:
    """Split records by patient, as they say themselves, or else at random with these shares of the patients.

    fractions are those of training, validation and test. Each cohort is split on its own, so that the sets are
    alike; a set with a fraction above 0 gets a patient of every cohort that has enough. Image by image, if that
    is allowed, only where patients are unknown. Raises TrainingError for unknown patients, for a patient in two
    sets, for records of which only some have a split, and for too few patients.
    """
    if not records:
        raise TrainingError(
            "The data set holds no frames", fix="check the path with `python . dataset check`"
        )
    unknown = [record for record in records if record.patient is None]
    if unknown and not allow_image_split:
        raise TrainingError(
            f"{len(unknown)} of {len(records)} frames have no patient, {unknown[0].frame.name} for one, so that "
            "frames of one eye could be trained on and tested on",
            fix=f"list the frames in a table.csv with a column patient, or type {ALLOW}, which is recorded",
        )
    own = _own_splits(records)
    splits = own if own else _random_splits(records, fractions, seed)
    _refuse_shared_patients(splits)
    return Splits(*(splits[name] for name in SPLITS), by_patient=not unknown)


def shared_patients(splits: dict[str, list[Record]]) -> dict[str, list[str]]:
    """Return the names of the sets that a patient is in, for each patient in more than one."""
    found: dict[str, list[str]] = defaultdict(list)
    for name, records in splits.items():
        for patient in sorted({record.patient for record in records if record.patient is not None}):
            found[patient].append(name)
    return {patient: names for patient, names in found.items() if len(names) > 1}


def _refuse_shared_patients(splits: dict[str, list[Record]]) -> None:
    for patient, names in shared_patients(splits).items():
        raise TrainingError(
            f"Patient {patient} is in {' and '.join(names)}",
            fix="give all frames of a patient the same split, or leave the column split empty",
        )


def _own_splits(records: Sequence[Record]) -> dict[str, list[Record]] | None:
    """Return the splits that the records name, or None where none does."""
    bare = [record for record in records if record.split is None]
    if len(bare) == len(records):
        return None
    if bare:
        raise TrainingError(
            f"{len(bare)} of {len(records)} frames have no split, {bare[0].frame.name} for one, but others have",
            fix="fill in the column split for all frames or for none",
        )
    splits = {name: [record for record in records if record.split == name] for name in SPLITS}
    if not splits["train"]:
        raise TrainingError("No frame is in the split train", fix="correct the column split")
    return splits


def _random_splits(
    records: Sequence[Record], fractions: Sequence[float], seed: int
) -> dict[str, list[Record]]:
    """Deal the patients of each cohort, in random order, to the sets."""
    patients: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        patients[record.patient if record.patient is not None else str(record.frame)].append(record)
    cohorts: dict[str, list[str]] = defaultdict(list)
    for patient in sorted(patients):
        cohorts[str(patients[patient][0].cohort)].append(patient)
    dealt: dict[str, list[str]] = {name: [] for name in SPLITS}
    for number, cohort in enumerate(sorted(cohorts)):
        order = np.random.default_rng([_STREAM, seed, number]).permutation(cohorts[cohort]).tolist()
        for name, count in zip(SPLITS, _shares(len(order), fractions), strict=True):
            dealt[name] += order[:count]
            order = order[count:]
    for name, fraction in zip(SPLITS, fractions, strict=True):
        if fraction > 0 and not dealt[name]:
            _fill(name, dealt)
    return {name: [r for patient in sorted(dealt[name]) for r in patients[patient]] for name in SPLITS}


def _fill(name: str, dealt: dict[str, list[str]]) -> None:
    """Move a patient from the largest set to an empty one; raises TrainingError where there is none to spare."""
    largest = max(dealt, key=lambda other: len(dealt[other]))
    if len(dealt[largest]) < 2:
        raise TrainingError(
            f"{sum(map(len, dealt.values()))} patients are too few for a {name} set",
            fix="bring more patients, or set its share in data.fractions to 0",
        )
    dealt[name].append(dealt[largest].pop())


def _shares(count: int, fractions: Sequence[float]) -> list[int]:
    """Share out whole patients, each set to the nearest number; from ENOUGH on, at least one for every set."""
    ends = [round(count * share) for share in accumulate(fractions)]
    shares = [end - start for start, end in zip([0, *ends], ends, strict=False)]
    for number, fraction in enumerate(fractions):
        if fraction > 0 and not shares[number] and count >= ENOUGH:
            shares[shares.index(max(shares))] -= 1
            shares[number] += 1
    return shares
