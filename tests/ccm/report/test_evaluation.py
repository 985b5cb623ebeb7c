"""What a report finds in sets whose truth is known, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from ccm_pack.ccm.cohorts import Cohort
from ccm_pack.ccm.equivalence.margins import parse_margins
from ccm_pack.ccm.errors import DataError, ImageError
from ccm_pack.ccm.report.evaluation import Missing, Settings, frames_seen
from ccm_pack.ccm.report.figures import as_batch, draw_figures
from ccm_pack.ccm.report.utility import Utility, UtilityDifference
from ccm_pack.ccm.report.words import Status, limits, verdicts
from ccm_pack.ccm.statistics.equivalence import Design

from .conftest import Patches, frames

CNFL = parse_margins("CNFL 1.5")


def people(n: int, each: int = 2) -> list[str]:
    return [f"p{i // each}" for i in range(n)]


def said(report) -> dict[str, Status]:
    return {one.pillar: one.status for one in verdicts(report)}


def told(report, pillar: str) -> str:
    return next(one.answer for one in verdicts(report) if one.pillar == pillar)


def test_two_draws_of_one_source_are_not_told_apart_and_biomarkers_are_shown_equal(make_set, compare) -> None:
    real = make_set("real", frames(40, 0), people(40))
    report = compare(real, make_set("generated", frames(30, 1)), Settings(margins=CNFL))
    assert said(report) == {
        "Visual fidelity": Status.NO_DIFFERENCE,
        "Biomarkers": Status.SHOWN,
        "Copies": Status.NOTHING_FOUND,
        "Usefulness": Status.NOT_TESTED,
    }
    assert (report.real.patients, report.generated.patients) == (20, None)
    assert report.visual.floor.subject_disjoint and report.visual.frechet is not None
    assert report.visual.mmd.statistics.subjects_a == 20


def test_brighter_frames_are_different_and_a_wide_gap_is_beyond_its_margin(make_set, compare) -> None:
    real = make_set("real", frames(40, 0), people(40), values=np.linspace(14, 16, 40))
    far = make_set("generated", frames(30, 1, level=0.65), values=np.linspace(24, 26, 30))
    report = compare(real, far, Settings(margins=CNFL))
    assert said(report)["Visual fidelity"] is Status.DIFFERENT
    assert said(report)["Biomarkers"] is Status.DIFFERENT
    assert "Beyond its margin: CNFL in Control" in told(report, "Biomarkers")


def test_a_table_row_is_the_mean_over_patients_not_over_frames(make_set, compare) -> None:
    values = [10, 10, 10, 20, 30]
    real = make_set("real", frames(5, 0), ["a", "a", "a", "b", "c"], values=values)
    report = compare(real, make_set("generated", frames(8, 1), values=[5.0] * 8), Settings(margins=CNFL))
    row = next(row for row in report.biomarkers.rows if row.biomarker == "cnfl_mm_per_mm2")
    assert (row.real.mean, row.real.n) == (20.0, 3)  # of 10, 20 and 30
    assert (row.generated.mean, row.generated.interval, row.generated.n) == (5.0, (5.0, 5.0), 8)


def test_with_unknown_patients_nothing_is_claimed(make_set, compare) -> None:
    report = compare(make_set("real", frames(30, 0)), make_set("generated", frames(30, 1, level=0.7)))
    assert said(report)["Visual fidelity"] is Status.OPEN
    assert said(report)["Biomarkers"] is Status.OPEN
    assert said(report)["Copies"] is Status.OPEN
    assert limits(report)[0].startswith("The patients of the real frames are unknown")


def test_one_set_twice_is_called_so(make_set, compare) -> None:
    grey = frames(20, 0)
    real, again = make_set("real", grey, people(20)), make_set("generated", grey.copy())
    report = compare(real, again, Settings(margins=CNFL))
    assert report.exact_copies == 20
    assert said(report)["Visual fidelity"] is Status.OPEN and "one set twice" in told(
        report, "Visual fidelity"
    )
    assert said(report)["Biomarkers"] is Status.OPEN and "one set twice" in told(report, "Biomarkers")
    assert told(report, "Copies").startswith("20 of 20 generated frames equal a real frame")


def test_turned_copies_among_fresh_frames_are_suspect(make_set, compare) -> None:
    grey = frames(40, 0)
    turned = np.rot90(grey[:6], axes=(1, 2)) * 0.999
    mixed = np.concatenate([turned, frames(14, 1)])
    report = compare(make_set("real", grey, people(40)), make_set("generated", mixed))
    assert said(report)["Copies"] is Status.SUSPECT
    assert set(range(6)) <= set(report.copies.found.copies.tolist())
    assert report.copies.found.nearest[:6].tolist() == [0, 1, 2, 3, 4, 5]


def test_training_frames_are_searched_with_the_real_ones_held_out(make_set, compare) -> None:
    training = make_set("training", frames(30, 5), [f"t{i}" for i in range(30)])
    made = np.concatenate([training.frames[:3] * 0.999, frames(10, 1)])
    report = compare(
        make_set("real", frames(30, 0), people(30)), make_set("generated", made), training=training
    )
    found = report.copies.found
    assert not report.copies.among_real and (found.n_training, found.n_heldout) == (30, 30)
    assert {0, 1, 2} <= set(found.copies.tolist())


def test_frames_without_a_cohort_leave_the_rest_of_the_report(make_set, compare) -> None:
    real = make_set("real", frames(20, 0), people(20), cohorts=None)
    report = compare(real, make_set("generated", frames(20, 1)))
    assert isinstance(report.biomarkers, Missing)
    assert "These real frames have no cohort: 0.png, 1.png" in report.biomarkers.reason
    assert said(report)["Visual fidelity"] is Status.NO_DIFFERENCE
    assert any(text.startswith("20 real frames have no cohort") for text in limits(report))


def test_pairs_have_similarities_and_bland_altman_figures(make_set, compare) -> None:
    grey = frames(12, 0)
    noisy = np.clip(grey + 0.02, 0, 1)
    sets = make_set("real", grey, people(12)), make_set("generated", noisy)
    report = compare(*sets, Settings(Design.PAIRED, CNFL))
    names = [one.name for one in report.visual.pairs.measures]
    assert names == ["SSIM", "PSNR (dB)"]  # MS-SSIM takes 176 px
    psnr = report.visual.pairs.measures[1].pairs
    assert psnr.mean == pytest.approx(-20 * np.log10(0.02), abs=0.1) and psnr.n == 6
    assert report.visual.mmd.statistics.shared_subjects == 6
    assert "agreement_cnfl_in_control" in [figure.name for figure in draw_figures(report, *sets)]


def test_independent_sets_have_no_similarities(make_set, compare) -> None:
    report = compare(make_set("real", frames(8, 0), people(8)), make_set("generated", frames(8, 1)))
    assert report.visual.pairs is None


def test_five_frames_have_no_fifth_neighbour_and_three_no_floor(make_set, compare) -> None:
    few = compare(make_set("real", frames(5, 0), people(5, 1)), make_set("generated", frames(5, 1)))
    assert few.visual.prdc is None and few.visual.floor is not None
    three = compare(make_set("real", frames(3, 0), people(3, 1)), make_set("generated", frames(5, 1)))
    assert three.visual.floor is None and three.visual.frechet is None


def test_one_real_patient_gives_reasons_in_place_of_numbers(make_set, compare) -> None:
    report = compare(make_set("real", frames(6, 0), ["a"] * 6), make_set("generated", frames(6, 1)))
    assert isinstance(report.visual, Missing) and "one subject" in report.visual.reason
    assert isinstance(report.copies, Missing)
    assert said(report)["Biomarkers"] is Status.OPEN


@pytest.mark.parametrize(
    ("spoilt", "message"),
    [
        (frames(1, 1), "The generated set holds 1 frame"),
        (
            np.full((4, 24, 24), 0.5, np.float32),
            r"generated frames are blank \(one grey value\): 0.png, 1.png",
        ),
        (
            np.where(np.eye(24, dtype=bool), np.nan, frames(3, 1)),
            "generated frames hold NaN or infinite values",
        ),
        (255 * frames(3, 1), "generated frames hold values outside 0 to 1"),
        (np.repeat(frames(1, 1), 3, axis=0), "The generated set holds one frame 3 times"),
    ],
)
def test_frames_that_say_nothing_are_refused_by_name(make_set, compare, spoilt, message) -> None:
    with pytest.raises(ImageError, match=message):
        compare(make_set("real", frames(6, 0)), make_set("generated", spoilt))


def test_sets_without_a_common_cohort_are_refused(make_set, compare) -> None:
    real, other = make_set("real", frames(4, 0)), make_set("generated", frames(4, 1), cohorts=Cohort.T1DPN)
    with pytest.raises(DataError, match="real frames are of Control, generated frames of T1DPN"):
        compare(real, other)


def test_unequal_sets_are_no_pairs(make_set, compare) -> None:
    sets = make_set("real", frames(4, 0)), make_set("generated", frames(5, 1))
    with pytest.raises(
        DataError, match="4 real frames of 24 x 24 px and 5 generated ones of 24 x 24 px are no pairs"
    ):
        compare(*sets, Settings(Design.PAIRED))


def test_progress_hears_of_every_frame(make_set, compare) -> None:
    sets, heard = (make_set("real", frames(20, 0)), make_set("generated", frames(18, 1))), []
    compare(*sets, on_frame=heard.append)
    assert sum(heard) == frames_seen(Patches(), *sets, None) == 2 * (20 + 18) + 8 * 20


def utility(*bounds: tuple[float, float, float], is_try: bool = False) -> Utility:
    differences = [UtilityDifference("accuracy", "real + synthetic", "real", *one, "-") for one in bounds]
    return Utility(("real", "real + synthetic"), tuple(differences), 5, 40, is_try, ("Name one beforehand.",))


@pytest.mark.parametrize(
    ("found", "status", "said"),
    [
        (
            utility((0.02, 0.01, 0.03), (0.01, -0.01, 0.03)),
            Status.SHOWN,
            "1 of 2 comparisons show a gain, 0 a loss. "
            "Gains: accuracy, real + synthetic over real: +0.020 (+0.010 to +0.030).",
        ),
        (utility((-0.02, -0.03, -0.01)), Status.NOT_SHOWN, "0 of 1 comparisons show a gain, 1 a loss."),
        (
            utility((0.02, 0.01, 0.03), is_try=True),
            Status.OPEN,
            "A try with 5 seeds, on which no claim can rest.",
        ),
    ],
)
def test_the_gain_of_a_utility_study_is_told_with_its_interval(
    make_set, compare, found, status, said
) -> None:
    sets = make_set("real", frames(6, 0)), make_set("generated", frames(6, 1))
    report = compare(*sets, utility=found)
    one = verdicts(report)[3]
    assert one.status is status and one.answer.startswith(said)


def test_figures_of_a_batch_lie_on_white_sheets_of_one_size(make_set, compare) -> None:
    sets = make_set("real", frames(6, 0), people(6)), make_set("generated", frames(6, 1))
    figures = draw_figures(compare(*sets), *sets)
    assert [figure.name for figure in figures] == [
        "frames", "frechet", "forest", "violin_cnfl", "violin_cnfd", "violin_cnbd", "neighbours",
    ]  # fmt: skip
    batch = as_batch(figures)
    assert batch.shape[0] == 7 and batch.shape[1] == max(figure.picture.shape[0] for figure in figures)
    assert (batch[1, -1, -1] == 1.0).all()
