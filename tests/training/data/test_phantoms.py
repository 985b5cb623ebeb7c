"""Phantom data sets: deterministic, resumable, patients that are alike within themselves, and ready to train on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ccm_pack.ccm.cohorts import REFERENCES, Cohort
from ccm_pack.ccm.errors import MaskError, TrainingError
from ccm_pack.ccm.frames.listing import read_records
from ccm_pack.ccm.frames.record import load_frame, load_mask
from ccm_pack.ccm.phantom.tree import TreeTargets
from ccm_pack.training.config import DataConfig
from ccm_pack.training.data.gather import gather
from ccm_pack.training.data.phantoms import (
    BETWEEN_PATIENTS,
    PhantomRequest,
    draw_phantom,
    mix_targets,
    plan_frames,
    write_phantoms,
)
from PIL import Image

REQUEST = PhantomRequest(patients=3, frames=2, seed=4, size_px=192)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_phantoms(REQUEST, tmp_path_factory.mktemp("phantoms") / "set", workers=1).parent


def test_the_set_is_ready_to_train_on(written: Path) -> None:
    gathered = gather(DataConfig(path=str(written)), seed=0)
    splits = gathered.checked_splits()
    assert [len(members) for members in splits.named().values()] == [2, 2, 2]
    assert [r.patient for r in gathered.report.records] == [
        "P0001",
        "P0001",
        "P0002",
        "P0002",
        "P0003",
        "P0003",
    ]
    assert [r.eye for r in gathered.report.records] == ["OD", "OS"] * 3
    assert [r.cohort for r in gathered.report.records[::2]] == list(Cohort)
    assert all(r.um_per_px == pytest.approx(400 / 192, abs=1e-5) for r in gathered.report.records)


def test_frames_and_masks_have_the_size_asked_for_and_masks_are_black_and_white(written: Path) -> None:
    for record in read_records(written):
        mask = load_mask(record)
        assert load_frame(record).shape == (192, 192)
        assert mask is not None and set(np.unique(mask)) == {0, 1}


def test_every_picture_says_that_it_is_synthetic_and_what_its_biomarkers_are(written: Path) -> None:
    for record in read_records(written):
        with Image.open(record.frame) as picture:
            told = json.loads(picture.text["ccm"])
        assert (told["synthetic"], told["cohort"]) == (True, str(record.cohort))
        assert told["truth"]["cnfl_mm_per_mm2"] > 0


def test_a_stopped_run_goes_on_and_ends_with_the_same_files(written: Path, tmp_path: Path) -> None:
    write_phantoms(REQUEST, tmp_path / "set", workers=2)
    whole = contents(written)
    assert contents(tmp_path / "set") == whole
    (tmp_path / "set" / "table.csv").unlink()
    (tmp_path / "set" / "frames" / "P0002_OD_001.png").unlink()
    untouched = tmp_path / "set" / "frames" / "P0001_OD_001.png"
    before = untouched.stat().st_mtime_ns
    write_phantoms(REQUEST, tmp_path / "set", workers=1)
    assert contents(tmp_path / "set") == whole
    assert untouched.stat().st_mtime_ns == before


def test_a_folder_of_another_request_is_refused(written: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="not begun by the same request"):
        write_phantoms(replace(REQUEST, seed=5), written)
    (tmp_path / "mine.txt").write_text("keep me")
    with pytest.raises(TrainingError, match="is not empty"):
        write_phantoms(REQUEST, tmp_path)


def test_requests_that_cannot_be_made_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="Asked for 2 patients"):
        write_phantoms(replace(REQUEST, patients=2), tmp_path / "a")
    with pytest.raises(MaskError):
        write_phantoms(replace(REQUEST, size_px=0), tmp_path / "b")
    assert not (tmp_path / "a").exists() and not (tmp_path / "b").exists()


def test_a_plan_splits_by_patient_and_more_frames_change_no_earlier_patient() -> None:
    plan = plan_frames(PhantomRequest(30, 4))
    assert all(len({i.record.split for i in plan if i.patient == number}) == 1 for number in range(30))
    first = plan_frames(PhantomRequest(3, 2))[0]
    again = plan_frames(PhantomRequest(9, 2))[0]
    assert (
        draw_phantom(PhantomRequest(3, 2), first)[0] == draw_phantom(PhantomRequest(9, 2), again)[0]
    ).all()


def test_frames_vary_about_their_patient_and_keep_the_variance_of_the_cohort() -> None:
    mean = REFERENCES[Cohort.CONTROL].cnfl_mm_per_mm2.mean
    rng = np.random.default_rng(0)

    def draw() -> TreeTargets:
        return TreeTargets(mean + rng.normal(), 30.0, 60.0)

    patients = [draw() for _ in range(400)]
    frames = np.array(
        [[mix_targets(Cohort.CONTROL, p, draw()).cnfl_mm_per_mm2 for _ in range(2)] for p in patients]
    )
    assert frames.std() == pytest.approx(1.0, rel=0.1)
    assert np.corrcoef(frames.T)[0, 1] == pytest.approx(BETWEEN_PATIENTS, abs=0.05)


def test_frames_of_a_patient_are_more_alike_than_those_of_two() -> None:
    request = PhantomRequest(patients=18, frames=3, seed=1, size_px=64)
    plan = [item for item in plan_frames(request) if item.record.cohort is Cohort.CONTROL]
    cnfl = np.array([draw_phantom(request, item)[2].truth.cnfl_mm_per_mm2 for item in plan]).reshape(-1, 3)
    within, between = cnfl.var(axis=1, ddof=1).mean(), cnfl.mean(axis=1).var(ddof=1)
    assert between > within
