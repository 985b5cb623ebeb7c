"""What the quality gate flags, on frames whose fault is known."""

from __future__ import annotations

import json

import numpy as np
import pytest
from ccm_pack.benchmarks.unfit_frames import KINDS, fit_frame
from ccm_pack.ccm.quality import Reason, assess_quality, describe, to_json
from ccm_pack.ccm.segmentation import segment_nerves

SIDE = 384


def quality(grey: np.ndarray):
    return segment_nerves(grey[None].astype(np.float32)).quality[0]


@pytest.mark.parametrize("kind", KINDS)
def test_unfit_frames_are_flagged_with_their_reason(kind):
    make, reasons = KINDS[kind]
    flagged = [bool(set(quality(make(seed)).reasons) & reasons) for seed in range(4)]
    assert sum(flagged) >= 3


def test_fit_frames_pass():
    assert sum(quality(fit_frame(seed).grey).usable for seed in range(6)) >= 5


@pytest.mark.parametrize(("level", "reason"), [(1.0, Reason.SATURATED), (0.0, Reason.SATURATED)])
def test_a_white_or_black_frame_is_saturated_and_has_no_nerves(level, reason):
    reasons = quality(np.full((SIDE, SIDE), level)).reasons
    assert reason in reasons and Reason.NO_NERVES in reasons


def test_the_share_of_white_pixels_is_exact():
    grey = np.full((1, 100, 100), 0.5, np.float32)
    grey[0, :10] = 1.0
    measured = assess_quality(grey, np.zeros_like(grey))[0]
    assert measured.white == pytest.approx(0.1) and measured.black == 0.0


def test_the_extent_of_a_straight_nerve_is_its_length():
    probability = np.zeros((1, 200, 200), np.float32)
    probability[0, 50, 20:140] = 1.0
    measured = assess_quality(np.full_like(probability, 0.3), probability)[0]
    assert measured.nerve_extent_px == pytest.approx(np.hypot(120, 1))


@pytest.mark.parametrize("shape", [(1, 1), (5, 300), (16, 16)])
def test_any_size_is_assessed(shape):
    grey = np.random.default_rng(0).random((1, *shape), np.float32)
    assert assess_quality(grey, np.zeros_like(grey))[0].reasons


def test_report_and_json_name_every_frame():
    grey = np.stack([fit_frame(0).grey, np.zeros((SIDE, SIDE), np.float32)])
    found = segment_nerves(grey).quality
    lines = describe(found).splitlines()
    assert lines[0].startswith("frame 1: fit") and lines[1].startswith("frame 2: saturated (")
    assert json.loads(to_json(found))["frames"][1]["sharpness"] is None
