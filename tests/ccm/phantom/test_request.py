from __future__ import annotations

import json

import numpy as np
import pytest
from ccm_pack.ccm.errors import CohortError, MaskError, TargetError
from ccm_pack.ccm.phantom.request import MaskRequest, generate_masks
from ccm_pack.ccm.phantom.tree import TreeTargets

FROM_COHORT = TreeTargets(0.0, 0.0, 0.0, 0.0)


def test_masks_are_binary_and_as_many_and_as_large_as_asked_for() -> None:
    made = generate_masks(MaskRequest("Control", FROM_COHORT, count=3, size_px=256))
    assert made.masks.shape == (3, 256, 256) and made.masks.dtype == np.float32
    assert set(np.unique(made.masks)) == {0.0, 1.0}
    assert len({mask.tobytes() for mask in made.masks}) == 3


def test_the_same_request_gives_the_same_masks() -> None:
    first, again = (generate_masks(MaskRequest("T1DPN", FROM_COHORT, seed=9)) for _ in range(2))
    assert (first.masks == again.masks).all() and first.truth_json == again.truth_json


def test_a_mask_of_a_batch_does_not_depend_on_the_batch_size() -> None:
    small, large = (generate_masks(MaskRequest("T1DPN", FROM_COHORT, count=n, seed=4)) for n in (1, 2))
    assert (small.masks[0] == large.masks[0]).all()


def test_truth_says_that_it_is_synthetic_and_measures_every_mask() -> None:
    truth = json.loads(generate_masks(MaskRequest("T1NoDPN", FROM_COHORT, count=2, seed=1)).truth_json)
    assert truth["synthetic"] is True and truth["cohort"] == "T1NoDPN" and truth["seed"] == 1
    assert [frame["frame_area_mm2"] for frame in truth["frames"]] == pytest.approx([0.16, 0.16])


def test_a_target_overrides_the_cohort() -> None:
    request = MaskRequest("Control", TreeTargets(12.0, 0.0, 18.75, 0.0), count=2)
    for frame in json.loads(generate_masks(request).truth_json)["frames"]:
        assert frame["cnfl_mm_per_mm2"] == pytest.approx(12.0, rel=0.05)
        assert frame["branch_points"] == 3


def test_custom_takes_the_targets_alone() -> None:
    request = MaskRequest("custom", TreeTargets(8.0, 25.0, 0.0, 2.0))
    (frame,) = json.loads(generate_masks(request).truth_json)["frames"]
    assert (frame["main_fibres"], frame["branch_points"]) == (4, 0)


def test_custom_without_targets_is_refused() -> None:
    with pytest.raises(TargetError, match="at least one main fibre"):
        generate_masks(MaskRequest("custom", FROM_COHORT))


def test_targets_that_no_draw_of_the_cohort_can_meet_are_refused() -> None:
    with pytest.raises(TargetError):
        generate_masks(MaskRequest("T1DPN", TreeTargets(1.0, 40.0, 0.0, 0.0)))


def test_an_unknown_cohort_is_refused() -> None:
    with pytest.raises(CohortError, match="T2DPN"):
        generate_masks(MaskRequest("T2DPN", FROM_COHORT))


@pytest.mark.parametrize(("count", "size"), [(0, 384), (1, 0)])
def test_no_masks_and_no_pixels_are_refused(count: int, size: int) -> None:
    with pytest.raises(MaskError, match=f"{count} masks of {size} pixels"):
        generate_masks(MaskRequest("Control", FROM_COHORT, count=count, size_px=size))


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"count": 65}, "Asked for 65 masks. Fix: ask for at most 64"),
        ({"size_px": 100_000}, "100000 pixels a side"),
        ({"width_px": 400.0}, "400.0 pixels wide"),
        ({"width_px": float("nan")}, "nan pixels wide"),
    ],
)
def test_what_would_only_exhaust_the_memory_is_refused(asked: dict[str, float], told: str) -> None:
    with pytest.raises(MaskError, match=told):
        generate_masks(MaskRequest("Control", FROM_COHORT, **asked))


def test_width_zero_draws_the_nerves_own_widths() -> None:
    request = MaskRequest("Control", FROM_COHORT, seed=2, width_px=0.0)
    made = generate_masks(request)
    (frame,) = json.loads(made.truth_json)["frames"]
    assert made.masks.mean() == pytest.approx(frame["cnfa"], rel=0.06)
