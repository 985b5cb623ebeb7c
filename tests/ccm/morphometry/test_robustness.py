"""Whatever comes in: a defined value or an error of ours, never a crash and never a warning."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from analytic_curves import UM_PER_PX
from ccm_pack.ccm.errors import MaskError
from ccm_pack.ccm.morphometry import measure_nerves
from fuzzed_masks import Input, fuzzed_input
from random_trees import random_tree


def check(mask: np.ndarray, um_per_px: float, field: np.ndarray | None = None) -> None:
    found = measure_nerves(mask, um_per_px, field)
    assert found.length_um >= 0.0 and 0.0 <= found.cnfa <= 1.0 and found.frame_area_mm2 > 0.0
    for name, value in vars(found).items():
        if isinstance(value, float):
            may_lack = name.startswith(("tortuosity", "cnfw", "cnfrd"))
            assert math.isfinite(value) or (may_lack and math.isnan(value)), name
    size = (np.array(mask.shape[::-1]) + 1e-9) * um_per_px
    for nerve in found.graph.nerves:
        for points, widths in zip(nerve.pieces_um, nerve.widths_um, strict=True):
            assert len(points) == len(widths) >= 2 and np.isfinite(points).all() and (widths >= 0).all()
            assert (points >= -1e-9 * um_per_px).all() and (points <= size).all()


def check_or_be_refused(given: Input) -> None:
    if given.refused:
        with pytest.raises(MaskError, match="Fix: "):
            measure_nerves(given.mask, given.um_per_px, given.field_of_view)
    else:
        check(given.mask, given.um_per_px, given.field_of_view)


def check_seeds(seeds: range) -> None:
    for seed in seeds:
        given = fuzzed_input(seed)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                check_or_be_refused(given)
            except Exception as error:
                raise AssertionError(
                    f"seed {seed}: {given.name}, {given.um_per_px:g} um per pixel"
                ) from error


def test_fuzzed_inputs_have_a_value_or_are_refused() -> None:
    check_seeds(range(150))


@pytest.mark.soak
@pytest.mark.parametrize("first", range(0, 2000, 200))
def test_two_thousand_fuzzed_inputs_have_a_value_or_are_refused(first: int) -> None:
    check_seeds(range(first, first + 200))


@pytest.mark.parametrize("shape", [(1, 1), (1, 400), (400, 1), (2, 2), (3, 5), (1, 32766), (32766, 2)])
def test_the_smallest_and_the_longest_frames_have_a_value(shape: tuple[int, int]) -> None:
    for mask in (np.ones(shape), np.zeros(shape), np.arange(math.prod(shape)).reshape(shape) % 3):
        check(mask, UM_PER_PX)


def test_a_mosaic_longer_than_any_cornea_is_refused() -> None:
    with pytest.raises(MaskError, match="32766"):
        measure_nerves(np.ones((1, 32767)), UM_PER_PX)


@pytest.mark.soak
def test_a_mosaic_of_6000_pixels_measures_what_its_tiles_do() -> None:
    tile = np.pad(random_tree(3).mask(), 8)
    mosaic, one = measure_nerves(np.tile(tile, (15, 15)), UM_PER_PX), measure_nerves(tile, UM_PER_PX)
    assert mosaic.main_fibres == 225 * one.main_fibres
    assert mosaic.branch_points == 225 * one.branch_points
    assert mosaic.length_um == pytest.approx(225 * one.length_um, rel=0.01)


@pytest.mark.soak
def test_a_white_mosaic_of_6000_pixels_is_no_nerve() -> None:
    assert measure_nerves(np.ones((6000, 6000), dtype=bool), UM_PER_PX).length_um == 0.0
