"""Files to rows, rows to averages."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from ccm_pack.ccm.errors import DataError
from ccm_pack.ccm.measuring import (
    BIOMARKERS,
    COLUMNS,
    Task,
    average_eyes,
    average_patients,
    identity,
    list_tasks,
    measure_file,
)

UM = 400 / 384


def line_mask(path, row: int = 192) -> None:
    mask = np.zeros((384, 384), np.uint8)
    mask[row - 1 : row + 2] = 255
    cv2.imwrite(str(path), mask)


def row(patient: str, eye: str, cnfl: float, quality: str = "", error: str = "") -> dict[str, str]:
    empty = dict.fromkeys(COLUMNS, "")
    return empty | {
        "patient": patient,
        "eye": eye,
        "cnfl_mm_per_mm2": str(cnfl),
        "quality": quality,
        "error": error,
    }


def test_a_straight_line_across_a_mask_is_400_um_long(tmp_path):
    line_mask(tmp_path / "a.png")
    measured = measure_file(Task(tmp_path / "a.png", True, um_per_px=UM), None)
    assert float(measured["length_um"]) == pytest.approx(400, rel=0.003)
    assert measured["main_fibres"] == "1" and measured["error"] == "" and measured["network"] == "masks"


def test_a_file_that_is_no_picture_becomes_an_error_in_its_row(tmp_path):
    (tmp_path / "a.png").write_text("nothing")
    measured = measure_file(Task(tmp_path / "a.png", True), None)
    assert "a.png cannot be opened" in measured["error"] and measured["cnfl_mm_per_mm2"] == ""
    assert set(measured) == set(COLUMNS)


def test_a_changed_file_has_another_identity(tmp_path):
    task = Task(tmp_path / "a.png", True)
    line_mask(task.path)
    before = identity(task, None)
    line_mask(task.path, row=100)
    assert identity(task, None) != before


def test_a_table_gives_patient_eye_and_cohort(tmp_path):
    line_mask(tmp_path / "a.png")
    (tmp_path / "table.csv").write_text("frame,patient,eye,cohort\na.png,p1,left,T1DPN\n")
    (task,) = list_tasks([tmp_path], masks=True, um_per_px=None)
    assert (task.patient, task.eye, task.cohort, task.um_per_px) == ("p1", "OS", "T1DPN", pytest.approx(UM))


def test_masks_beside_frames_are_taken_when_masks_are_asked_for(tmp_path):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        line_mask(tmp_path / folder / "a.png")
    frames, masks = (list_tasks([tmp_path], masks=wanted, um_per_px=UM) for wanted in (False, True))
    assert [t.path.parent.name for t in frames] == ["images"] and [t.path.parent.name for t in masks] == [
        "masks"
    ]


def test_a_file_named_twice_is_measured_once(tmp_path):
    line_mask(tmp_path / "a.png")
    assert len(list_tasks([tmp_path, tmp_path / "a.png"], masks=True, um_per_px=None)) == 1


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="holds no pictures"):
        list_tasks([tmp_path], masks=False, um_per_px=None)


def test_averages_leave_out_errors_and_unfit_frames_and_weigh_eyes_alike():
    rows = [row("p", "OD", 10), row("p", "OD", 20), row("p", "OD", 90, quality="blurred"), row("p", "OS", 25)]
    rows += [row("p", "OS", 0, error="broken"), row("", "OD", 99)]
    eyes = average_eyes(rows)
    assert [(e["eye"], e["frames"], e["frames_used"], e["cnfl_mm_per_mm2"]) for e in eyes] == [
        ("OD", "3", "2", "15"),
        ("OS", "2", "1", "25"),
    ]
    (patient,) = average_patients(eyes)
    assert (patient["cnfl_mm_per_mm2"], patient["frames"], patient["frames_used"]) == ("20", "5", "3")
    assert "Ahmed" in patient["reference"] and set(BIOMARKERS) <= set(patient)


def test_a_patient_without_any_fit_frame_has_no_average():
    (eye,) = average_eyes([row("p", "", 12, quality="no nerves")])
    assert eye["cnfl_mm_per_mm2"] == "" and eye["frames_used"] == "0"


def test_averages_tell_what_measured_them_and_which_eyes_count():
    def made_by(eye: str, quality: str = "") -> dict[str, str]:
        return row("p", eye, 10, quality) | {"tool": "t", "version": "1", "network": "n"}

    (patient,) = average_patients(average_eyes([made_by("OD", "blurred"), made_by("OS")]))
    assert patient["eye"] == "OS"
    assert (patient["tool"], patient["version"], patient["network"]) == ("t", "1", "n")


def test_a_frame_that_is_given_as_a_mask_is_an_error(tmp_path):
    frame = np.random.default_rng(0).integers(20, 120, (384, 384)).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "frame.png"), frame)
    (task,) = list_tasks([tmp_path], masks=True, um_per_px=None)
    assert "frame.png is no nerve mask" in measure_file(task, None)["error"]
