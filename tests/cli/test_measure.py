"""`python . measure` as a user runs it: resumed after SIGKILL, and never stopped by a bad file."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]


def command(*arguments: object) -> list[str]:
    return [sys.executable, str(ROOT), "measure", *map(str, arguments)]


def environment() -> dict[str, str]:
    return {**os.environ, "CCM_PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}


def write_masks(folder: Path, count: int) -> None:
    rng = np.random.default_rng(0)
    for k in range(count):
        mask = np.zeros((384, 384), np.uint8)
        for _ in range(6):
            ends = rng.integers(0, 384, (2, 2)).tolist()
            cv2.line(mask, ends[0], ends[1], 255, 3)
        cv2.imwrite(str(folder / f"{k:04}.png"), mask)


def write_frames(folder: Path, count: int) -> None:
    """Noisy frames with bright lines, a little blurred."""
    write_masks(folder, count)
    rng = np.random.default_rng(1)
    for path in sorted(folder.glob("*.png")):
        nerve = cv2.GaussianBlur(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE).astype(np.float32), (0, 0), 1.0)
        grey = (60.0 + 0.4 * nerve) * rng.gamma(40.0, 1 / 40.0, nerve.shape)
        cv2.imwrite(str(path), grey.clip(0, 255).astype(np.uint8))


def rows_of(table: Path) -> list[dict[str, str]]:
    with open(table, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def campaign(folder: Path, count: int, kills: int, masks: bool = True) -> None:
    """Measure pictures and one broken file, killed and resumed; the last run must not grow."""
    frames = folder / "frames"
    frames.mkdir()
    (write_masks if masks else write_frames)(frames, count)
    (frames / "broken.png").write_text("no picture")
    table = folder / "out" / "table.csv"
    arguments = command(frames, *["--masks"] * masks, "--out", table, "--workers", 2)
    for kill in range(kills):
        started = subprocess.Popen(
            arguments, env=environment(), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        workers = kill_and_list(started, table.with_name("table.csv.part"), (kill + 1) * count // (kills + 2))
        psutil.wait_procs(workers, timeout=30)
        assert not any(worker.is_running() for worker in workers)
    with open(folder / "told.txt", "w+", encoding="utf-8") as told:
        last = subprocess.Popen(
            arguments, env=environment(), stdout=told, stderr=subprocess.DEVNULL, text=True
        )
        resident = watch(last)
        told.seek(0)
        assert last.returncode == 1 and f"{count + 1} files, 0 of them" not in told.read()
    print(f"largest process: {[round(size / 2**20) for size in resident[:: max(1, len(resident) // 8)]]} MB")
    half = len(resident) // 2
    assert count < 1000 or max(resident[half:]) - max(resident[:half]) < 50e6
    rows = rows_of(table)
    assert [Path(row["frame"]).name for row in rows] == [f"{k:04}.png" for k in range(count)] + ["broken.png"]
    assert [bool(row["error"]) for row in rows] == [False] * count + [True]
    assert [path.name for path in table.parent.iterdir()] == ["table.csv"]


def watch(process: subprocess.Popen) -> list[int]:
    """Resident memory in bytes of its largest child, now and then until it ends."""
    resident = []
    while process.poll() is None:
        with contextlib.suppress(psutil.NoSuchProcess):
            children = psutil.Process(process.pid).children(recursive=True)
            resident.append(max((child.memory_info().rss for child in children), default=0))
        time.sleep(0.25)
    return resident


def kill_and_list(process: subprocess.Popen, journal: Path, rows: int) -> list[psutil.Process]:
    for _ in range(6000):
        if process.poll() is not None or (journal.is_file() and journal.read_bytes().count(b"\n") > rows):
            break
        time.sleep(0.05)
    workers = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return workers


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_a_killed_run_goes_on_without_a_lost_or_doubled_row(tmp_path):
    campaign(tmp_path, count=30, kills=1)


@pytest.mark.soak
@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_a_thousand_masks_survive_three_kills(tmp_path):
    campaign(tmp_path, count=1000, kills=3)


@pytest.mark.soak
@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_a_thousand_frames_survive_three_kills_in_flat_memory(tmp_path):
    campaign(tmp_path, count=1000, kills=3, masks=False)


@pytest.mark.soak
def test_a_thousand_frames_need_no_more_memory_than_a_hundred(tmp_path):
    from ccm_pack.ccm.measuring import Task, measure_file
    from ccm_pack.ccm.phantom.request import MaskRequest, generate_masks
    from ccm_pack.ccm.phantom.tree import TreeTargets
    from ccm_pack.ccm.segmentation import load_segmenter

    masks = generate_masks(MaskRequest("Control", TreeTargets(0, 0, 0, 0), 4)).masks
    rng, process, resident = np.random.default_rng(0), psutil.Process(), []
    for k in range(1000):
        frame = 60 + 120 * masks[k % 4] + 12 * rng.standard_normal((384, 384))
        cv2.imwrite(str(tmp_path / "frame.png"), frame.clip(0, 255).astype(np.uint8))
        assert not measure_file(Task(tmp_path / "frame.png", False), load_segmenter())["error"]
        resident.append(process.memory_info().rss)
    assert max(resident[900:]) - max(resident[:100]) < 50e6


def test_a_finished_run_measures_only_what_changed(tmp_path):
    write_masks(tmp_path, 3)
    arguments = command(tmp_path, "--masks", "--out", tmp_path / "t" / "table.csv", "--workers", 1)
    first = subprocess.run(arguments, env=environment(), capture_output=True, text=True)
    assert first.returncode == 0, first.stderr
    cv2.imwrite(str(tmp_path / "0001.png"), np.zeros((384, 384), np.uint8))
    again = subprocess.run(arguments, env=environment(), capture_output=True, text=True)
    assert "3 files, 2 of them measured before" in again.stdout
    assert rows_of(tmp_path / "t" / "table.csv")[1]["cnfl_mm_per_mm2"] == "0"


def overlays_of(folder: Path) -> dict[str, str]:
    """The fingerprint of the frame that each overlay shows, by its place."""
    files = sorted(folder.rglob("*.png"))
    return {
        file.relative_to(folder).as_posix(): json.loads(Image.open(file).info["ccm"])["sha256"]
        for file in files
    }


def test_overlays_lie_as_the_frames_do_and_are_made_where_they_are_missing_or_old(tmp_path):
    for name in ("a", "b"):
        (tmp_path / "frames" / name).mkdir(parents=True)
        write_frames(tmp_path / "frames" / name, 1)
    frame = tmp_path / "frames" / "a" / "0000.png"
    cv2.imwrite(str(frame.with_suffix(".tif")), cv2.imread(str(frame)))
    table, overlays = tmp_path / "t.csv", tmp_path / "overlays"
    without = command(tmp_path / "frames", "--out", table, "--workers", 1)
    arguments = [*without, "--overlays", str(overlays)]
    subprocess.run(without, env=environment(), check=True)
    first = subprocess.run(arguments, env=environment(), capture_output=True, text=True)
    assert first.returncode == 0 and "3 files, 0 of them measured before" in first.stdout, first.stderr
    shown = overlays_of(overlays)
    assert list(shown) == ["a/0000.png.png", "a/0000.tif.png", "b/0000.png"]
    assert list(shown.values()) == [row["sha256"] for row in rows_of(table)]
    assert Image.open(overlays / "b" / "0000.png").size == (768, 798)
    (overlays / "b" / "0000.png").unlink()
    cv2.imwrite(str(frame), np.zeros((384, 384), np.uint8))
    subprocess.run(without, env=environment(), check=True)
    again = subprocess.run(arguments, env=environment(), capture_output=True, text=True)
    assert "3 files, 1 of them measured before" in again.stdout
    assert list(overlays_of(overlays).values()) == [row["sha256"] for row in rows_of(table)]


@pytest.mark.parametrize("inside", ["frames", "frames/overlays"])
def test_overlays_among_the_frames_are_refused_before_the_work(tmp_path, inside):
    (tmp_path / "frames").mkdir()
    write_masks(tmp_path / "frames", 1)
    arguments = command(tmp_path / "frames", "--out", tmp_path / "t.csv", "--overlays", tmp_path / inside)
    done = subprocess.run(arguments, env=environment(), capture_output=True, text=True)
    assert done.returncode == 1 and "name a folder outside of it with --overlays" in done.stderr


def test_an_overlay_never_replaces_a_frame(tmp_path):
    write_masks(tmp_path, 1)
    frame = tmp_path / "0000.png"
    arguments = command(frame, "--out", tmp_path / "t" / "t.csv", "--overlays", tmp_path)
    before = frame.read_bytes()
    done = subprocess.run(arguments, env=environment(), capture_output=True, text=True)
    assert done.returncode == 1 and "An overlay would replace" in done.stderr
    assert frame.read_bytes() == before


def test_nothing_to_measure_is_an_error_with_an_example():
    done = subprocess.run(command(), env=environment(), capture_output=True, text=True)
    assert done.returncode == 1 and "python . measure FOLDER --out table.csv" in done.stderr
