"""Copies are found by distance ratios worked out by hand, and by planting some."""

from __future__ import annotations

import numpy as np
import pytest
from ccm_pack.ccm.errors import ImageError
from ccm_pack.ccm.fidelity.memorisation import (
    extract_turned,
    memorisation,
    memorisation_among,
    neighbours,
)


def test_nearest_distance_and_ratio_by_hand() -> None:
    training = np.array([[0.0, 0.0], [3.0, 4.0], [100.0, 0.0]])
    nearest, dcr, nndr = neighbours(np.array([[0.0, 1.0], [3.0, 4.0]]), [training])
    assert nearest.tolist() == [0, 1]
    assert dcr == pytest.approx([1.0, 0.0])
    assert nndr == pytest.approx([1.0 / np.sqrt(18.0), 0.0])


def test_the_nearest_orientation_of_a_training_frame_counts() -> None:
    training = np.array([[-1.0], [1.0]])
    nearest, dcr, nndr = neighbours(np.array([[9.0]]), [training, training + 7.0])
    assert nearest.tolist() == [1]
    assert (dcr[0], nndr[0]) == pytest.approx((1.0, 1.0 / 3.0))


def test_a_training_set_with_a_duplicate_gives_ratio_one() -> None:
    _, dcr, nndr = neighbours(np.array([[1.0]]), [np.array([[1.0], [1.0], [5.0]])])
    assert dcr[0] == 0.0 and nndr[0] == 1.0


def test_frames_that_the_network_sees_alike_when_turned_are_taken_once() -> None:
    class Mean:
        name, hash, resize = "mean", "0" * 64, "none"
        turns_alike = True

        def __call__(self, grey: np.ndarray) -> np.ndarray:
            return grey.mean(axis=(1, 2))[:, None]

    assert len(extract_turned(Mean(), np.zeros((2, 4, 4)))) == 1


def test_eight_orientations_are_all_different_and_the_first_is_the_frame() -> None:
    class Pixels:
        name, hash, resize = "pixels", "0" * 64, "none"
        turns_alike = False

        def __call__(self, grey: np.ndarray) -> np.ndarray:
            return grey.reshape(len(grey), -1)

    grey = np.arange(4.0).reshape(1, 2, 2)
    turned = [tuple(one.values[0]) for one in extract_turned(Pixels(), grey)]
    assert turned[0] == (0.0, 1.0, 2.0, 3.0)
    assert len(set(turned)) == 8


def test_planted_copies_are_found_and_few_others_flagged(feature_set, rng) -> None:
    training, heldout = rng.standard_normal((300, 32)), rng.standard_normal((300, 32))
    generated = rng.standard_normal((318, 32))
    generated[:16] = training[40:56] + 0.05 * rng.standard_normal((16, 32))
    result = memorisation(feature_set(generated), [feature_set(training)], feature_set(heldout))
    assert set(range(16)) <= set(result.copies.tolist())
    assert len(result.copies) - 16 <= 0.02 * 302
    assert result.nearest[:16].tolist() == list(range(40, 56))
    assert result.dcr_share >= 16 / 318


def test_flagged_frames_come_most_suspicious_first(feature_set, rng) -> None:
    training, heldout = rng.standard_normal((50, 16)), rng.standard_normal((120, 16))
    generated = training[:3] + np.array([[0.3], [0.01], [0.1]])
    result = memorisation(feature_set(generated), [feature_set(training)], feature_set(heldout))
    assert result.copies.tolist() == [1, 2, 0]


@pytest.mark.parametrize(
    ("heldout", "rank"), [(4, 1), (98, 1), (99, 1), (198, 1), (199, 2), (318, 3), (499, 5)]
)
def test_the_threshold_is_the_highest_below_which_at_most_one_percent_lie_by_chance(
    feature_set, rng, heldout: int, rank: int
) -> None:
    training, held = rng.standard_normal((20, 4)), rng.standard_normal((heldout, 4))
    fresh = feature_set(rng.standard_normal((9, 4)))
    result = memorisation(fresh, [feature_set(training)], feature_set(held))
    _, dcr, nndr = neighbours(held, [training])
    assert result.rank == rank and result.by_chance == pytest.approx(9 * rank / (heldout + 1))
    assert (result.nndr_threshold, result.dcr_threshold) == (np.sort(nndr)[rank - 1], np.sort(dcr)[rank - 1])


def flagged_by_chance(feature_set, rng, studies: int, heldout: int) -> tuple[float, float]:
    """How many of 50 fresh frames are flagged, on average over studies, and how many are expected."""
    found, expected = [], 0.0
    for _ in range(studies):
        fresh, training, held = (feature_set(rng.standard_normal((n, 8))) for n in (50, 40, heldout))
        result = memorisation(fresh, [training], held)
        found.append(len(result.copies))
        expected = result.by_chance
    return float(np.mean(found)), expected


@pytest.mark.parametrize("heldout", [4, 99])
def test_fresh_frames_are_flagged_as_often_as_is_said(feature_set, rng, heldout: int) -> None:
    found, expected = flagged_by_chance(feature_set, rng, 400, heldout)
    assert found == pytest.approx(expected, rel=0.25)


@pytest.mark.soak
@pytest.mark.parametrize("heldout", [4, 40, 99, 318])
def test_fresh_frames_are_flagged_as_often_as_is_said_in_many_studies(feature_set, rng, heldout: int) -> None:
    found, expected = flagged_by_chance(feature_set, rng, 5000, heldout)
    assert found == pytest.approx(expected, rel=0.07)


def test_a_patient_on_both_sides_is_refused(feature_set, rng) -> None:
    training = feature_set(rng.standard_normal((3, 2)), ["p1", "p1", "p2"])
    heldout = feature_set(rng.standard_normal((2, 2)), ["p3", "p2"])
    with pytest.raises(ImageError, match="p2"):
        memorisation(training, [training], heldout)


def test_among_themselves_training_frames_are_judged_by_other_patients(feature_set) -> None:
    training = feature_set([[0.0], [0.5], [10.0], [30.0], [70.0]], list("aabcd"))
    found = memorisation_among(feature_set([[10.1], [50.0]]), [training])
    # With its own patient left out: a 10/30 and 9.5/29.5, b 9.5/10, c 20/29.5, d 40/60.
    assert found.nndr_threshold == pytest.approx(9.5 / 29.5)
    assert found.nndr == pytest.approx([0.1 / 9.6, 20 / 20])
    assert found.copies.tolist() == [0] and found.n_heldout == 5


def test_where_patients_are_unknown_only_the_frame_itself_is_left_out(feature_set) -> None:
    training = feature_set([[0.0], [0.5], [10.0], [30.0]])
    found = memorisation_among(feature_set([[20.0], [21.0]]), [training])
    # 0.5/10, 0.5/9.5, 9.5/10, 20/29.5.
    assert found.nndr_threshold == pytest.approx(0.5 / 10)


def test_chance_flags_rank_over_one_more_than_the_heldout_frames(feature_set) -> None:
    training = feature_set([[0.0], [10.0], [30.0], [70.0]])
    found = memorisation_among(feature_set([[10.1], [50.0]]), [training])
    assert found.rank == 1 and found.by_chance == pytest.approx(2 * 1 / 5)
    assert found.copies.tolist() == [0]
    assert found.p_value == pytest.approx(1 - (4 * 5) / (5 * 6))  # of 4 + 2 the least is not among the 4


def test_two_patients_cannot_judge_each_other(feature_set) -> None:
    training = feature_set([[0.0], [1.0], [2.0]], ["a", "a", "b"])
    with pytest.raises(ImageError, match="fewer than two training frames are left"):
        memorisation_among(feature_set([[5.0], [6.0]]), [training])
