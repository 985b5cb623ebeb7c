"""`python . evaluate` as a user runs it: resumed after SIGKILL, and clear about what cannot be compared."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from argparse import ArgumentParser
from pathlib import Path

import numpy as np
import psutil
import pytest
from ccm_pack.ccm.errors import CCMError, DataError, ImageError
from ccm_pack.cli import evaluate
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
SIDE = 64


def write_set(folder: Path, seeds: range, cohort: str = "Control", patients: bool = True) -> Path:
    """Noise with three bright lines, and a table.csv in which two frames belong to one patient."""
    folder.mkdir(parents=True)
    lines = ["frame,cohort,patient"]
    for seed in seeds:
        rng = np.random.default_rng(seed)
        frame = 60 + 8 * rng.standard_normal((SIDE, SIDE))
        for column in rng.integers(4, SIDE - 4, 3):
            frame[:, column - 1 : column + 1] += 120
        Image.fromarray(frame.clip(0, 255).astype(np.uint8)).save(folder / f"{seed}.png")
        lines.append(f"{seed}.png,{cohort},{f'p{seed // 2}' if patients else ''}")
    (folder / "table.csv").write_text("\n".join(lines))
    return folder


@pytest.fixture
def sets(tmp_path: Path) -> tuple[Path, Path]:
    return write_set(tmp_path / "real", range(12)), write_set(
        tmp_path / "made", range(100, 108), patients=False
    )


def command(*words: object) -> list[str]:
    return [sys.executable, str(ROOT), "evaluate", *map(str, words)]


def environment() -> dict[str, str]:
    return {**os.environ, "CCM_PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}


def kill_when(arguments: list[str], begun: Path, count: int) -> None:
    """Run until the features of `count` frames are there, then kill the process and whatever it started."""
    process = subprocess.Popen(
        arguments, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    for _ in range(6000):
        if process.poll() is not None or len(list(begun.glob("*.npy"))) >= count:
            break
        time.sleep(0.05)
    workers = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGKILL)
    process.wait()
    psutil.wait_procs(workers, timeout=30)


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_a_killed_run_goes_on_and_gives_the_report(sets: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = command(*sets, "--out", out, "--workers", 2)
    kill_when(arguments, out / "features", 3)
    kept = {file.name: file.stat().st_mtime_ns for file in (out / "features").glob("*.npy")}
    done = subprocess.run(arguments, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "12 files, 12 of them measured before" in done.stdout
    assert "8 generated frames against 12 real ones" in done.stdout
    assert len(kept) >= 3
    assert all((out / "features" / name).stat().st_mtime_ns == then for name, then in kept.items())
    document = json.loads((out / "report.json").read_text("utf-8"))
    assert (document["real"]["patients"], document["generated"]["patients"]) == (6, None)
    assert document["provenance"]["command"].endswith(f"--out {out}")
    assert (out / "figures" / "forest.png").is_file() and (out / "report.html").is_file()


def run(*words: object) -> int:
    parser = ArgumentParser()
    evaluate.COMMAND.arguments(parser)
    return evaluate.COMMAND.run(parser.parse_args([str(word) for word in words]))


def refusal(real: Path, made: Path, *more: object) -> CCMError:
    """What is said of sets that cannot be compared, before anything is measured."""
    out = real.parent / "out"
    with pytest.raises((DataError, ImageError)) as told:
        run(real, made, "--out", out, *more)
    assert not list(out.glob("*.csv*"))
    return told.value


def test_nothing_to_compare_is_an_error_with_an_example() -> None:
    with pytest.raises(DataError, match=r"python \. evaluate REAL SYNTHETIC --out DIR"):
        run()


def test_a_report_among_the_frames_is_refused(sets: tuple[Path, Path]) -> None:
    with pytest.raises(DataError, match="where its figures would count as frames"):
        run(*sets, "--out", sets[0] / "report")
    assert not (sets[0] / "report").exists()


def test_an_empty_folder_is_refused(sets: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "holds no pictures" in str(refusal(sets[0], tmp_path / "empty"))


def test_one_frame_is_refused(sets: tuple[Path, Path], tmp_path: Path) -> None:
    assert "holds one frame" in str(refusal(sets[0], write_set(tmp_path / "one", range(1))))


def test_mixed_sizes_are_refused_by_name(sets: tuple[Path, Path]) -> None:
    Image.new("L", (32, 32), 9).save(sets[1] / "103.png")
    assert "32 x 32 px: 103.png" in str(refusal(*sets))


def test_a_damaged_file_is_refused_by_name(sets: tuple[Path, Path]) -> None:
    (sets[1] / "101.png").write_text("no picture")
    assert "101.png cannot be opened" in str(refusal(*sets))


def test_sets_without_a_common_cohort_are_refused(sets: tuple[Path, Path], tmp_path: Path) -> None:
    other = write_set(tmp_path / "other", range(4), cohort="T1DPN")
    assert "real frames are of Control, generated frames of T1DPN" in str(refusal(sets[0], other))


def test_names_that_do_not_match_are_no_pairs(sets: tuple[Path, Path]) -> None:
    assert "these have no partner: 0, 1" in str(refusal(*sets, "--paired"))


def test_another_file_as_utility_is_refused(sets: tuple[Path, Path]) -> None:
    assert "no result of `python . utility`" in str(refusal(*sets, "--utility", write_json(sets[0])))


def write_json(folder: Path) -> Path:
    file = folder.parent / "other.json"
    file.write_text("{}")
    return file


@pytest.mark.parametrize(
    ("value", "said"),
    [(90, "blank (one grey value): 104.png"), (np.nan, "104.tif holds NaN or infinite values")],
)
def test_a_frame_that_says_nothing_is_refused_by_name(
    sets: tuple[Path, Path], value: float, said: str
) -> None:
    file = sets[1] / ("104.png" if np.isfinite(value) else "104.tif")
    (sets[1] / "104.png").unlink()
    kind = np.uint8 if np.isfinite(value) else np.float32
    Image.fromarray(np.full((SIDE, SIDE), value, kind)).save(file)
    (sets[1] / "table.csv").write_text((sets[1] / "table.csv").read_text().replace("104.png", file.name))
    assert said in str(refusal(*sets))
