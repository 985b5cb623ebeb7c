"""What the bench of the embedded family measures, on frames whose figures are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from ccm_pack.benchmarks.nano import PARTS, parse
from ccm_pack.benchmarks.nano.cohorts import fit
from ccm_pack.benchmarks.nano.looks import BANDS, look_of, radial_power, speckle_contrast
from ccm_pack.benchmarks.nano.rows import Row, as_json, table
from ccm_pack.benchmarks.nano.studio import Wish, frame_graph
from ccm_pack.benchmarks.nano.texture import long_share
from ccm_pack.ccm.cohorts import Cohort

SIDE = 96


def stripe(width: int = 3) -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), bool)
    mask[:, 48 - width // 2 : 49 + width // 2] = True
    return mask


def test_the_contrast_is_the_line_less_its_surroundings_and_the_width_that_of_the_profile() -> None:
    look = look_of(np.where(stripe(), 0.7, 0.2), stripe())
    assert look.nerve_contrast == pytest.approx(0.5)
    assert look.width_factor == pytest.approx(3.0)
    assert look.beading == pytest.approx(0.0, abs=1e-6) and look.dendritic_cells == 0


def test_bright_bodies_away_from_nerves_are_counted_and_those_on_them_are_not() -> None:
    frame = np.where(stripe(), 0.7, 0.2)
    for y, x in ((20, 20), (70, 80), (50, 48)):
        frame[y - 4 : y + 5, x - 4 : x + 5] = 0.9
    assert look_of(frame, stripe()).dendritic_cells == 2


def test_beading_is_seen_along_the_line_only() -> None:
    rng = np.random.default_rng(0)
    beaded = np.full((SIDE, SIDE), 0.2) + stripe() * (0.5 + 0.1 * rng.standard_normal((SIDE, 1)))
    noisy = np.where(stripe(), 0.7, 0.2) + 0.1 * rng.standard_normal((SIDE, SIDE))
    assert look_of(beaded, stripe()).beading == pytest.approx(0.2, rel=0.25)
    assert look_of(noisy, stripe()).beading < 0.1


def test_speckle_contrast_is_relative_and_does_not_see_slow_light() -> None:
    rng = np.random.default_rng(0)
    noise = 1 + 0.1 * rng.standard_normal((SIDE, SIDE))
    light = np.linspace(0.2, 0.6, SIDE)[None]
    assert speckle_contrast(light * noise, stripe()) == pytest.approx(0.1, rel=0.1)


def test_the_power_of_a_wave_lies_in_its_band() -> None:
    wave = np.broadcast_to(np.sin(2 * np.pi * 0.25 * np.arange(SIDE)), (SIDE, SIDE))
    power = radial_power(wave)
    band = int(np.digitize(0.25, BANDS)) - 1
    assert power.argmax() == band and power[band] > 100 * np.delete(power, [band - 1, band, band + 1]).max()


def test_length_counts_as_long_where_nerves_are() -> None:
    mask = np.zeros((384, 384), bool)
    mask[100, :] = True
    mask[200, 100:150] = True
    assert long_share(mask) == pytest.approx(400 / 452, rel=0.02)


def test_the_classifier_tells_what_can_be_told() -> None:
    rng = np.random.default_rng(0)
    cohorts = [list(Cohort)[k % 3] for k in range(90)]
    features = rng.standard_normal((90, 5)) + 6 * np.array([[k % 3] * 5 for k in range(90)])
    assert fit(features, cohorts)(features) == cohorts


def test_a_row_says_whether_its_limit_is_reached() -> None:
    reached = Row("a", "share", 0.93, "at least", 0.9, share=True)
    missed = Row("b", "more", 2.0, "at most", 1.5)
    plain, unknown = Row("c", "figure", 3.0), Row("d", "none", None, "at least", 1.0)
    assert [row.reached for row in (reached, missed, plain, unknown)] == [True, False, None, None]
    text = table("Title", [reached, missed])
    assert "93.0%" in text and "at least 90.0%" in text and text.count("NOT REACHED") == 1
    assert as_json([missed, unknown, Row("e", "", math.nan)]) == {"b": 2.0, "d": None, "e": None}


def test_a_raw_base_without_a_mask_has_neither_adapter_nor_control() -> None:
    graph = frame_graph(Wish("a prompt", 1, None, adapter=None))
    assert not {"adapter", "control", "mask"} & graph.keys()
    assert graph["sample"]["inputs"]["model"] == ["nano", 0]


def test_parts_are_chosen_by_name() -> None:
    assert parse(["--part", "text", "--part", "speed"]).part == ["text", "speed"]
    assert parse([]).part is None and "mask" in PARTS
