"""Two labelled sets to a verdict: what is claimed, and what is not."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
from ccm_pack.ccm.equivalence.compare import EquivalenceReport, compare_sets
from ccm_pack.ccm.equivalence.margins import NAMES, parse_margins
from ccm_pack.ccm.equivalence.rows import read_rows
from ccm_pack.ccm.equivalence.summary import describe, to_csv, to_json
from ccm_pack.ccm.errors import DataError
from ccm_pack.ccm.statistics.equivalence import Design

CNFL = "CNFL 1.5"


def labels(cohorts: list[str], frames: int = 1) -> str:
    """A patient of its own for every `frames` frames."""
    lines = [f"{cohort},p{index // frames}" for index, cohort in enumerate(cohorts)]
    return "\n".join(["cohort,patient", *lines])


def run(
    real: str, real_labels: str, fake: str, fake_labels: str, margins: str = CNFL, paired: bool = False
) -> EquivalenceReport:
    sets = read_rows("real", real, real_labels), read_rows("generated", fake, fake_labels)
    return compare_sets(*sets, parse_margins(margins), Design.PAIRED if paired else Design.INDEPENDENT)


def test_many_patients_of_one_population_are_shown_equivalent(measured, rng) -> None:
    cohorts = ["Control"] * 150 + ["T1DPN"] * 150
    means = np.repeat([20.0, 10.0], 150)
    real, fake = (measured(list(means + 3.0 * rng.standard_normal(300))) for _ in range(2))
    report = run(real, labels(cohorts), fake, "cohort\n" + "\n".join(cohorts))
    assert report.shown and len(report.comparisons) == 2
    assert report.p_value == max(one.test.p_value for one in report.comparisons)
    assert "Equivalence shown: 2 of 2 tests passed" in describe(report)
    assert "each counts as an independent draw" in describe(report)


def test_one_failing_cohort_fails_the_claim(measured, rng) -> None:
    cohorts = ["Control"] * 150 + ["T1DPN"] * 150
    noise = 3.0 * rng.standard_normal((2, 300))
    noise[1, 150:] += 2.0
    fake = "cohort\n" + "\n".join(cohorts)
    report = run(measured(list(noise[0])), labels(cohorts), measured(list(noise[1])), fake)
    assert [one.test.shown for one in report.comparisons] == [True, False]
    assert not report.shown
    assert "Equivalence not shown: 1 of 2 tests passed." in describe(report)


def test_few_patients_are_not_shown_and_told_how_many_it_takes(measured, rng) -> None:
    real, fake = (measured(list(15 + 4 * rng.standard_normal(6))) for _ in range(2))
    report = run(real, labels(["Control"] * 6), fake, labels(["Control"] * 6))
    assert not report.shown and report.comparisons[0].needed > 20
    text = describe(report)
    assert "not shown" in text and f"{report.comparisons[0].needed} patients" in text
    assert '"Not shown" does not mean different' in text


def test_frames_of_a_patient_count_once(measured, rng) -> None:
    """60 frames of 6 patients are 6, whatever their spread."""
    frames = list(15.0 + 0.01 * rng.standard_normal(60))
    report = run(
        measured(frames), labels(["Control"] * 60, frames=10), measured(frames[::-1]), "cohort\nControl"
    )
    (one,) = report.comparisons
    assert (one.test.n_a, one.test.n_b, one.frames) == (6, 60, (60, 60))
    assert one.real[0] == pytest.approx(np.mean(frames[:10]))


def test_unknown_patients_forbid_the_claim(measured, rng) -> None:
    real, fake = (measured(list(15.0 + 0.1 * rng.standard_normal(50))) for _ in range(2))
    report = run(real, "cohort\nControl", fake, "cohort\nControl")
    assert report.comparisons[0].test.shown and not report.shown
    assert "Equivalence cannot be claimed" in describe(report) and "patients of the real" in describe(report)


def test_identical_sets_are_called_copies(measured, rng) -> None:
    real = measured(list(15.0 + rng.standard_normal(50)))
    report = run(real, labels(["Control"] * 50), real, "cohort\nControl")
    assert not report.shown
    assert "copies, or one set twice" in describe(report)


def test_one_frame_a_side_is_not_tested(measured) -> None:
    report = run(measured([15.0]), labels(["Control"]), measured([15.2]), labels(["Control"]))
    assert report.p_value is None and not report.shown
    assert "1 real and 1 generated patients; it takes 2 of each" in report.comparisons[0].reason
    assert "not tested" in describe(report)
    assert json.loads(to_json(report))["p_value"] is None


def test_sets_without_a_common_cohort_are_refused(measured) -> None:
    with pytest.raises(DataError, match="real frames are of Control, generated frames of T1DPN"):
        run(measured([1.0, 2.0]), "cohort\nControl", measured([1.0]), "cohort\nT1DPN")


def test_a_cohort_that_only_one_side_has_stands_against_the_claim(measured, rng) -> None:
    real = measured(list(15 + 0.1 * rng.standard_normal(40)))
    cohorts = ["Control"] * 20 + ["T1DPN"] * 20
    fake = measured(list(15 + 0.1 * rng.standard_normal(20)))
    report = run(real, labels(cohorts), fake, "cohort\nControl")
    assert not report.shown
    assert "could be tested in every cohort: CNFL in T1DPN" in describe(report)


def test_paired_takes_the_spread_of_differences(measured, rng) -> None:
    """Masks differ by 4 mm/mm2, their copies by 0.5: pairs show at 30 what patients cannot."""
    base = 15.0 + 4.0 * rng.standard_normal(30)
    real, fake = measured(list(base)), measured(list(base + 0.5 * rng.standard_normal(30)))
    cohort = labels(["Control"] * 30)
    paired = run(real, cohort, fake, cohort, paired=True)
    assert paired.shown and paired.comparisons[0].agreement.n == 30
    assert "follow the mask, not that the generated population is realistic" in describe(paired)
    assert "Equivalence on shared masks shown" in describe(paired)
    assert paired.comparisons[0].icc.value > 0.9
    assert f"limits of agreement {paired.comparisons[0].agreement.lower:+.3g}" in describe(paired)


def test_patients_on_both_sides_are_no_independent_population(measured, rng) -> None:
    cohort = labels(["Control"] * 40)
    real, fake = (measured(list(15.0 + 0.1 * rng.standard_normal(40))) for _ in range(2))
    report = run(real, cohort, fake, cohort)
    assert report.comparisons[0].test.shown and not report.shown
    assert report.comparisons[0].agreement is None
    assert "40 patients are named in both sets" in describe(report)


def test_pairs_must_match(measured) -> None:
    with pytest.raises(DataError, match="2 real and 1 generated frames are no pairs"):
        run(measured([1.0, 2.0]), "cohort\nControl", measured([1.0]), "cohort\nControl", paired=True)
    with pytest.raises(DataError, match="Pair 2 joins"):
        run(
            measured([1.0, 2.0]),
            "cohort\nControl",
            measured([1.0, 2.0]),
            "cohort\nControl\nT1DPN",
            paired=True,
        )


def test_frames_without_a_value_are_left_out_and_counted(measured, rng) -> None:
    real = measured([None, *(15 + rng.standard_normal(9))])
    fake = measured([*(15 + rng.standard_normal(9)), None])
    cohort = labels(["Control"] * 10)
    report = run(real, cohort, fake, cohort)
    assert report.comparisons[0].frames_without_value == (1, 1)
    assert "2 frames have no value" in describe(report)
    paired = run(real, cohort, fake, cohort, paired=True)
    assert paired.comparisons[0].frames == (8, 8)


def test_constant_values_give_a_result(measured) -> None:
    cohort = labels(["Control"] * 5)
    report = run(measured([15.0] * 5), cohort, measured([15.5] * 5), "cohort\nControl")
    assert report.shown and report.comparisons[0].effect is None and report.comparisons[0].needed is None
    json.loads(to_json(report))


def test_json_and_csv_hold_the_same_numbers(measured, rng) -> None:
    cohort = labels(["T1DPN"] * 20)
    real, fake = (measured(list(10 + rng.standard_normal(20))) for _ in range(2))
    report = run(real, cohort, fake, cohort, margins="")
    lines = list(csv.DictReader(io.StringIO(to_csv(report))))
    found = json.loads(to_json(report))
    assert [line["biomarker"] for line in lines] == ["CNFL", "CNFD", "CNBD"]
    for line, one in zip(lines, found["comparisons"], strict=True):
        assert NAMES[line["biomarker"]] == one["biomarker"]
        assert float(line["p_value"]) == one["test"]["p_value"]
        assert line["margin_source"] == one["margin"]["source"]
    assert found["shown"] is report.shown and found["design"] == "independent"


def test_no_margin_for_the_cohort_is_refused(measured) -> None:
    with pytest.raises(DataError, match="No margin"):
        run(measured([1.0]), "cohort\nControl", measured([1.0]), "cohort\nControl", margins="CNFL T1DPN 1")
