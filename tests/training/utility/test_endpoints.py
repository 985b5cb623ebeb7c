"""Endpoints against hand-computed values and scikit-learn's definition, and verdicts from made-up trainings."""

from __future__ import annotations

import numpy as np
import pytest
from ccm_pack.ccm.errors import DataError
from ccm_pack.training.utility.arms import Arm
from ccm_pack.training.utility.compare import COMPARISONS, by_stratum, compare, values
from ccm_pack.training.utility.endpoints import endpoints
from ccm_pack.training.utility.trial import Verdicts, mean_iou

COHORTS = np.array([0, 0, 1, 1])


def verdicts(f1, cohorts=None) -> Verdicts:
    f1 = np.asarray(f1, float)
    return Verdicts(f1, f1, np.empty((0, 3)) if cohorts is None else np.asarray(cohorts, float))


def test_mean_iou_by_hand() -> None:
    """Nerve: 1 of 3 pixels in common; background: 6 of 8."""
    mask, truth = np.zeros((3, 3), bool), np.zeros((3, 3), bool)
    mask[0, :2], truth[0, 1:] = True, True
    assert mean_iou(mask, truth) == pytest.approx((1 / 3 + 6 / 8) / 2)
    assert mean_iou(np.zeros((2, 2), bool), np.zeros((2, 2), bool)) == 1.0


def test_means_run_over_seeds_and_frames_with_their_weights() -> None:
    found = endpoints([verdicts([0, 1, 1, 1]), verdicts([0, 0, 0, 1])], COHORTS)
    assert list(found) == ["centre_line_f1", "miou"]
    assert found["centre_line_f1"](np.ones(4), np.ones(2)) == pytest.approx(0.5)
    assert found["centre_line_f1"](np.array([2.0, 0, 1, 1]), np.array([1.0, 0])) == pytest.approx(0.5)


def test_accuracy_and_auc_by_hand() -> None:
    """Probability of cohort 1: 0.1, 0.6 for the two of cohort 0, 0.4, 0.9 for those of cohort 1: 3 of 4 pairs."""
    p = np.array([0.1, 0.6, 0.4, 0.9])
    found = endpoints([verdicts([], np.stack([1 - p, p, 0 * p], axis=1))], COHORTS)
    assert found["accuracy"](np.ones(4), np.ones(1)) == 0.5
    assert found["auc"](np.ones(4), np.ones(1)) == pytest.approx(0.75)
    assert found["auc"](np.array([1.0, 0, 1, 1]), np.ones(1)) == 1.0
    assert found["auc"](np.array([1.0, 2, 1, 1]), np.ones(1)) == pytest.approx((2 + 2) / (3 * 2))


def test_auc_equals_the_rank_sum_with_ties() -> None:
    from scipy.stats import mannwhitneyu

    rng = np.random.default_rng(3)
    cohorts, p = rng.integers(0, 2, 60), np.round(rng.random(60), 1)
    found = endpoints([verdicts([], np.stack([1 - p, p, 0 * p], axis=1))], cohorts)["auc"]
    wins = mannwhitneyu(p[cohorts == 1], p[cohorts == 0]).statistic
    pairs = np.count_nonzero(cohorts == 1) * np.count_nonzero(cohorts == 0)
    assert found(np.ones(60), np.ones(1)) == pytest.approx(wins / pairs)


PATIENTS = [f"p{k // 2}" for k in range(48)]
TRUE = np.repeat([0, 1, 2], 16)


def results(gain: float, seed: int = 0) -> dict[Arm, list[Verdicts]]:
    """Trainings whose F1 is a patient's own value, with noise of training and frame, and a gain of the arm ADDED."""
    rng = np.random.default_rng(seed)
    base = np.repeat(rng.normal(0.6, 0.1, 24), 2)

    def arm(mean: float) -> list[Verdicts]:
        return [
            verdicts(base + mean + 0.03 * rng.standard_normal(48) + 0.01 * rng.standard_normal())
            for _ in range(5)
        ]

    return {one: arm(gain if one is Arm.ADDED else 0.0) for one in Arm}


def test_a_gain_is_shown_and_no_gain_is_not() -> None:
    tested = by_stratum(PATIENTS, TRUE)
    assert tested.count == 24
    added = [d for d in compare(results(0.08), tested, 400, 0) if (d.arm, d.against) == (Arm.ADDED, Arm.REAL)]
    assert [d.verdict for d in added] == ["shown", "shown"]
    assert added[0].difference == pytest.approx(0.08, abs=0.02) and added[0].low < 0.08 < added[0].high
    assert added[0].patients_needed is not None and added[0].patients_needed < 24
    lost = [d for d in compare(results(-0.08), tested, 400, 0) if (d.arm, d.against) == (Arm.ADDED, Arm.REAL)]
    assert [d.verdict for d in lost] == ["not shown"] * 2 and all(d.worse for d in lost)
    assert lost[0].patients_needed is None


def shown_without_a_gain(studies: int) -> float:
    tested = by_stratum(PATIENTS, TRUE)
    found = [compare(results(0.0, seed), tested, 200, seed) for seed in range(studies)]
    return float(np.mean([d.verdict == "shown" for one in found for d in one if d.endpoint == "miou"]))


def test_without_a_gain_few_are_shown() -> None:
    assert shown_without_a_gain(30) <= 0.1


@pytest.mark.soak
def test_without_a_gain_at_most_one_in_25_is_shown() -> None:
    """An interval of 95 % promises one in 40."""
    assert shown_without_a_gain(400) <= 0.04


def test_every_arm_is_compared_and_has_a_value_for_each_seed() -> None:
    tested = by_stratum(PATIENTS, TRUE)
    assert len(compare(results(0.0), tested, 200, 0)) == 2 * len(COMPARISONS)
    found = values(results(0.0), tested)
    assert set(found) == set(Arm) and len(found[Arm.REAL]["miou"]) == 5


def test_a_cohort_of_one_patient_has_no_spread() -> None:
    with pytest.raises(DataError, match="Patient c is the only one of a cohort"):
        by_stratum(["a", "a", "b", "c"], np.array([0, 0, 0, 1]))
