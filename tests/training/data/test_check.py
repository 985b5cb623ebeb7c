"""Planted faults are named before the first step; a clean data set passes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import records as made
from ccm_pack.ccm.errors import TrainingError
from ccm_pack.training.config import DataConfig
from ccm_pack.training.data.gather import Gathered, gather
from PIL import Image


@pytest.fixture
def folder(tmp_path: Path) -> made.Folder:
    return made.Folder(tmp_path)


def check(folder: made.Folder | Path, **options: object) -> Gathered:
    path = folder.write() if isinstance(folder, made.Folder) else folder
    return gather(DataConfig(path=str(path), **options), seed=0)


def the_error(gathered: Gathered) -> str:
    """Return the only error, having seen that it stops a run and is told with it."""
    (error,) = gathered.report.errors
    with pytest.raises(TrainingError) as raised:
        gathered.checked_splits()
    assert error in str(raised.value)
    return error


def test_a_clean_data_set_passes_and_is_counted(folder: made.Folder) -> None:
    gathered = check(folder)
    splits = gathered.checked_splits()
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (6, 2, 4)
    assert gathered.report.errors == ()
    assert gathered.report.balance["Control"] == {"train": 2, "validation": 2}
    assert gathered.report.patients_of("Control") == 2


def test_a_patient_in_two_splits(folder: made.Folder) -> None:
    folder.rows[1]["split"] = "test"
    assert any("Patient P0 is in train and test" in error for error in check(folder).report.errors)
    with pytest.raises(TrainingError, match="Patient P0 is in train and test"):
        check(folder).checked_splits()


@pytest.mark.parametrize("change", ["brighter", "jpeg", "smaller", "turned", "mirrored"])
def test_a_near_duplicate_across_splits(folder: made.Folder, change: str) -> None:
    pixels = made.picture(0)
    target = folder.root / "frames" / "11.png"
    if change == "jpeg":
        folder.rows[11]["frame"] = "frames/11.jpg"
        Image.fromarray(pixels).save(folder.root / "frames" / "11.jpg", quality=40)
    elif change == "smaller":
        made.save(target, np.asarray(Image.fromarray(pixels).resize((64, 64))))
        made.save(folder.root / "masks" / "11.png", np.eye(64, dtype=np.uint8) * 255)
    else:
        changed = {
            "brighter": np.clip(pixels * 1.2 + 10, 0, 255).astype(np.uint8),
            "turned": np.rot90(pixels),
            "mirrored": pixels[:, ::-1],
        }
        made.save(target, np.ascontiguousarray(changed[change]))
    error = the_error(check(folder))
    assert "00.png (train)" in error and "11." in error and "nearly the same" in error


def test_a_near_duplicate_within_a_set_is_a_warning_that_tells_of_two_patients(folder: made.Folder) -> None:
    made.save(folder.root / "frames" / "02.png", made.picture(0))
    report = check(folder).report
    assert report.errors == ()
    assert any(
        "1 near-duplicates of different patients, such as 00.png and 02.png" in w for w in report.warnings
    )


def test_a_missing_cohort(folder: made.Folder) -> None:
    folder.rows[4]["cohort"] = ""
    assert "frames/04.png" in the_error(check(folder)).replace("\\", "/")


def test_no_cohort_at_all_is_no_error(folder: made.Folder) -> None:
    for row in folder.rows:
        row["cohort"] = ""
    assert check(folder).report.errors == ()


def test_an_orphan_mask(folder: made.Folder) -> None:
    made.save(folder.root / "masks" / "99.png", made.picture(5))
    errors = check(folder.root, layout="folder").report.errors
    assert any("99.png belongs to no frame" in error for error in errors)


def test_a_frame_without_a_mask(folder: made.Folder) -> None:
    folder.rows[3]["mask"] = ""
    assert "1 frames have no mask" in (error := the_error(check(folder))) and "03.png" in error


@pytest.mark.parametrize("kind", ["frames", "masks"])
def test_an_empty_file(folder: made.Folder, kind: str) -> None:
    (folder.root / kind / "05.png").write_bytes(b"")
    error = the_error(check(folder)).replace("\\", "/")
    assert f"{kind}/05.png is empty (0 bytes)" in error


def test_a_file_that_is_not_there(folder: made.Folder) -> None:
    (folder.root / "masks" / "05.png").unlink()
    assert "05.png cannot be opened" in the_error(check(folder))


def test_a_mask_of_another_size(folder: made.Folder) -> None:
    made.save(folder.root / "masks" / "07.png", np.eye(80, dtype=np.uint8))
    assert "07.png is 80 x 80 pixels, but its frame 96 x 96" in the_error(check(folder))


def test_an_inverted_mask_and_an_empty_one(folder: made.Folder) -> None:
    mask = np.full((made.SIZE, made.SIZE), 255, np.uint8)
    mask[:, 40:43] = 0
    made.save(folder.root / "masks" / "07.png", mask)
    made.save(folder.root / "masks" / "08.png", np.zeros_like(mask))
    gathered = check(folder)
    assert "07.png is 97% nerve: is it inverted" in the_error(gathered)
    assert any("08.png is empty" in warning for warning in gathered.report.warnings)


def test_a_frame_that_shows_nothing(folder: made.Folder) -> None:
    made.save(folder.root / "frames" / "07.png", np.full((made.SIZE, made.SIZE), 90, np.uint8))
    assert "07.png is uniform" in the_error(check(folder))


def test_unknown_patients_are_an_error_unless_an_image_split_is_allowed(folder: made.Folder) -> None:
    for row in folder.rows:
        row["patient"] = ""
    assert "12 of 12 frames have no patient" in the_error(check(folder))
    allowed = gather(DataConfig(path=str(folder.root)), seed=0, allow_image_split=True)
    assert not allowed.checked_splits().by_patient


def test_all_faults_are_told_at_once(folder: made.Folder) -> None:
    (folder.root / "frames" / "01.png").write_bytes(b"")
    folder.rows[4]["cohort"] = ""
    folder.rows[3]["mask"] = ""
    assert len(check(folder).report.errors) == 3


def test_uneven_cohorts_and_sizes_are_warnings(folder: made.Folder) -> None:
    made.save(folder.root / "frames" / "00.png", made.picture(0, 80))
    made.save(folder.root / "masks" / "00.png", np.eye(80, dtype=np.uint8) * 255)
    warnings = " | ".join(check(folder).report.warnings)
    assert "Frames of 2 sizes" in warnings and "several pixel sizes" in warnings
    assert "No T1DPN in validation: take more patients, or other data.fractions" in warnings
