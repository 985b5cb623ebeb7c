"""Pairs to a report: what it says of identical, constant and single pairs."""

from __future__ import annotations

import json

import numpy as np
import pytest
from ccm_pack.ccm.errors import ImageError
from ccm_pack.ccm.fidelity.pair_summary import compare_pairs, describe, to_json


def test_the_floor_is_the_score_of_wrong_pairs(rng) -> None:
    x = rng.random((4, 32, 32))
    y = np.clip(x + 0.02 * rng.standard_normal(x.shape), 0.0, 1.0)
    report = compare_pairs(x, y)
    assert report.mismatched.ssim.mean() < 0.2 < 0.9 < report.pairs.ssim.mean()
    text = describe(report)
    assert text.startswith("4 pairs of 32 x 32 px") and "mismatched" in text and "data range 1" in text
    assert "MS-SSIM  needs frames of 176 px" in text


def test_identical_pairs_are_counted_and_left_out_of_the_mean_psnr(rng) -> None:
    x = rng.random((3, 32, 32))
    y = np.clip(x + 0.1, 0.0, 1.0)
    y[0] = x[0]
    report = compare_pairs(x, y)
    assert report.identical == 1 and "1 pairs are identical" in describe(report)
    values = json.loads(to_json(report))["values"]
    assert values["PSNR dB"][0] is None and values["SSIM"][0] == pytest.approx(1.0)


def test_identical_sets_give_a_clear_report(rng) -> None:
    x = rng.random((2, 32, 32))
    text = describe(compare_pairs(x, x))
    assert "2 pairs are identical" in text and "infinite" in text


def test_one_pair_has_no_floor(rng) -> None:
    x = rng.random((1, 32, 32))
    report = compare_pairs(x, 1.0 - x)
    assert report.mismatched is None and json.loads(to_json(report))["mismatched"] == {}
    assert "1 pairs" in describe(report) and "mismatched 0" not in describe(report)


def test_a_constant_frame_is_named(rng) -> None:
    x = rng.random((2, 32, 32))
    y = x.copy()
    y[1] = 0.5
    assert "1 pairs hold a frame of one grey value" in describe(compare_pairs(x, y))


def test_large_frames_have_ms_ssim(rng) -> None:
    x = rng.random((2, 180, 180))
    assert "MS-SSIM 1.000" in describe(compare_pairs(x, x))


@pytest.mark.parametrize("shape", [(3, 32, 32), (2, 32, 33), (0, 32, 32)])
def test_sets_that_are_no_pairs_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ImageError, match="Pairs have shapes"):
        compare_pairs(np.zeros((2, 32, 32)), np.zeros(shape))
