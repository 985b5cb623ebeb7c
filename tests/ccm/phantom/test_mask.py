from __future__ import annotations

import numpy as np
import pytest
from ccm_pack.ccm.cohorts import Cohort
from ccm_pack.ccm.phantom.mask import draw_lines, draw_mask
from ccm_pack.ccm.phantom.topology import grow_tree, sample_targets


def drawn(start: tuple[float, float], end: tuple[float, float], width: float, size: int = 64) -> np.ndarray:
    points = np.linspace(start, end, 101)
    return draw_lines([(points, np.full(101, width))], (size, size)).astype(float) / 255


def test_a_vertical_line_covers_exactly_its_columns() -> None:
    mask = drawn((10.0, 0.0), (10.0, 64.0), 4.0)
    assert (mask[:, 8:12] == 1).all() and mask[:, :8].sum() == 0 and mask[:, 12:].sum() == 0


@pytest.mark.parametrize("degrees", [0, 15, 30, 45, 60, 75, 90])
@pytest.mark.parametrize("width", [1.7, 3.0, 5.2])
def test_width_is_right_to_a_quarter_pixel_at_every_angle(degrees: float, width: float) -> None:
    along = np.array([np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))])
    mask = drawn(tuple(64 - 50 * along), tuple(64 + 50 * along), width, 128)
    y, x = np.mgrid[:128, :128] + 0.5 - 64
    middle = np.abs(x * along[0] + y * along[1]) < 30
    assert mask[middle].sum() / 60 == pytest.approx(width, abs=0.25)


def test_a_line_that_leaves_obliquely_covers_the_border_at_full_width() -> None:
    mask = drawn((32.0, 32.0), (64.0, 50.5), 4.0)
    assert mask[:, 63].sum() == pytest.approx(4.0 / np.cos(np.arctan2(18.5, 32.0)), abs=0.2)


def test_ends_inside_are_round() -> None:
    mask = drawn((20.0, 32.0), (44.0, 32.0), 6.0)
    assert mask.sum() == pytest.approx(24 * 6 + np.pi * 9, rel=0.02)


def test_a_mask_has_the_size_asked_for_as_width_and_height() -> None:
    rng = np.random.default_rng(0)
    tree = grow_tree(sample_targets(Cohort.T1DPN, rng), rng, (300.0, 400.0))
    assert draw_mask(tree, (192, 256)).shape == (256, 192)


def test_the_area_of_a_mask_is_that_of_its_nerves() -> None:
    rng = np.random.default_rng(1)
    tree = grow_tree(sample_targets(Cohort.CONTROL, rng), rng)
    assert (draw_mask(tree) >= 128).mean() == pytest.approx(tree.truth.cnfa, rel=0.06)
