"""Frames of a study: one pixel size, one square, no patient on both sides, and no way back to a test patient."""

from __future__ import annotations

import csv
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ccm_pack.ccm.errors import DataError, ImageError
from ccm_pack.ccm.frames.record import Record
from ccm_pack.training.utility.data import FrameSet, load_study, split_real
from ccm_pack.training.utility.leaks import ALIKE, mask_likeness, refuse_leaks
from PIL import Image


def rewrite(folder: Path, change) -> None:
    """Pass the rows of a table through `change`; None leaves a row out."""
    with (folder / "table.csv").open(newline="") as file:
        rows = [row for row in map(change, csv.DictReader(file)) if row is not None]
    with (folder / "table.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def copied(phantoms: Path, tmp_path: Path) -> Path:
    """Both folders, to be spoilt."""
    shutil.copytree(phantoms, tmp_path / "both")
    return tmp_path / "both"


def test_no_patient_is_on_both_sides_and_every_cohort_is_tested(configured) -> None:
    data = load_study(configured())
    assert not set(data.train.patients) & set(data.test.patients)
    assert (len(data.train), len(data.test), len(data.synthetic)) == (6, 54, 120)
    assert set(data.test.cohorts) == {0, 1, 2}
    assert data.test.grey.shape == (54, 96, 96) and 0.0 < data.test.nerves.mean() < 0.3


def test_the_hash_tells_other_frames_and_other_labels_apart(configured) -> None:
    first = load_study(configured())
    assert first.hash == load_study(configured()).hash
    assert first.hash != load_study(configured(data={"shuffle_labels": True})).hash


def test_shuffled_labels_are_the_same_labels_of_other_frames(configured) -> None:
    honest, shuffled = (load_study(configured(data={"shuffle_labels": s})).synthetic for s in (False, True))
    assert np.array_equal(honest.grey, shuffled.grey)
    assert not np.array_equal(honest.nerves, shuffled.nerves)
    assert np.array_equal(np.bincount(honest.cohorts), np.bincount(shuffled.cohorts))
    assert honest.nerves.sum() == shuffled.nerves.sum()


def test_frames_without_patients_are_refused(configured, copied: Path) -> None:
    rewrite(
        copied / "real",
        lambda row: row | {"patient": "" if row["frame"].endswith("002.png") else row["patient"]},
    )
    with pytest.raises(DataError, match=r"30 of 60 real frames have no patient, P0001_OS_002.png for one"):
        load_study(configured(data={"real": str(copied / "real")}))


def test_the_tables_own_split_is_taken_unless_a_share_is_given(configured) -> None:
    config = configured().data
    records = [
        Record(Path(f"{n}.png"), patient=f"p{n}", split="test" if n == 2 else "train") for n in range(8)
    ]
    train, test = split_real(records, replace(config, test_share=None), seed=0)
    assert [r.patient for r in test] == ["p2"] and len(train) == 7
    assert len(split_real(records, replace(config, test_share=0.5), seed=0)[1]) == 4
    with pytest.raises(DataError, match="does not say which patients are tested on"):
        split_real([replace(r, split=None) for r in records], replace(config, test_share=None), seed=0)


@pytest.mark.parametrize(("column", "task"), [("mask", "segmentation"), ("cohort", "classification")])
def test_a_task_needs_its_label(configured, copied: Path, column: str, task: str) -> None:
    rewrite(copied / "synthetic", lambda row: row | {column: ""})
    changed = {"synthetic": str(copied / "synthetic")}
    with pytest.raises(DataError, match=f"120 of 120 synthetic frames have no {column}.*leave {task} out"):
        load_study(configured(data=changed))
    other = {"segmentation": "classification", "classification": "segmentation"}[task]
    assert len(load_study(configured(data=changed, training={"tasks": [other]})).synthetic) == 120


def test_a_frame_smaller_than_the_square_is_refused_by_name(configured) -> None:
    with pytest.raises(
        ImageError, match=r"P\d+_O._\d+.png has 96 x 96 pixels at 4.16667 um, less than data.side_px, 128"
    ):
        load_study(configured(data={"side_px": 128}))


def test_a_frame_whose_source_is_a_test_patient_is_refused_by_name(configured, copied: Path) -> None:
    tested = load_study(configured()).test.patients[0]
    rewrite(
        copied / "synthetic",
        lambda row: row | {"source_patient": tested if row["frame"].endswith("P0007_OD_001.png") else ""},
    )
    with pytest.raises(
        DataError, match=rf"(?s)1 synthetic frames.*P0007_OD_001.png: its source_patient is {tested}"
    ):
        refuse(configured(data={"synthetic": str(copied / "synthetic")}))


def refuse(config) -> None:
    data = load_study(config)
    refuse_leaks(data.synthetic, data.test)


@pytest.mark.parametrize("turn", [0, 1, 6])
def test_a_frame_that_shows_the_mask_of_a_test_patient_is_refused_by_name(
    configured, copied: Path, turn: int
) -> None:
    """The mask is turned, shifted by 2 pixels and thickened; the frame is another one."""
    tested = load_study(configured()).test.records[3]
    mask = np.asarray(Image.open(tested.mask))
    mask = np.rot90(mask[:, ::-1] if turn >= 4 else mask, turn % 4)
    mask = np.maximum(np.roll(mask, (2, -2), (0, 1)), np.roll(mask, (3, -2), (0, 1)))
    Image.fromarray(mask).save(copied / "synthetic/masks/P0004_OD_001.png")
    with pytest.raises(
        DataError,
        match=rf"P0004_OD_001.png: its mask is that of {tested.frame.name} of patient {tested.patient}",
    ):
        refuse(configured(data={"synthetic": str(copied / "synthetic")}))


def test_a_copy_of_a_test_frame_is_refused_by_name(configured, copied: Path) -> None:
    tested = load_study(configured()).test.records[5]
    frame = np.asarray(Image.open(tested.frame)).astype(float)
    brighter = (1.1 * np.rot90(frame)).clip(0, 255).astype(np.uint8)
    Image.fromarray(brighter).save(copied / "synthetic/frames/P0009_OD_001.png")
    with pytest.raises(DataError, match=rf"P0009_OD_001.png: it is nearly {tested.frame.name}"):
        refuse(configured(data={"synthetic": str(copied / "synthetic")}))


def test_frames_of_other_patients_are_let_through(configured) -> None:
    data = load_study(configured())
    refuse_leaks(data.synthetic, data.test)
    assert mask_likeness(data.synthetic.nerves, data.test.nerves).max() < ALIKE - 0.1


def test_empty_masks_are_not_alike() -> None:
    empty = np.zeros((2, 8, 8), bool)
    assert np.abs(mask_likeness(empty, empty)).max() < 1e-3


def test_what_leaks_is_named_at_most_five_times(configured) -> None:
    test: FrameSet = load_study(configured()).test
    with pytest.raises(DataError, match=r"(?s)54 synthetic frames.*and 49 more"):
        refuse_leaks(test, test)
