"""Arms against one another: differences with intervals, verdicts, and how many patients a gain needs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...ccm.errors import DataError
from ...ccm.statistics.crossed import crossed_bootstrap
from ...ccm.statistics.power import patients_gain
from .arms import Arm
from .endpoints import endpoints
from .trial import Verdicts

SHOWN, NOT_SHOWN = "shown", "not shown"
COMPARISONS = (
    (Arm.AUGMENTED, Arm.REAL),
    (Arm.ADDED, Arm.REAL),
    (Arm.SYNTHETIC, Arm.REAL),
    (Arm.ADDED, Arm.AUGMENTED),
)
POWER = 0.8
_BOOTSTRAP = 11  # keeps these random numbers apart

Results = Mapping[Arm, Sequence[Verdicts]]  # one for each seed


@dataclass(frozen=True)
class Difference:
    """One endpoint of `arm` less that of `against`, with its 95 % interval over patients and seeds.

    `patients_needed` is how many test patients would show a gain of this size, with as many seeds, with 80 % power;
    None where there is no gain, or where no number would. `seed_share` is the seeds' share of the variance.
    """

    endpoint: str
    arm: Arm
    against: Arm
    difference: float
    low: float
    high: float
    patients_needed: int | None
    seed_share: float

    @property
    def verdict(self) -> str:
        return SHOWN if self.low > 0.0 else NOT_SHOWN

    @property
    def worse(self) -> bool:
        """Whether the interval shows a loss."""
        return self.high < 0.0


@dataclass(frozen=True)
class TestedPatients:
    """Who is tested on: the true cohort of each frame [N], and the frames of each patient, cohort by cohort."""

    cohorts: np.ndarray
    strata: tuple[tuple[np.ndarray, ...], ...]

    @property
    def count(self) -> int:
        return sum(map(len, self.strata))


def by_stratum(patients: Sequence[str], cohorts: np.ndarray) -> TestedPatients:
    """Group frames by patient and patients by cohort; raises DataError for a cohort of one patient."""
    members: dict[int, dict[str, list[int]]] = {}
    for frame, (patient, cohort) in enumerate(zip(patients, cohorts.tolist(), strict=True)):
        members.setdefault(cohort, {}).setdefault(patient, []).append(frame)
    for group in members.values():
        if len(group) < 2:
            raise DataError(
                f"Patient {next(iter(group))} is the only one of a cohort that is tested on, which has no spread",
                fix="bring more patients, or raise data.test_share",
            )
    strata = tuple(
        tuple(np.array(frames) for frames in group.values()) for _, group in sorted(members.items())
    )
    return TestedPatients(cohorts, strata)


def compare(results: Results, tested: TestedPatients, resamples: int, seed: int) -> list[Difference]:
    """Return every endpoint of every comparison in COMPARISONS."""
    found = []
    for name in endpoints(results[Arm.REAL], tested.cohorts):
        for number, (arm, against) in enumerate(COMPARISONS):
            rng = np.random.default_rng([_BOOTSTRAP, seed, number])
            found.append(_difference(name, arm, against, results, tested, resamples, rng))
    return found


def values(results: Results, tested: TestedPatients) -> dict[Arm, dict[str, list[float]]]:
    """Return each endpoint of each arm, one value for each seed."""
    frames = np.ones(len(tested.cohorts))
    return {
        arm: {
            name: [endpoint(frames, one) for one in np.eye(len(verdicts))]
            for name, endpoint in endpoints(verdicts, tested.cohorts).items()
        }
        for arm, verdicts in results.items()
    }


def _difference(
    name: str,
    arm: Arm,
    against: Arm,
    results: Results,
    tested: TestedPatients,
    resamples: int,
    rng: np.random.Generator,
) -> Difference:
    ours, theirs = (endpoints(results[one], tested.cohorts)[name] for one in (arm, against))

    def difference(weights: Sequence[np.ndarray]) -> float:
        *of_patients, seeds = weights
        frames = np.zeros(len(tested.cohorts))
        for stratum, drawn in zip(tested.strata, of_patients, strict=True):
            for members, times in zip(stratum, drawn, strict=True):
                frames[members] = times
        return ours(frames, seeds) - theirs(frames, seeds)

    sizes = [*map(len, tested.strata), len(results[arm])]
    found = crossed_bootstrap(sizes, difference, rng, resamples)
    *of_patients, of_seeds = found.variances
    spread = math.sqrt(tested.count * sum(of_patients))
    return Difference(
        endpoint=name,
        arm=arm,
        against=against,
        difference=found.value,
        low=found.interval[0],
        high=found.interval[1],
        patients_needed=_needed(spread, found.value, of_seeds, len(results[arm])),
        seed_share=of_seeds / sum(found.variances) if of_seeds > 0.0 else 0.0,
    )


def _needed(spread: float, gain: float, of_seeds: float, seeds: int) -> int | None:
    """Patients for the power, from their spread and the variance that as many seeds leave."""
    if gain <= 0.0 or spread <= 0.0:
        return None
    try:
        return patients_gain(spread, gain, math.sqrt(of_seeds), seeds - 1, POWER)
    except DataError:  # the seeds' own variance is too large
        return None
