from __future__ import annotations

import io

import pytest
from ccm_pack.training.folder import LOG, RunFolder
from ccm_pack.training.report import loss_curve, smoothed, write_report


def test_means_over_a_window_start_with_what_there_is():
    assert smoothed([2.0, 4.0, 6.0, 8.0], 2) == [2.0, 3.0, 5.0, 7.0]


@pytest.mark.parametrize("losses", [{1: 0.5}, {1: 0.0, 2: 0.0}, {k: 1 / k for k in range(1, 300)}])
def test_the_curve_is_a_picture_whatever_the_losses(losses):
    from PIL import Image

    image = Image.open(io.BytesIO(loss_curve(losses))).convert("RGB")
    assert image.size == (800, 400)
    assert (20, 60, 140) in {colour for _, colour in image.getcolors(1 << 20)}


def test_a_report_of_a_run_without_steps_says_that_there_is_no_file(tmp_path):
    write_report(RunFolder(tmp_path, 1), [], None)
    assert "None yet." in (tmp_path / "report.md").read_text()


def test_a_report_tells_first_and_last_losses(tmp_path):
    folder = RunFolder(tmp_path, 1)
    for step in range(1, 21):
        folder.append(LOG, {"step": step, "loss": 1 / step, "memory_gb": 1.5, "samples_per_s": 4.0})
    write_report(folder, ["adapter.safetensors"], None)
    text = (tmp_path / "report.md").read_text()
    assert "20 steps. Loss 1 in the first, 0.05132 on average in the last tenth." in text
    assert "Memory 1.50 GB at most. Median speed 4 samples/s." in text
    assert (tmp_path / "loss.png").stat().st_size > 1000
