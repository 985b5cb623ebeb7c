"""The numbers of a validation, on frames whose numbers are known."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import pytest
from ccm_pack.ccm.cohorts import Cohort
from ccm_pack.ccm.fidelity.features import ExtractorId, FeatureSet
from ccm_pack.ccm.frames.record import Record
from ccm_pack.ccm.morphometry import measure_nerves
from ccm_pack.training.scores import Pair, Traced, equivalence, means, score_frame, score_set
from ccm_pack.training.sheet import HEADINGS, TILE, Row, draw_sheet
from ccm_pack.training.validate import choose
from PIL import Image

ID = ExtractorId("hand", "0", "none")


def line(x: int) -> np.ndarray:
    mask = np.zeros((96, 96), np.float32)
    mask[:, x - 1 : x + 2] = 1.0
    return mask


def traced(mask: np.ndarray) -> Traced:
    return Traced(mask > 0, measure_nerves(mask, 1.0))


def test_a_frame_whose_nerves_are_those_of_the_mask_has_no_error():
    frame = 0.2 + 0.6 * line(48)
    numbers = score_frame(frame, traced(line(48)), Pair(frame, line(48), 1.0))
    assert numbers == {
        "ssim": pytest.approx(1.0),
        "psnr": math.inf,
        "adherence_precision": 1.0,
        "adherence_recall": 1.0,
        "adherence_f1": 1.0,
        "cnfl_mm_per_mm2_error": 0.0,
        "cnfd_per_mm2_error": 0.0,
        "cnbd_per_mm2_error": 0.0,
    }


def test_a_missing_nerve_is_the_length_that_the_mask_has():
    pair = Pair(line(48), line(48), 1.0)
    numbers = score_frame(np.zeros((96, 96), np.float32), traced(0 * line(48)), pair)
    wanted = measure_nerves(line(48), 1.0)
    assert numbers["adherence_f1"] == 0.0 and numbers["ssim"] < 0.9
    assert numbers["cnfl_mm_per_mm2_error"] == wanted.cnfl_mm_per_mm2 == pytest.approx(1000 / 96, rel=0.02)
    assert numbers["cnfd_per_mm2_error"] == wanted.cnfd_per_mm2


def test_a_nerve_ten_pixels_off_is_no_adherence():
    assert score_frame(line(58), traced(line(58)), Pair(line(48), line(48), 1.0))["adherence_f1"] == 0.0


def test_without_a_mask_only_the_frame_is_compared():
    assert list(score_frame(line(48), traced(line(48)), Pair(line(48), None, 1.0))) == ["ssim", "psnr"]


def features(values: list[list[float]]) -> FeatureSet:
    return FeatureSet(np.array(values), ID)


def test_the_nearest_training_frame_is_measured_by_that_of_held_out_frames():
    training = features([[0.0, 0.0], [10.0, 0.0]])
    heldout = features([[4.0, 0.0], [6.0, 0.0]])  # 4 from the nearest, ratio 4 / 6
    numbers = score_set(features([[2.0, 0.0], [8.0, 0.0]]), heldout, [training])  # 2, ratio 2 / 8
    assert numbers["nearest_dcr"] == pytest.approx(0.5) and numbers["nearest_nndr"] == pytest.approx(0.25)
    assert numbers["copies"] == 2.0


def test_equal_frames_have_no_mmd_but_do_not_end_the_run():
    same = features([[1.0, 1.0], [1.0, 1.0]])
    assert math.isnan(score_set(same, same, [features([[0.0, 0.0], [1.0, 0.0]])])["mmd"])


def test_sets_that_lie_apart_have_a_large_mmd():
    rng = np.random.default_rng(0)
    near, far = rng.normal(size=(20, 3)), rng.normal(size=(20, 3))
    training = [features([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]])]
    close = score_set(FeatureSet(near, ID), FeatureSet(far, ID), training)["mmd"]
    apart = score_set(FeatureSet(near + 9, ID), FeatureSet(far, ID), training)["mmd"]
    assert abs(close) < 0.1 < 0.5 < apart


def test_means_are_over_the_frames_that_have_the_number():
    assert means([{"a": 1.0, "b": 4.0}, {"a": 3.0}]) == {"a": 2.0, "b": 4.0}


def test_frames_are_chosen_from_all_cohorts_and_patients_first():
    cohorts = (Cohort.CONTROL, Cohort.T1DPN)
    records = [
        Record(Path(f"{c.value}{p}{f}"), Path("m"), c, f"{c.value}{p}")
        for c in cohorts
        for p in range(2)
        for f in range(3)
    ]
    first, second = (c.value for c in cohorts)
    chosen = [record.frame.name for record in choose(records, 5)]
    assert chosen == [f"{first}00", f"{second}00", f"{first}10", f"{second}10", f"{first}01"]


def test_frames_without_masks_are_chosen_only_if_there_are_no_others():
    bare, masked = Record(Path("a")), Record(Path("b"), Path("m"))
    assert choose([bare, masked], 2) == [masked] and choose([bare], 2) == [bare]


def test_a_sheet_has_a_row_for_each_frame():
    row = Row((None, line(10), line(20), np.zeros((126, 96, 3))), "text")
    picture = Image.open(io.BytesIO(draw_sheet("title", [row, row, row])))
    assert picture.width > len(HEADINGS) * TILE and picture.height > 3 * TILE


def records(*patients: str, cohort: Cohort | None = Cohort.CONTROL) -> list[Record]:
    return [Record(Path(f"{n}.png"), cohort=cohort, patient=patient) for n, patient in enumerate(patients)]


def test_the_same_nerves_in_two_patients_are_equivalent_and_missing_ones_are_not():
    real = [traced(line(48)), traced(line(40))]
    same = equivalence(real, real, records("a", "b"))
    assert set(same.values()) == {1.0} and list(same)[0] == "cnfl_mm_per_mm2_equivalent"
    none = equivalence([traced(0 * line(48))] * 2, real, records("a", "b"))
    assert none["cnfl_mm_per_mm2_equivalent"] == 0.0


def test_two_frames_of_one_patient_show_no_equivalence():
    real = [traced(line(48)), traced(line(40))]
    assert set(equivalence(real, real, records("a", "a")).values()) == {0.0}


def test_without_patients_or_cohorts_there_is_nothing_to_test():
    real = [traced(line(48)), traced(line(40))]
    assert equivalence(real, real, records("a", "b", cohort=None)) == {}
