"""The table, the JSON and the overlay."""

from __future__ import annotations

import json

import numpy as np
import pytest
from analytic_curves import FRAME, UM_PER_PX, draw, line, ray
from ccm_pack.ccm.errors import ImageError
from ccm_pack.ccm.morphometry import NerveBiomarkers, measure_nerves
from ccm_pack.ccm.morphometry.overlay import BRANCH, BRANCH_POINT, LEGEND_PX, MAIN, backgrounds, draw_overlay
from ccm_pack.ccm.morphometry.report import TOOL, UNITS, VERSION, describe, to_json


@pytest.fixture(scope="module")
def frames() -> list[NerveBiomarkers]:
    branched = draw([(line((-10, 190), (394, 190)), 4.0), (ray((150, 190), 60.0, 100.0), 3.0)])
    return [measure_nerves(mask, UM_PER_PX) for mask in (branched, np.zeros(FRAME))]


def test_the_table_has_a_row_per_frame_and_dashes_for_what_does_not_exist(
    frames: list[NerveBiomarkers],
) -> None:
    lines = describe(frames).splitlines()
    heading, units, first, second = (text.split() for text in lines[:4])
    assert heading[:5] == ["frame", "CNFL", "CNFD", "CNBD", "CTBD"] and units[0] == "mm/mm2"
    assert first[0] == "1" and float(first[2]) == 6.25 and "-" not in first
    assert second[0] == "2" and float(second[1]) == 0.0 and second.count("-") == 4
    assert len({len(text) for text in lines[:4]}) == 1
    assert TOOL in lines[-1] and VERSION in lines[-1]


def test_the_json_has_every_value_its_unit_and_the_tool(frames: list[NerveBiomarkers]) -> None:
    found = json.loads(to_json(frames, UM_PER_PX))
    assert (found["tool"], found["version"], found["um_per_px"]) == (TOOL, VERSION, UM_PER_PX)
    assert found["units"]["cnfl_mm_per_mm2"] == "mm/mm2"
    for record, frame in zip(found["frames"], frames, strict=True):
        assert (record["tool"], record["version"], record["um_per_px"]) == (TOOL, VERSION, UM_PER_PX)
        for name in UNITS:
            expected = getattr(frame, name)
            assert record[name] == (None if np.isnan(expected) else expected)


def test_every_value_of_the_measurement_is_reported(frames: list[NerveBiomarkers]) -> None:
    assert set(UNITS) == set(vars(frames[0])) - {"graph"}


def colour_at(overlay: np.ndarray, x: float, y: float, scale: int) -> np.ndarray:
    return 255.0 * overlay[round(y * scale), round(x * scale)]


def test_the_overlay_shows_main_branch_and_branch_point_in_their_colours(
    frames: list[NerveBiomarkers],
) -> None:
    overlay = draw_overlay(np.full(FRAME, 0.2), frames[0], UM_PER_PX)
    assert overlay.shape == (2 * 384 + LEGEND_PX, 2 * 384, 3) and overlay.dtype == np.float32
    assert 0.0 <= overlay.min() and overlay.max() <= 1.0
    assert np.allclose(colour_at(overlay, 300.0, 190.0, 2), MAIN, atol=30)
    along = 70.0 * np.array([np.cos(np.radians(60)), np.sin(np.radians(60))])
    assert np.allclose(colour_at(overlay, *(np.array([150.0, 190.0]) + along), 2), BRANCH, atol=40)
    ring = np.abs(255.0 * overlay[: 2 * 384] - np.array(BRANCH_POINT)).max(axis=2) < 20
    rows, columns = np.nonzero(ring)
    assert np.hypot(columns.mean() / 2 - 150.0, rows.mean() / 2 - 190.0) < 2.0
    assert np.allclose(255.0 * overlay[100, 100], 51, atol=1)


@pytest.mark.parametrize(("shape", "height"), [((96, 96), 768), ((500, 900), 1000), ((1200, 1000), 1200)])
def test_small_frames_are_enlarged_by_whole_numbers(shape: tuple[int, int], height: int) -> None:
    overlay = draw_overlay(np.zeros(shape), measure_nerves(np.zeros(shape), UM_PER_PX), UM_PER_PX)
    assert overlay.shape[0] == height + LEGEND_PX and overlay.shape[1] * shape[0] == height * shape[1]


def test_without_frames_the_overlay_lies_on_the_dimmed_mask() -> None:
    masks = np.zeros((2, 8, 9), dtype=np.float32)
    masks[1] = 1.0
    assert backgrounds(masks, None)[1, 3, 3] == pytest.approx(0.35)


def test_one_frame_serves_all_masks() -> None:
    assert backgrounds(np.zeros((3, 8, 9)), np.ones((1, 8, 9))).shape == (3, 8, 9)


@pytest.mark.parametrize("shape", [(2, 8, 9), (3, 9, 8), (1, 16, 18)])
def test_frames_that_do_not_fit_the_masks_are_refused(shape: tuple[int, int, int]) -> None:
    with pytest.raises(ImageError, match="pixels"):
        backgrounds(np.zeros((3, 8, 9)), np.zeros(shape))
