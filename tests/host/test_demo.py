"""`python . demo`, as a user types it, with generated masks and with a frame."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ccm_pack.ccm.errors import ImageError
from ccm_pack.cli import demo_graph
from ccm_pack.cli.demo_graph import write_reference
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
COHORTS = ["Control", "T1NoDPN", "T1DPN"]


def demo(folder: Path, *arguments: str) -> str:
    command = [sys.executable, str(ROOT), "demo", "--output", str(folder), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def grey(file: Path) -> np.ndarray:
    return np.asarray(Image.open(file).convert("L"), np.float32)


@pytest.fixture(scope="module")
def results(comfy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    assert "not for clinical use" in demo(folder)
    return folder


def test_the_demo_writes_mask_frame_and_overlay_of_every_frame(results: Path) -> None:
    for cohort in COHORTS:
        for number in (1, 2):
            for kind in ("mask", "frame"):
                assert grey(results / f"{cohort}_{number}_{kind}.png").shape == (384, 384)
            assert grey(results / f"{cohort}_{number}_overlay.png").shape[1] >= 384
    assert Image.open(results / "contact_sheet.png").width > 1000


def test_the_generated_frames_are_brighter_on_the_mask_than_beside_it(results: Path) -> None:
    for cohort in COHORTS:
        nerve = grey(results / f"{cohort}_1_mask.png") > 127
        frame = grey(results / f"{cohort}_1_frame.png")
        assert frame[nerve].mean() > frame[~nerve].mean() + 10


def test_the_biomarkers_say_synthetic_and_stand_beside_the_masks_truth(results: Path) -> None:
    report = json.loads((results / "biomarkers.json").read_text())
    assert report["note"] == "synthetic, not for clinical use"
    assert [frame["cohort"] for frame in report["frames"]] == [c for c in COHORTS for _ in range(2)]
    assert all(frame["synthetic"] and frame["mask_cnfl_mm_per_mm2"] > 0 for frame in report["frames"])
    assert report["fidelity"]["frechet"]["n_b"] == 6
    with open(results / "biomarkers.csv", newline="") as file:
        assert [row["cohort"] for row in csv.DictReader(file)] == [c for c in COHORTS for _ in range(2)]


def test_a_frame_becomes_the_mask_of_three_synthetic_frames(comfy: Path, tmp_path: Path) -> None:
    frame = tmp_path / "frame.png"
    with Image.open(write_reference(tmp_path / "frames.tiff", seed=3, count=3)) as pages:
        pages.save(frame)
    told = demo(tmp_path / "out", "--frame", str(frame))
    report = json.loads((tmp_path / "out" / "biomarkers.json").read_text())
    assert report["quality"] and f"Your frame:    {report['quality']}\n" in told
    assert [f["synthetic"] for f in report["frames"]] == [False, True, True, True]
    masks = [grey(tmp_path / "out" / f"{name}_1_mask.png") for name in ("Real", *COHORTS)]
    assert all((mask == masks[0]).all() for mask in masks)


def test_a_file_of_several_frames_is_refused(tmp_path: Path) -> None:
    file = write_reference(tmp_path / "frames.tiff", seed=3, count=3)
    with pytest.raises(ImageError, match="holds 3 pictures"):
        demo_graph.prepare(file, None, 0)


def test_a_frame_that_is_not_there_is_an_error_that_names_it(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT), "demo", "--frame", str(tmp_path / "none.png")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    assert "none.png cannot be opened" in done.stderr and "Traceback" not in done.stderr
