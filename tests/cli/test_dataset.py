"""`python . dataset`: reports and phantoms from the command line."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path

import pytest
from ccm_pack.ccm.errors import TrainingError
from ccm_pack.cli import dataset
from PIL import Image


def run(*arguments: str) -> int:
    parser = ArgumentParser()
    dataset.arguments(parser)
    return dataset.run(parser.parse_args(arguments))


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli") / "phantoms"
    assert run("phantoms", str(folder), "--patients", "3", "--frames", "1", "--size", "128") == 0
    return folder


def test_a_good_set_is_reported_and_drawn(
    phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("check", str(phantoms), "--out", str(tmp_path / "report.png")) == 0
    told = capsys.readouterr().out
    assert "Frames:     3, of which 3 with a mask" in told
    assert "Patients:   3, 3 eyes" in told
    assert "128 x 128 (3)" in told and "3.1250 (3)" in told
    assert "Ready to train on." in told
    with Image.open(tmp_path / "report.png") as picture:
        assert picture.width == 1400 and picture.height > 600


def test_a_bad_set_is_drawn_too_and_fails(
    phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = phantoms / "frames"
    assert run("check", str(frames), "--out", str(tmp_path / "report.png")) == 1
    told = capsys.readouterr().out
    assert "Error: 3 of 3 frames have no patient" in told and "Error: 3 frames have no mask" in told
    assert "Ready" not in told
    assert (tmp_path / "report.png").is_file()


def test_a_set_of_unreadable_files_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.png").touch()
    assert run("check", str(tmp_path), "--allow-image-split", "--out", str(tmp_path / "report.png")) == 1
    assert "a.png is empty (0 bytes)" in capsys.readouterr().out


def test_frames_without_masks_are_traced_into_a_table_that_can_be_checked(
    phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("trace", str(phantoms / "frames"), str(tmp_path / "traced")) == 0
    assert run("check", str(tmp_path / "traced"), "--allow-image-split") == 0
    assert "Frames:     3, of which 3 with a mask" in capsys.readouterr().out
    assert len(list((tmp_path / "traced/masks").glob("*.png"))) == 3
    with pytest.raises(TrainingError, match="table.csv is there already"):
        run("trace", str(phantoms / "frames"), str(tmp_path / "traced"))
